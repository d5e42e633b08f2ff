package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/deferd/deferd/client"
)

// await waits until the invocation of one input has ended, and keeps what came
// of it.
func (i *invoker) await(ctx context.Context, n int) error {
	r := &i.results[n]
	e, err := i.end(ctx, r)
	if err == nil {
		err = i.keep(e, n)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil {
		return err
	}
	r.Seconds = time.Since(r.begun).Seconds()
	i.ended++
	if r.State != "Completed" {
		i.bad++
	}
	if r.State == "Completed" && i.format == textFormat && !i.single() {
		i.status.clear()
		fmt.Fprintf(i.stdout, "%s  %s\n", r.Input, cmp.Or(r.File, r.Output))
	}
	i.showProgress()
	return nil
}

// An ending is what an invocation came to: an object, or where there is none a
// text about it.
type ending struct {
	object *openObject
	failed bool
	text   string
	reason string // the true one, where the server says it
}

// end polls until there is an ending: by asking the server where it can say,
// else by looking for the objects, as any client of SageMaker has to.
func (i *invoker) end(ctx context.Context, r *result) (*ending, error) {
	if r.Output == "" && r.Failure == "" && i.asked == nil {
		return nil, fmt.Errorf("%s: the endpoint has no output path to look at", r.Input)
	}
	look := i.lookForObjects
	if i.asked != nil {
		look = i.ask
	}
	var while tolerance
	for pause := newBackoff(); ; {
		e, err := look(ctx, r)
		switch {
		case errors.Is(err, errCannotSay):
			look = i.lookForObjects
			continue
		case while.bears(ctx, err):
		case e != nil || err != nil:
			return e, err
		}
		if err := pause.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// errCannotSay is for servers that know nothing of an invocation.
var errCannotSay = errors.New("the server cannot say where the invocation stands")

// ask returns the ending that the server knows of; nil while there is none.
func (i *invoker) ask(ctx context.Context, r *result) (*ending, error) {
	var inv client.Invocation
	err := i.request(ctx, func() (err error) {
		inv, err = i.asked.Invocation(ctx, i.endpoint, r.InferenceID)
		return err
	})
	e, refused := asAPIError(err)
	switch {
	case refused && !e.passing(), err == nil && inv.Output != r.Output: // it is not one of ours, or another has that name
		return nil, errCannotSay
	case err != nil || !inv.Ended():
		return nil, err
	case inv.State == "Completed":
		object, err := i.look(ctx, r.Output)
		return &ending{object: object}, err
	}
	object, err := i.look(ctx, r.Failure)
	if isMissing(err) { // it was deleted
		err = nil
	}
	return &ending{object, true, cmp.Or(inv.FailureReason, inv.State), inv.Reason}, err
}

// lookForObjects returns the ending that is in S3; nil while there is none.
func (i *invoker) lookForObjects(ctx context.Context, r *result) (*ending, error) {
	for _, location := range []string{r.Output, r.Failure} {
		object, err := i.look(ctx, location)
		switch {
		case err != nil && !isMissing(err):
			return nil, err
		case object != nil:
			return &ending{object: object, failed: location == r.Failure}, nil
		}
	}
	return nil, nil
}

// look opens an object; nil where there is no location.
func (i *invoker) look(ctx context.Context, location string) (object *openObject, err error) {
	if location == "" {
		return nil, nil
	}
	bucket, key, err := splitLocation(location)
	if err != nil {
		return nil, err
	}
	err = i.request(ctx, func() (err error) {
		object, err = i.objects.open(ctx, bucket, key)
		return err
	})
	return object, err
}

// keep writes a result where it belongs, or notes a failure.
func (i *invoker) keep(e *ending, n int) (err error) {
	r := &i.results[n]
	object := e.object
	if object != nil {
		defer object.Close()
	}
	if e.failed {
		return i.keepFailure(e, r)
	}
	if object == nil {
		return errors.New("the endpoint keeps no results: its configuration has no output path")
	}
	var body *string
	switch {
	case i.file[n] != "":
		err = writeStream(i.file[n], object, func(int64) {})
	case i.single() && i.format == textFormat:
		_, err = io.Copy(i.stdout, object)
	case i.single():
		b, rerr := io.ReadAll(io.LimitReader(object, maxShown+1))
		if err = rerr; err == nil && len(b) <= maxShown && isText(b) {
			text := string(b)
			body = &text
		}
	}
	if err != nil {
		return fmt.Errorf("keep the result of %s: %w", r.Input, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	r.State, r.ContentType, r.File, r.Body = "Completed", object.contentType, i.file[n], body
	return nil
}

// keepFailure notes what a failure object says, or else the server.
func (i *invoker) keepFailure(e *ending, r *result) error {
	text := e.text
	if e.object != nil {
		b, err := io.ReadAll(io.LimitReader(e.object, maxShown))
		if err != nil {
			return fmt.Errorf("read %s: %w", r.Failure, err)
		}
		text = cmp.Or(strings.TrimSpace(string(b)), e.text)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	r.State, r.Error, r.Reason = "Failed", text, e.reason
	return nil
}
