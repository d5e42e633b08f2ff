package awsapi

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
	"github.com/deferd/deferd/internal/sigv4"
)

// Config is what a Server is made of. Fields may be nil or zero where their
// comment says so.
type Config struct {
	Store     deferd.Store
	Region    string // that ARNs name
	Verifier  *sigv4.Verifier
	Authorize deferd.Authorize
	Limits    awsmodel.Limits // zero: AWS's own

	// MaxInstances is how many instances a variant may have; 0: any number.
	MaxInstances int

	S3     S3
	Keys   AccessKeys // zero: IAM is not offered
	Topics Topics     // nil: SNS is not offered
	Logger *slog.Logger

	// Changed is told of every endpoint that was created, changed or deleted,
	// so that its instances follow at once. It must not block. Nil: nobody is told.
	Changed func(deferd.EndpointID)

	// History is what was measured. Nil: CloudWatch is not offered.
	History deferd.History

	// Logs are what endpoints log. Nil: CloudWatch Logs is not offered.
	Logs deferd.Logs

	// AlarmChanged is told of an alarm whose state was set by hand. It must not
	// block. Nil: nobody is told.
	AlarmChanged func(deferd.AlarmChange)

	// Status says what runs of an endpoint's fleet. Variants that it leaves out
	// have no instances. Nil: nothing runs.
	Status func(id deferd.EndpointID, fleet int) map[deferd.VariantName]VariantStatus

	// Ready says whether the server takes work; its error is shown by /readyz,
	// and answers operations of SageMaker with 503. S3 goes on: what still
	// runs needs it. Nil: always.
	Ready func() error
}

// VariantStatus is what runs of a variant.
type VariantStatus struct {
	Instances int // that are in service
	Images    []DeployedImage
}

// A DeployedImage is an image that instances run.
type DeployedImage struct {
	Specified string // as the model names it
	Resolved  string // with its digest; "" where the runtime knows none
	Time      time.Time
}

// A Server answers AWS requests. It may be used concurrently.
type Server struct {
	Config
	configs configCache
	control map[string]operation // of the control plane, by name
	watch   map[string]operation // of CloudWatch, by name
	reading map[string]operation // of CloudWatch Logs, by name
	scaling map[string]operation // of Application Auto Scaling
	room    *semaphore.Weighted  // for bodies that are in memory, in bytes
	wide    *semaphore.Weighted  // of that for those that are larger than any invocation's

	deletingKey sync.Mutex // held while an access key is deleted
}

// New returns a server.
func New(c Config) *Server {
	if c.Changed == nil {
		c.Changed = func(deferd.EndpointID) {}
	}
	if c.Status == nil {
		c.Status = func(deferd.EndpointID, int) map[deferd.VariantName]VariantStatus { return nil }
	}
	if c.AlarmChanged == nil {
		c.AlarmChanged = func(deferd.AlarmChange) {}
	}
	if c.Ready == nil {
		c.Ready = func() error { return nil }
	}
	s := &Server{Config: c}
	s.room = semaphore.NewWeighted(max(bodyRoom, 4*s.maxInline()))
	s.wide = semaphore.NewWeighted(wideRoom)
	s.configs.load = c.Store.ConfigByID
	s.control = s.controlPlane()
	s.watch = s.cloudWatch()
	s.reading = s.cloudWatchLogs()
	s.scaling = s.scalingOperations()
	return s
}

// Handler returns every route of the AWS surface; there are no others.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// serve finds the service of a request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c := &call{server: s, w: &response{ResponseWriter: w}, r: r, id: uuid.NewString()}
	defer s.recoverPanic(c)
	defer c.giveRoom()
	scope, signed := sigv4.ScopeOf(r)
	if !signed && (s.health(w, r) || s.snsLink(c)) {
		return
	}
	switch scope.Service {
	case "s3":
		c.protocol = s3XML
		c.answer(s.objects(c))
	case "sagemaker":
		c.protocol = json11
		if strings.HasPrefix(r.URL.Path, "/endpoints/") || isNotifications(r.URL.Path) {
			c.protocol = restJSON
		}
		c.answer(s.signed(c, scope.Service, s.sageMaker))
	case "application-autoscaling":
		c.protocol = json11
		c.answer(s.signed(c, scope.Service, s.autoScaling))
	case "sts":
		c.protocol = query
		c.answer(s.signed(c, scope.Service, s.sts))
	case "iam":
		c.protocol = query
		c.answer(s.signed(c, scope.Service, s.iam))
	case "sns":
		if s.Topics == nil {
			c.answer(s.unknownService(c, scope.Service))
			return
		}
		c.protocol = query
		c.answer(s.signed(c, scope.Service, s.sns))
	case "monitoring":
		c.protocol = cloudWatchProtocol(r)
		c.answer(s.signed(c, scope.Service, s.monitoring))
	case "logs":
		c.protocol = json11
		c.answer(s.signed(c, scope.Service, s.logs))
	case "":
		c.answer(s.unsigned(c))
	default:
		c.answer(s.unknownService(c, scope.Service))
	}
}

