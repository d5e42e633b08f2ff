package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"
)

// measureOverhead invokes an idle server again and again, one invocation at a
// time, and lets a loop do the same work.
func (p *plan) measureOverhead(ctx context.Context, r *report) error {
	s := r.section("Overhead", "deferd", freshLoop, keptLoop)
	s.about = "From the signed request until its 4 KiB of output are visible in S3, one at a time on an idle system, less what a call to\n" +
		"the same model takes on a kept connection. The client asks for the output (HEAD) as soon as it has its last answer, so that\n" +
		"its asking, some 0.1 ms, is part of it. Limit: a loop that reads (by S3), calls and writes, in the same object store."
	for range p.rounds {
		model, err := p.modelTime(ctx)
		if err != nil {
			return fmt.Errorf("call the model: %w", err)
		}
		if err := p.overheadOfServer(ctx, s, model); err != nil {
			return err
		}
		for _, subject := range []string{freshLoop, keptLoop} {
			if err := p.overheadOfLoop(ctx, s, subject, model); err != nil {
				return fmt.Errorf("limit: %w", err)
			}
		}
	}
	return nil
}

// addTimes notes quantiles of how long invocations took, less the model's time.
func addTimes(s *section, at, subject string, took []time.Duration, model time.Duration) {
	r := loadResult{latencies: slices.Sorted(slices.Values(took))}
	s.figure(at, "p50 less the model, ms", "%.2f").chart().add(subject, milliseconds(r.quantile(.50)-model))
	s.figure(at, "p99 less the model, ms", "%.2f").chart().add(subject, milliseconds(r.quantile(.99)-model))
}

// modelTime is the median of how long a call to the idle model takes.
func (p *plan) modelTime(ctx context.Context) (median time.Duration, err error) {
	err = p.withLoop(ctx, 1, true, func(w *looper) error {
		body := randomInput()
		var took []time.Duration
		for range p.samples {
			begun := time.Now()
			if _, _, err := w.call(ctx, bytes.NewReader(body), payloadSize); err != nil {
				return err
			}
			took = append(took, time.Since(begun))
		}
		slices.Sort(took)
		median = took[len(took)/2]
		return nil
	})
	return median, err
}

func (p *plan) overheadOfServer(ctx context.Context, s *section, model time.Duration) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	d, err := p.deploy(ctx, dir, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.putInputs(ctx); err != nil {
		return err
	}
	for _, f := range forms(d.path) {
		v, err := d.visitor(ctx, f)
		if err != nil {
			return err
		}
		took, err := v.invokeAll(ctx, p.samples)
		if err := errors.Join(err, v.close()); err != nil {
			return err
		}
		addTimes(s, f.name, "deferd", took, model)
	}
	return nil
}

// A visitor invokes and waits for the output, on connections of its own.
type visitor struct {
	form                   form
	invoking, looking      net.Conn
	invoked, looked        *bufio.Reader
	invokeSigner, s3Signer *signer
}

func (d *deployment) visitor(ctx context.Context, f form) (*visitor, error) {
	var dialer net.Dialer
	v := &visitor{form: f, invokeSigner: &signer{credentials: d.credentials}, s3Signer: &signer{credentials: d.credentials, method: http.MethodHead, service: "s3"}}
	var err error
	if v.invoking, err = dialer.DialContext(ctx, "tcp", d.host()); err != nil {
		return nil, err
	}
	if v.looking, err = dialer.DialContext(ctx, "tcp", d.host()); err != nil {
		return nil, errors.Join(err, v.invoking.Close())
	}
	v.invoked, v.looked = bufio.NewReader(v.invoking), bufio.NewReader(v.looking)
	return v, nil
}

func (v *visitor) close() error { return errors.Join(v.invoking.Close(), v.looking.Close()) }

// pause is how long the system is left alone between two invocations.
const pause = 2 * time.Millisecond

// outputLimit bounds how long one output is waited for.
const outputLimit = 30 * time.Second

// invokeAll invokes so often, and a few times more before it counts.
func (v *visitor) invokeAll(ctx context.Context, n int) ([]time.Duration, error) {
	const warm = 10
	var took []time.Duration
	for i := range warm + n {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		begun := time.Now()
		if err := v.invoke(i, begun.Add(outputLimit)); err != nil {
			return nil, err
		}
		if i >= warm {
			took = append(took, time.Since(begun))
		}
		time.Sleep(pause)
	}
	return took, nil
}

// invoke invokes once and returns when the output is visible.
func (v *visitor) invoke(n int, deadline time.Time) error {
	name := fmt.Sprintf("%s-%d", v.form.name[:2], n)
	if _, err := v.invoking.Write(v.form.named(name, v.invokeSigner, n)); err != nil {
		return err
	}
	if err := readAccepted(v.invoked); err != nil {
		return err
	}
	headers := lookHeaders()
	for time.Now().Before(deadline) {
		if _, err := v.looking.Write(v.s3Signer.request(nil, "/"+bucket+"/out/"+name, headers, nil, time.Now())); err != nil {
			return err
		}
		status, _, err := readAnswer(v.looked, true)
		switch {
		case err != nil:
			return err
		case status == http.StatusOK:
			return nil
		case status != http.StatusNotFound:
			return fmt.Errorf("look for the output: status %d", status)
		}
	}
	return fmt.Errorf("output %s is not there after %v", name, outputLimit)
}

// lookHeaders are those that S3 wants of a request without a body.
func lookHeaders() []header {
	nothing := sha256.Sum256(nil)
	return []header{{"x-amz-content-sha256", hex.EncodeToString(nothing[:])}}
}

func (p *plan) overheadOfLoop(ctx context.Context, s *section, subject string, model time.Duration) error {
	return p.withLoop(ctx, 1, subject == keptLoop, func(w *looper) error {
		body, locations := randomInput(), inputLocations()
		for _, f := range []struct {
			name string
			once func(n int) error
		}{
			{inlineForm, func(n int) error { return w.work(ctx, bytes.NewReader(body), payloadSize, n) }},
			{s3Form, func(n int) error { return w.invoke(ctx, locations[n%inputs], n) }},
		} {
			var took []time.Duration
			for n := range p.samples {
				begun := time.Now()
				if err := f.once(n); err != nil {
					return err
				}
				took = append(took, time.Since(begun))
				time.Sleep(pause)
			}
			addTimes(s, f.name, subject, took, model)
		}
		return nil
	})
}
