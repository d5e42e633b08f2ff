package awsapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// A call is one request on its way through a Server.
type call struct {
	server    *Server
	w         *response
	r         *http.Request
	id        string // of the request
	protocol  protocol
	principal deferd.Principal // once the signature is verified
	body      []byte           // of everything but S3
	room      int64            // what the body has of the server's room; 0 for a small one
	wide      int64            // and of the room for wide ones
}

// A response remembers whether anything of it has been sent.
type response struct {
	http.ResponseWriter
	started bool
}

func (w *response) WriteHeader(status int) {
	w.started = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ReadFrom keeps the ways that net/http has of sending files.
func (w *response) ReadFrom(r io.Reader) (int64, error) {
	w.started = true
	return io.Copy(w.ResponseWriter, r)
}

func (c *call) ctx() context.Context { return c.r.Context() }

// readBody reads the whole body, of at most limit bytes. Nothing of the request
// is verified yet, so that large bodies are read only for a signature to the
// service that may turn out to be right, and within the memory that all of them
// may have together.
func (c *call) readBody(service string, limit int64) error {
	size := c.r.ContentLength
	if size > limit {
		return tooLarge
	}
	if size < 0 {
		size = limit
	}
	if size > smallBody {
		if err := c.server.Verifier.Plausible(c.r, service); err != nil {
			return err
		}
		if err := c.takeRoom(size); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	b.Grow(int(size) + bytes.MinRead)
	_, err := b.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, limit))
	c.body = b.Bytes()
	return bodyError(err)
}

const (
	// smallBody is the largest body that is read without a question.
	smallBody = 16 << 10

	// bodyRoom is the memory that all other bodies may have at a time: a
	// thousand of the largest that an invocation may carry.
	bodyRoom = 128 << 20

	// wideRoom is what of it those may have that no invocation may carry. They
	// are hardly ever meant, and must not keep invocations waiting.
	wideRoom = 32 << 20

	// roomPatience is how long a request waits for room. It is shorter than
	// clients wait for an answer.
	roomPatience = 10 * time.Second
)

// takeRoom waits until there is room for a body, which the call has until it
// ends.
func (c *call) takeRoom(size int64) error {
	ctx, cancel := context.WithTimeout(c.ctx(), roomPatience)
	defer cancel()
	s := c.server
	if size > s.maxInline()+1 {
		if err := s.wide.Acquire(ctx, size); err != nil {
			return noRoom(err)
		}
		c.wide = size
	}
	if err := s.room.Acquire(ctx, size); err != nil {
		return noRoom(err)
	}
	c.room = size
	return nil
}

func noRoom(err error) error {
	return &deferd.Error{Code: deferd.Unavailable, Msg: "too many large requests at a time", Err: err}
}

// giveRoom gives back what takeRoom took.
func (c *call) giveRoom() {
	c.server.room.Release(c.room)
	c.server.wide.Release(c.wide)
}

// bodyError says what it means that a body could not be read.
func bodyError(err error) error {
	switch _, long := errors.AsType[*http.MaxBytesError](err); {
	case err == nil:
		return nil
	case long:
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return tooSlow
	}
	return requestAborted
}

// authorize asks whether the caller may perform an action on a resource. An
// answer that is no refusal leaves the request undecided.
func (c *call) authorize(action, resource string) error {
	return c.server.Authorize(c.principal, action, resource)
}

// arn is the ARN of a thing of SageMaker's in the caller's account. AWS's have
// names in lower case, whatever was asked for.
func (c *call) arn(kind, name string) string {
	return "arn:aws:sagemaker:" + c.server.Region + ":" + string(c.principal.Account) + ":" + kind + "/" + strings.ToLower(name)
}

// respondJSON answers with a document; nil stands for an answer without one.
func (c *call) respondJSON(status int, document any) error {
	var body []byte
	if document != nil {
		var err error
		if body, err = marshal(document); err != nil {
			return err
		}
	}
	c.respond(status, c.protocol.contentType(), body)
	return nil
}

// respond sends an answer.
func (c *call) respond(status int, contentType string, body []byte) {
	h := c.w.Header()
	h.Set(c.protocol.requestIDHeader(), c.id)
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	c.w.Write(body) // an error means that the client has gone
}

// form returns the parameters of a request in the query protocol, from its body
// or its URL.
func form(r *http.Request, body []byte) url.Values {
	if !isForm(r) {
		return r.URL.Query()
	}
	values, _ := url.ParseQuery(string(body)) // what cannot be read is not there
	return values
}

// isForm reports whether the body of a request is a form.
func isForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && kind == "application/x-www-form-urlencoded"
}
