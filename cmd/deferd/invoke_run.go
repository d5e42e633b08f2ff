package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	runtime "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/deferd/deferd/client"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

const (
	// maxInline is how long an input may be to go with the request.
	maxInline = 128_000

	// maxShown bounds what is read of failures, and of results that are
	// printed in JSON.
	maxShown = 1 << 20
)

// An invoker is one run of "deferd invoke".
type invoker struct {
	endpoint string
	o        invokeOptions
	inputs   []input
	results  []result // in the order of inputs
	file     []string // for the result of each
	format   format
	stdout   io.Writer

	site    *site
	runtime *runtime.Client
	objects *objects
	asked   *client.Client // says where invocations stand; nil where nobody can
	places  func(context.Context) (string, error)
	turn    chan struct{} // holds as many as there may be requests at a time

	mu     sync.Mutex // guards the rest, and the results
	status *statusLine
	sent   int
	ended  int
	bad    int
}

func newInvoker(s *site, endpoint string, o invokeOptions, inputs []input) *invoker {
	i := &invoker{
		endpoint: endpoint, o: o, inputs: inputs, results: make([]result, len(inputs)),
		site: s, runtime: s.runtime(), objects: s.objects(), asked: s.invocations(), turn: make(chan struct{}, o.parallel),
	}
	for n, in := range inputs {
		i.results[n].Input = in.name
	}
	i.file = i.files()
	i.places = onceGood(i.prepareUploads)
	return i
}

// onceGood keeps the first answer of f that is no error.
func onceGood(f func(context.Context) (string, error)) func(context.Context) (string, error) {
	var mu sync.Mutex
	var good string
	return func(ctx context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		if good != "" {
			return good, nil
		}
		var err error
		good, err = f(ctx)
		return good, err
	}
}

