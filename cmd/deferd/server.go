package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/agent"
	"github.com/deferd/deferd/internal/awsapi"
	"github.com/deferd/deferd/internal/awsmodel"
	"github.com/deferd/deferd/internal/dispatch"
	"github.com/deferd/deferd/internal/keyring"
	"github.com/deferd/deferd/internal/modeldata"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/process"
	"github.com/deferd/deferd/internal/s3"
	"github.com/deferd/deferd/internal/scheduler"
	"github.com/deferd/deferd/internal/sigv4"
	"github.com/deferd/deferd/internal/sqlite"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A server is the parts of "deferd serve", wired together.
type server struct {
	settings Settings
	url      string // where clients on this machine find it
	log      *slog.Logger

	keys      *keyring.Keyring
	store     *sqlite.Store
	embedded  *objectserver.Store // nil where another S3 is used
	objects   deferd.ObjectStore
	dispatch  *dispatch.Dispatch
	runtime   *process.Runtime
	scheduler *scheduler.Scheduler
	logs      *dataLogs

	state   atomic.Pointer[string] // why it does not take work; nil while it does
	closers []func() error
}

var (
	starting = "the server is starting"
	stopping = "the server is stopping"
)

// build opens everything that a server needs. Nothing of it runs yet.
func build(ctx context.Context, s Settings, url string, log *slog.Logger) (srv *server, err error) {
	srv = &server{settings: s, url: url, log: log}
	srv.state.Store(&starting)
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.close())
		}
	}()
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return srv, err
	}
	lock, err := lockData(s.Data)
	if err != nil {
		return srv, err
	}
	srv.closers = append(srv.closers, lock.Close)
	srv.keys, err = keyring.Open(filepath.Join(s.Data, "secret.key"), os.Getenv("DEFERD_SECRET_KEY"))
	if err != nil {
		return srv, err
	}
	srv.store, err = sqlite.Open(strings.TrimPrefix(s.Store, "sqlite:"), sqlite.Options{Logger: log})
	if err != nil {
		return srv, err
	}
	srv.closers = append(srv.closers, srv.store.Close)
	if err := srv.openObjects(ctx); err != nil {
		return srv, err
	}
	if err := srv.prepareKeys(ctx); err != nil {
		return srv, err
	}
	srv.dispatch = dispatch.New(dispatch.Config{Store: srv.store, Objects: srv.objects, Logger: log})
	if err := srv.buildRuntime(); err != nil {
		return srv, err
	}
	srv.logs = &dataLogs{dir: filepath.Join(s.Data, "logs"), now: srv.store.Now}
	srv.closers = append(srv.closers, srv.logs.close)
	srv.scheduler = scheduler.New(scheduler.Config{
		Store: srv.store, Runtime: srv.runtime, Logger: log, NewAgent: srv.newAgent, Env: srv.instanceEnv(), History: s.History,
	})
	return srv, nil
}

// close closes what build opened, the last first.
func (srv *server) close() error {
	var errs []error
	for _, c := range slices.Backward(srv.closers) {
		errs = append(errs, c())
	}
	srv.closers = nil
	return errors.Join(errs...)
}

func (srv *server) becomeReady() { srv.state.CompareAndSwap(&starting, nil) }
func (srv *server) refuseWork()  { srv.state.Store(&stopping) }

// ready says whether the server takes work.
func (srv *server) ready() error {
	if why := srv.state.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}

// openObjects opens the embedded S3, or another one.
func (srv *server) openObjects(ctx context.Context) error {
	s := srv.settings
	if s.S3 != "embedded" {
		// A shell that was set up by "deferd env" must not steer the server at
		// itself, not even where it looks for its own credentials.
		if err := os.Setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"); err != nil {
			return err
		}
		external, err := s3.New(ctx, s3.Config{
			Endpoint: s.S3, Region: s.region(), PathStyle: !isAWS(s.S3),
			AccessKey: os.Getenv("DEFERD_S3_ACCESS_KEY_ID"), SecretKey: os.Getenv("DEFERD_S3_SECRET_ACCESS_KEY"),
			SessionToken: os.Getenv("DEFERD_S3_SESSION_TOKEN"),
		})
		if err != nil {
			return fmt.Errorf("open S3 at %s: %w", s.S3, err)
		}
		srv.objects = external
		return nil
	}
	store, err := objectserver.Open(filepath.Join(s.Data, "objects"), objectserver.Options{Region: s.region(), Account: s.Account, Logger: srv.log})
	if err != nil {
		return err
	}
	srv.closers = append(srv.closers, store.Close)
	srv.embedded, srv.objects = store, store
	return srv.prepareSDK(ctx)
}

