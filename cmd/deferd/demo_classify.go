package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	runtime "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/deferd/deferd/examples/digits/dataset"
	"golang.org/x/sync/errgroup"
)

// demoClients is how many requests are on their way at a time.
const demoClients = 16

// A demoResult is what came of sending all images.
type demoResult struct {
	total, right, failed int
	took                 time.Duration
	latencies            []time.Duration // request to result in S3, sorted
	sample               string          // one result, as the client sees it
}

// classifyAll sends every image, half of them inline and half by S3, and reads
// every result from S3.
func classifyAll(ctx context.Context, cfg aws.Config, images []dataset.Image, p *progress) (*demoResult, error) {
	c := &demoClient{runtime: runtime.NewFromConfig(cfg), s3: s3.NewFromConfig(cfg)}
	r := &demoResult{total: len(images), latencies: make([]time.Duration, len(images))}
	var mu sync.Mutex // guards r
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(demoClients)
	begun := time.Now()
	for i, image := range images {
		g.Go(func() error {
			at := time.Now()
			location, answer, err := c.classify(ctx, i, image)
			if err != nil {
				return err
			}
			var got struct{ Digit *int }
			parsed := json.Unmarshal(answer, &got) == nil && got.Digit != nil
			mu.Lock()
			defer mu.Unlock()
			r.latencies[i] = time.Since(at)
			switch {
			case !parsed:
				r.failed++
			case *got.Digit == image.Label:
				r.right++
			}
			if i == len(images)-1 {
				r.sample = fmt.Sprintf("%s\n\n  %s\n  %s", draw(image), location, clipped(answer))
			}
			p.step()
			return nil
		})
	}
	err := g.Wait()
	p.end()
	r.took = time.Since(begun)
	slices.Sort(r.latencies)
	return r, err
}

// A demoClient is what any user of AWS's SDK has.
type demoClient struct {
	runtime *runtime.Client
	s3      *s3.Client
}

// classify sends one image and waits for what becomes of it.
func (c *demoClient) classify(ctx context.Context, i int, image dataset.Image) (location string, answer []byte, err error) {
	in := &runtime.InvokeEndpointAsyncInput{EndpointName: aws.String(demoName), ContentType: aws.String("text/csv")}
	if i%2 == 0 {
		in.Body = []byte(image.CSV())
	} else {
		key := fmt.Sprintf("in/%d.csv", i)
		_, err := c.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(demoBucket), Key: &key, Body: strings.NewReader(image.CSV())})
		if err != nil {
			return "", nil, err
		}
		in.InputLocation = aws.String("s3://" + demoBucket + "/" + key)
	}
	accepted, err := c.runtime.InvokeEndpointAsync(ctx, in)
	if err != nil {
		return "", nil, err
	}
	for {
		for _, location := range []*string{accepted.OutputLocation, accepted.FailureLocation} {
			answer, err := c.read(ctx, aws.ToString(location))
			if err == nil {
				return *location, answer, nil
			}
			if _, missing := errors.AsType[*types.NoSuchKey](err); !missing {
				return "", nil, err
			}
		}
		if err := pause(ctx); err != nil {
			return "", nil, err
		}
	}
}

func (c *demoClient) read(ctx context.Context, location string) ([]byte, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(location, "s3://"), "/")
	o, err := c.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	return io.ReadAll(o.Body)
}

func (r *demoResult) print(out io.Writer) {
	quantile := func(q float64) time.Duration {
		return r.latencies[int(q*float64(len(r.latencies)-1))].Round(100 * time.Microsecond)
	}
	fmt.Fprintf(out, "\n  accuracy    %.1f %% (%d of %d right, %d failed)\n", 100*float64(r.right)/float64(r.total), r.right, r.total, r.failed)
	fmt.Fprintf(out, "  throughput  %.0f invocations/s, %d clients, every accept and result on disk\n", float64(r.total)/r.took.Seconds(), demoClients)
	fmt.Fprintf(out, "  latency     p50 %v, p90 %v, p99 %v, from request to result in S3\n", quantile(.5), quantile(.9), quantile(.99))
	fmt.Fprintf(out, "\nOne of them:\n\n%s\n", r.sample)
}

// draw shows an image in characters.
func draw(m dataset.Image) string {
	const shades = " .:-=+*#%@"
	var b strings.Builder
	for i, p := range m.Pixels {
		if i%8 == 0 {
			b.WriteString("\n     ")
		}
		c := shades[int(p)*(len(shades)-1)/16]
		b.WriteByte(c)
		b.WriteByte(c)
	}
	return strings.TrimPrefix(b.String(), "\n")
}

func clipped(answer []byte) string {
	const width = 90
	text := strings.TrimSpace(string(answer))
	if len(text) > width {
		return text[:width] + "..."
	}
	return text
}

// A progress shows how far something has come: a bar on a terminal, a line at
// each quarter elsewhere.
type progress struct {
	out         io.Writer
	terminal    bool
	done, total int
}

func newProgress(out io.Writer, total int) *progress {
	p := &progress{out: out, total: total}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) step() {
	p.done++
	const width = 40
	switch {
	case p.terminal:
		full := width * p.done / p.total
		fmt.Fprintf(p.out, "\r  [%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", width-full), p.done, p.total)
	case p.done*4/p.total > (p.done-1)*4/p.total:
		fmt.Fprintf(p.out, "  %d/%d\n", p.done, p.total)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprintln(p.out)
	}
}