// run sends all inputs, and waits for all ends if it is to. An error ends
// everything: what one request is refused for, the others are as well.
func (i *invoker) run(ctx context.Context) error {
	if i.o.out != "" && (len(i.inputs) > 1 || strings.HasSuffix(i.o.out, "/")) {
		if err := os.MkdirAll(i.o.out, 0o755); err != nil {
			return err
		}
	}
	waiting, cancel := i.o.waitContext(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(waiting)
	sending := make(chan int)
	for range min(i.o.parallel, len(i.inputs)) {
		g.Go(func() error {
			for n := range sending {
				if err := i.send(ctx, n); err != nil {
					return err
				}
				if i.o.wait {
					g.Go(func() error { return i.await(ctx, n) })
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(sending)
		for n := range i.inputs {
			select {
			case sending <- n:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	err := g.Wait()
	if late, ok := errors.AsType[*exitError](context.Cause(waiting)); err != nil && ok {
		return late
	}
	return err
}

// request does something with one of the requests that there may be at a time.
func (i *invoker) request(ctx context.Context, do func() error) error {
	select {
	case i.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-i.turn }()
	return do()
}

// send invokes the endpoint with one input.
func (i *invoker) send(ctx context.Context, n int) error {
	r := &i.results[n]
	r.begun = time.Now()
	in, err := i.prepare(ctx, n)
	var out *runtime.InvokeEndpointAsyncOutput
	if err == nil {
		err = i.request(ctx, func() error {
			out, err = i.runtime.InvokeEndpointAsync(ctx, in)
			return err
		})
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			r.State, r.Error = "Refused", explain(err)
			i.ended++
			i.bad++
		}
		return fmt.Errorf("invoke %s: %w", i.endpoint, err)
	}
	r.State, r.InferenceID = "Accepted", aws.ToString(out.InferenceId)
	r.Output, r.Failure = aws.ToString(out.OutputLocation), aws.ToString(out.FailureLocation)
	i.sent++
	i.showProgress()
	return nil
}

// prepare puts a request together, and uploads what is too long for one.
func (i *invoker) prepare(ctx context.Context, n int) (*runtime.InvokeEndpointAsyncInput, error) {
	from := i.inputs[n]
	optional := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	in := &runtime.InvokeEndpointAsyncInput{
		EndpointName: &i.endpoint, ContentType: optional(i.o.typeFor(from)), Accept: optional(i.o.accept),
		CustomAttributes: optional(i.o.attributes), Filename: optional(i.o.filename),
		S3OutputPathExtension: optional(i.o.extension), InferenceId: optional(i.o.inferenceID),
	}
	if i.o.inferenceID != "" && len(i.inputs) > 1 {
		in.InferenceId = aws.String(fmt.Sprintf("%s-%d", i.o.inferenceID, n+1))
	}
	if i.o.ttl > 0 {
		in.RequestTTLSeconds = aws.Int32(int32(i.o.ttl.Seconds()))
	}
	if i.o.timeout > 0 {
		in.InvocationTimeoutSeconds = aws.Int32(int32(i.o.timeout.Seconds()))
	}
	if from.location != "" {
		in.InputLocation = &from.location
		return in, nil
	}
	body := from.stream
	var file *os.File
	if body == nil {
		var err error
		if file, err = os.Open(from.path); err != nil {
			return nil, err
		}
		defer file.Close()
		body = file
	}
	head, err := io.ReadAll(io.LimitReader(body, maxInline+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", from.name, err)
	}
	if len(head) <= maxInline {
		in.Body = head
		return in, nil
	}
	body = io.MultiReader(bytes.NewReader(head), body)
	location, err := i.upload(ctx, from, file, body)
	in.InputLocation = &location
	return in, err
}

// prepareUploads returns where files are uploaded to, and sees to the bucket.
func (i *invoker) prepareUploads(ctx context.Context) (string, error) {
	prefix := i.o.upload
	if prefix == "" {
		base, err := i.site.defaultPrefix(ctx, i.endpoint)
		if err != nil {
			return "", err
		}
		prefix = base + "/input"
	}
	bucket, _, err := splitLocation(prefix)
	if err != nil {
		return "", err
	}
	_, err = i.objects.ensureBucket(ctx, bucket, !i.site.isAWS(objectStorage))
	return strings.TrimRight(prefix, "/"), err
}

// upload puts an input into S3, from its file where it has one, and returns its
// location.
func (i *invoker) upload(ctx context.Context, from input, file *os.File, body io.Reader) (string, error) {
	prefix, err := i.places(ctx)
	if err != nil {
		return "", err
	}
	location := prefix + "/" + uuid.NewString() + "-" + from.base()
	bucket, key, err := splitLocation(location)
	if err != nil {
		return "", err
	}
	to := destination{bucket, key, i.o.typeFor(from)}
	err = i.request(ctx, func() error {
		if file != nil {
			return i.objects.upload(ctx, file, to, func(int64) {})
		}
		return i.objects.uploadStream(ctx, body, to, func(int64) {})
	})
	return location, err
}

// showProgress draws how far everything is; the caller holds i.mu.
func (i *invoker) showProgress() {
	total := len(i.inputs)
	done, what := i.ended, "ended"
	if !i.o.wait {
		done, what = i.sent, "sent"
	}
	detail := ""
	if i.o.wait && i.sent > i.ended {
		detail = fmt.Sprintf(", %d open", i.sent-i.ended)
	}
	if i.bad > 0 {
		detail += fmt.Sprintf(", %d failed", i.bad)
	}
	if i.status.width > 0 {
		i.status.show(fmt.Sprintf("%s %d/%d %s%s", bar(done, total, 30), done, total, what, detail), "")
		return
	}
	if quarter := done * 4 / total; total > 1 && quarter > 0 { // elsewhere than on a terminal a line at each quarter
		i.status.show(fmt.Sprintf("%d %% %s", quarter*25, what), "")
	}
}

// isText reports whether a result can be shown in a document.
func isText(b []byte) bool { return utf8.Valid(b) && !bytes.Contains(b, []byte{0}) }