func isAWS(s3URL string) bool {
	u, err := url.Parse(s3URL)
	return err == nil && strings.HasSuffix(u.Hostname(), ".amazonaws.com")
}

// prepareSDK makes what the SageMaker Python SDK looks for: its default bucket,
// and a configuration that keeps it from asking AWS for the bucket's name.
func (srv *server) prepareSDK(ctx context.Context) error {
	bucket := "sagemaker-" + srv.settings.region() + "-" + srv.settings.Account
	if err := srv.embedded.CreateBucket(ctx, bucket); err != nil && deferd.CodeOf(err) != deferd.Exists {
		return fmt.Errorf("create the bucket %s: %w", bucket, err)
	}
	text := "SchemaVersion: '1.0'\nSageMaker:\n  PythonSDK:\n    Modules:\n      Session:\n        DefaultS3Bucket: " + bucket + "\n"
	return writeFile(filepath.Join(srv.settings.Data, sdkConfigFile), text, 0o644)
}

// prepareKeys makes the account's first access key, and ends the keys of
// instances that did not survive the server.
func (srv *server) prepareKeys(ctx context.Context) error {
	account := deferd.AccountID(srv.settings.Account)
	keys, err := srv.store.AccessKeys(ctx, account)
	if err != nil {
		return err
	}
	lasting := 0
	for _, k := range keys {
		if k.Token == "" {
			lasting++
			continue
		}
		if err := srv.store.DeleteKey(ctx, k.ID); err != nil {
			return err
		}
	}
	path := filepath.Join(srv.settings.Data, credentialsFile)
	if _, err := os.Stat(path); lasting > 0 && err == nil {
		return nil
	}
	k, secret := srv.keys.NewKey(account, "arn:aws:iam::"+srv.settings.Account+":root")
	if err := srv.store.PutKey(ctx, k); err != nil {
		return err
	}
	if err := writeCredentials(path, k.ID, secret); err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	srv.log.InfoContext(ctx, "made an access key", "file", path)
	return nil
}

func (srv *server) buildRuntime() error {
	images, err := process.LoadImages(srv.settings.Images)
	if err != nil {
		return err
	}
	fetcher := &modeldata.Fetcher{Objects: srv.objects}
	dir, err := filepath.Abs(srv.settings.Data)
	if err != nil {
		return err
	}
	srv.runtime, err = process.New(process.Options{
		Dir: dir, Images: images, Fetch: fetcher.Fetch, Install: dir, Logger: srv.log,
	})
	return err
}

// newAgent makes the agent of an instance in this process.
func (srv *server) newAgent(i scheduler.Instance) scheduler.Agent {
	return agent.New(agent.Config{
		Work: srv.dispatch, Session: i.Session, Addr: i.Addr, Gone: i.Gone, Exit: i.Exit,
		StartupTimeout: i.StartupTimeout, StopLimit: srv.settings.StopLimit, Ready: i.Ready,
		Log:    srv.logs.of(i.Endpoint, i.Session.Variant, i.Session.Instance),
		Logger: srv.log.With("endpoint", i.Endpoint),
	})
}

// instanceEnv gives each instance keys for S3 that end with it, as on SageMaker
// it has those of its execution role. Nil where that is turned off.
func (srv *server) instanceEnv() func(context.Context, deferd.Model, deferd.InstanceID) (map[string]string, func(context.Context), error) {
	if srv.embedded == nil || !srv.settings.InstanceCredentials {
		return nil
	}
	return func(ctx context.Context, m deferd.Model, id deferd.InstanceID) (map[string]string, func(context.Context), error) {
		arn := m.RoleARN
		if arn == "" {
			arn = "arn:aws:iam::" + string(m.Account) + ":root"
		}
		k, secret := srv.keys.NewSession(m.Account, arn, "s3")
		if err := srv.store.PutKey(ctx, k); err != nil {
			return nil, nil, err
		}
		revoke := func(ctx context.Context) {
			if err := srv.store.DeleteKey(ctx, k.ID); err != nil {
				srv.log.ErrorContext(ctx, "an instance's keys could not be deleted", "instance", id, "err", err)
			}
			srv.keys.Forget(k.ID)
		}
		return map[string]string{
			"AWS_ACCESS_KEY_ID": k.ID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": k.Token,
			"AWS_REGION": srv.settings.region(), "AWS_DEFAULT_REGION": srv.settings.region(), "AWS_ENDPOINT_URL": srv.url,
		}, revoke, nil
	}
}

