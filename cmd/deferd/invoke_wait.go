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
	object, failed, reason, err := i.end(ctx, r)
	if err == nil {
		err = i.keep(object, failed, reason, n)
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

// end polls until there is an end: by asking the server where it can say, else
// by looking for the objects, as any client of SageMaker has to. Object is what
// ends it, which is nil where there is none but a reason.
func (i *invoker) end(ctx context.Context, r *result) (object *openObject, failed bool, reason string, err error) {
	if r.Output == "" && r.Failure == "" && i.asked == nil {
		return nil, false, "", fmt.Errorf("%s: the endpoint has no output path to look at", r.Input)
	}
	asking := i.asked != nil
	for pause := newBackoff(); ; {
		if asking {
			var inv client.Invocation
			err = i.request(ctx, func() (err error) { inv, err = i.asked.Invocation(ctx, i.endpoint, r.InferenceID); return err })
			switch _, refused := asAPIError(err); {
			case refused || err == nil && inv.Output != r.Output:
				asking = false // it is not one of ours, or another one has the same name
			case err != nil:
				return nil, false, "", err
			case inv.Ended():
				return i.ended1(ctx, r, inv)
			}
		}
		if !asking {
			for _, location := range []string{r.Output, r.Failure} {
				object, err = i.look(ctx, location)
				if err == nil && object != nil {
					return object, location == r.Failure, "", nil
				}
				if err != nil && !isMissing(err) {
					return nil, false, "", err
				}
			}
		}
		if err := pause.wait(ctx); err != nil {
			return nil, false, "", err
		}
	}
}

// ended1 fetches what an invocation that has ended left behind.
func (i *invoker) ended1(ctx context.Context, r *result, inv client.Invocation) (object *openObject, failed bool, reason string, err error) {
	location := r.Failure
	if failed = inv.State != "Completed"; !failed {
		location = r.Output
	}
	reason = cmp.Or(inv.FailureReason, inv.Reason, inv.State)
	object, err = i.look(ctx, location)
	if isMissing(err) && failed { // it was deleted, or there is no path for failures
		return nil, true, reason, nil
	}
	return object, failed, reason, err
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
	return object, i.request(ctx, func() error {
		object, err = i.objects.open(ctx, bucket, key)
		return err
	})
}

// keep writes a result where it belongs, or notes a failure.
func (i *invoker) keep(object *openObject, failed bool, reason string, n int) (err error) {
	r := &i.results[n]
	if object != nil {
		defer object.Close()
	}
	if failed {
		text := reason
		if object != nil {
			b, err := io.ReadAll(io.LimitReader(object, maxShown))
			if err != nil {
				return fmt.Errorf("read %s: %w", r.Failure, err)
			}
			text = cmp.Or(strings.TrimSpace(string(b)), reason)
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		r.State, r.Error = "Failed", text
		return nil
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