// health answers the two requests that need no signature.
func (s *Server) health(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	var err error
	switch r.URL.Path {
	case "/healthz":
	case "/readyz":
		err = s.Ready()
	default:
		return false
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, err)
		return true
	}
	fmt.Fprintln(w, "ok")
	return true
}

// signed reads and verifies a request before handle sees it.
func (s *Server) signed(c *call, service string, handle func(*call) error) error {
	if err := c.readBody(service, s.maxBody(c)); err != nil {
		if errors.Is(err, tooLarge) && isInvokeAsync(c) {
			return s.inlineTooLong()
		}
		return err
	}
	p, err := s.Verifier.Verify(c.r, service, c.body)
	if err != nil {
		return err
	}
	c.principal = p
	return handle(c)
}

// inlineTooLong is the answer to an inline body that is longer than is ever
// read: the one that a body of a byte too many gets.
func (s *Server) inlineTooLong() error {
	in := awsmodel.InvokeEndpointAsyncInput{EndpointName: new("x"), Body: make([]byte, s.maxInline()+1)}
	return in.Validate(s.Limits)
}

// unknownService refuses a request for a service that is not here, in the
// protocol that it seems to speak.
func (s *Server) unknownService(c *call, service string) error {
	if err := c.readBody(service, s.maxBody(c)); err != nil {
		return err
	}
	if c.protocol = guessProtocol(c.r, c.body); c.protocol == s3XML {
		c.protocol = json11
	}
	if _, err := s.Verifier.Verify(c.r, service, c.body); err != nil {
		return err
	}
	return unknownOperation("The service " + service + " is not offered here.")
}

// unsigned refuses a request that names no service, in the protocol that it
// seems to speak. Its body is read only where that decides.
func (s *Server) unsigned(c *call) error {
	c.protocol = s3XML
	if isForm(c.r) {
		c.protocol = query
		if err := c.readBody("", smallBody); err != nil {
			return err
		}
	}
	c.protocol = guessProtocol(c.r, c.body)
	var err error
	if c.protocol == s3XML {
		_, _, err = s.Verifier.VerifyStream(c.r)
	} else {
		_, err = s.Verifier.Verify(c.r, "", c.body)
	}
	return cmp.Or(err, error(internalFailure)) // nothing verifies without a service
}

// guessProtocol finds the protocol of a request without a signature, which
// names no service.
func guessProtocol(r *http.Request, body []byte) protocol {
	switch {
	case r.Header.Get("X-Amz-Target") != "":
		return json11
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/endpoints/"):
		return restJSON
	case form(r, body).Has("Action"):
		return query
	}
	return s3XML
}

// sageMaker tells the runtime and our own operations, which have paths, from
// the control plane.
func (s *Server) sageMaker(c *call) error {
	if err := s.Ready(); err != nil {
		return deferd.Errorf(deferd.Unavailable, "%s; try again later.", err)
	}
	if c.protocol == restJSON {
		if isNotifications(c.r.URL.Path) {
			return s.notificationsPath(c)
		}
		return s.endpointPath(c)
	}
	return s.target(c, "SageMaker.", s.control)
}

// maxBody bounds the bodies of everything but S3. It is wider than what an
// invocation may carry, so that one that carries more is told so by name; where
// no length is announced, a byte is enough for that.
func (s *Server) maxBody(c *call) int64 {
	most := s.maxInline() + 1
	if c.r.ContentLength < 0 && isInvokeAsync(c) {
		return most
	}
	return max(6<<20, most)
}

// maxInline is the largest body that an invocation may carry.
func (s *Server) maxInline() int64 { return cmp.Or(s.Limits.MaxInline, deferd.MaxInline) }

// isInvokeAsync reports whether a call is an asynchronous invocation, before
// anything of it is read.
func isInvokeAsync(c *call) bool {
	return c.protocol == restJSON && strings.HasSuffix(c.r.URL.Path, "/async-invocations")
}

// recoverPanic turns a panic of a handler into an answer.
func (s *Server) recoverPanic(c *call) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.Logger.ErrorContext(c.r.Context(), "request panicked", "request_id", c.id, "err", fmt.Sprint(v), "stack", string(debug.Stack()))
	if c.w.started {
		panic(http.ErrAbortHandler) // the client must not take half an answer for a whole one
	}
	c.write(internalFailure)
}