// key finds what a signature is checked with.
func (srv *server) key(ctx context.Context, id string) (sigv4.Key, error) {
	k, secret, err := srv.keys.Lookup(ctx, srv.store, id)
	if err != nil {
		return sigv4.Key{}, err
	}
	return sigv4.Key{
		ID: k.ID, Secret: secret, Token: k.Token, Service: k.Service,
		Principal: deferd.Principal{Account: k.Account, ARN: k.ARN, AccessKey: k.ID},
	}, nil
}

// hosts are the names that the server goes by; below them buckets may stand.
func (srv *server) hosts() []string { return append([]string{"localhost"}, srv.settings.PublicHost...) }

// bucketOf is the bucket in a Host header, "" for none.
func (srv *server) bucketOf(host string) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	for _, h := range srv.hosts() {
		if b, ok := strings.CutSuffix(strings.ToLower(name), "."+strings.ToLower(h)); ok {
			return b
		}
	}
	return ""
}

// api is the listener for all AWS services.
func (srv *server) api() http.Handler {
	s := srv.settings
	verifier := sigv4.New(srv.key, sigv4.Options{Region: s.Region, Skew: s.ClockSkew, Bucket: srv.bucketOf})
	objects := awsapi.S3{AWS: srv.embedded == nil && isAWS(s.S3)}
	if srv.embedded != nil {
		objects.Handler = objectHandler{objectserver.NewHandler(srv.embedded, objectserver.HandlerOptions{
			Region: s.region(), Account: s.Account, Hosts: srv.hosts(), Authorize: deferd.WithinAccount, Logger: srv.log,
		})}
		own, err := url.Parse(srv.url)
		if err == nil {
			objects.Hosts = append(srv.hosts(), own.Hostname())
		}
	} else if u, err := url.Parse(s.S3); err == nil {
		objects.Hosts = []string{u.Hostname()}
	}
	return srv.afterStart(awsapi.New(awsapi.Config{
		Store: srv.store, Region: s.region(), Verifier: verifier, Authorize: deferd.WithinAccount,
		Limits: awsmodel.Limits{MaxTimeout: s.MaxTimeout, MaxTTL: s.MaxTTL},
		S3:     objects, Logger: srv.log, Changed: srv.scheduler.Changed, Status: srv.status, Ready: srv.ready,
	}).Handler())
}

// afterStart keeps everybody but health checks out until what an earlier life
// had decided is published: what clients see in S3 never goes back.
func (srv *server) afterStart(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if srv.state.Load() == &starting && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			w.Header().Set("Retry-After", "1")
			http.Error(w, starting, http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// An objectHandler hands the embedded S3 what was verified.
type objectHandler struct{ h *objectserver.Handler }

func (o objectHandler) Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body *sigv4.Body) {
	o.h.Serve(w, r, p, body)
}

// status says what runs for an endpoint.
func (srv *server) status(id deferd.EndpointID) map[deferd.VariantName]awsapi.VariantStatus {
	out := map[deferd.VariantName]awsapi.VariantStatus{}
	for name, n := range srv.scheduler.Instances(id) {
		out[name] = awsapi.VariantStatus{Instances: n.Ready}
	}
	return out
}

// consoleHandler is the listener for those who operate the server.
func (srv *server) consoleHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(srv.metrics(), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	guarded := srv.guard(mux)
	outer := http.NewServeMux()
	outer.Handle("/", guarded)
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	outer.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := srv.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return outer
}

// guard asks for the console's password where there is one. The file is read
// at each request, so that a change needs no restart.
func (srv *server) guard(h http.Handler) http.Handler {
	path := srv.settings.ConsolePasswordFile
	if path == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(path)
		want := strings.TrimSpace(string(b))
		user, got, _ := r.BasicAuth()
		if err != nil || want == "" || user != "deferd" || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="deferd"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
