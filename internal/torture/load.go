package torture

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// persistence is how long a client repeats a request that is not answered.
const persistence = 45 * time.Second

// load sends a round's requests, each at its time, and returns when all of them
// are answered or given up.
func (r *run) load(ctx context.Context, round Round, begin time.Time) {
	var wg sync.WaitGroup
	for _, q := range round.Requests {
		c := r.add(round.Number, q)
		wg.Go(func() {
			if sleepUntil(ctx, begin.Add(q.At)) {
				r.send(ctx, c)
			}
		})
	}
	wg.Wait()
}

func sleepUntil(ctx context.Context, t time.Time) bool {
	select {
	case <-time.After(time.Until(t)):
		return true
	case <-ctx.Done():
		return false
	}
}

// send makes a request as AWS's SDKs do: repeated under one token until it is
// answered.
func (r *run) send(ctx context.Context, c *Case) {
	q := c.Request
	input := inputBody(q.ID, q.Size)
	giveUp := time.Now().Add(persistence)
	if q.Input == Object && !r.putInput(ctx, q.ID, input, giveUp) {
		r.dropCase(c)
		return
	}
	var body []byte
	if q.Input == Inline {
		body = input
	}
	// Repeats must fall into the time for which the server remembers them, and
	// into one life of their endpoint.
	r.steady.RLock()
	defer r.steady.RUnlock()
	r.edit(func() { c.Sent = time.Now() })
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		a, err := r.callOnce(ctx, c, body)
		refused, ok := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			r.edit(func() {
				if !slices.Contains(c.Accepted, a) {
					c.Accepted = append(c.Accepted, a)
				}
			})
			return
		case ok && refused.Status/100 == 4 && refused.Status != 429:
			r.edit(func() { c.Refused = refused.Status })
			r.log.Info("a request is refused", "request", q.ID, "err", err)
			return
		}
		if ctx.Err() != nil || time.Now().After(giveUp) || !sleepUntil(ctx, time.Now().Add(pause)) {
			return
		}
	}
}

// callOnce makes one call. The first one of a request may be cut off by its
// client.
func (r *run) callOnce(ctx context.Context, c *Case, body []byte) (Accepted, error) {
	first := false
	r.edit(func() {
		c.Calls++
		first = c.Calls == 1
	})
	if first && c.Request.Cut > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Request.Cut)
		defer cancel()
	}
	return r.out.invoke(ctx, c.Request, body)
}

func (r *run) putInput(ctx context.Context, id string, data []byte, giveUp time.Time) bool {
	for {
		_, err := r.out.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(inputKey(id)), Body: bytes.NewReader(data)})
		if err == nil {
			return true
		}
		if time.Now().After(giveUp) || !sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
			return false
		}
	}
}
