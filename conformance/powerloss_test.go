package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/smithy-go"
	smithymiddleware "github.com/aws/smithy-go/middleware"

	"github.com/deferd/deferd/conformance/model/journal"
	"github.com/deferd/deferd/internal/powerloss"
)

// A promise is what an answer of the server told a client.
type promise struct {
	requestID string
	at        int // position in the recording at which it left the server

	kind    string // "put", "delete", "accept" or "result"
	key     string // of the object, or of the result
	version int    // of a put or delete, among those of its key
	size    int    // of a put
	id      string // of an invocation
}

// A pledge is the list of what was promised.
type pledge struct {
	mu       sync.Mutex // guards promises while clients work
	promises []promise
}

func (p *pledge) add(m smithymiddleware.Metadata, pr promise) {
	pr.requestID, _ = middleware.GetRequestIDMetadata(m)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promises = append(p.promises, pr)
}

// locate finds out when each promise was made.
func (p *pledge) locate(t *testing.T, r *powerloss.Recording) {
	t.Helper()
	for i := range p.promises {
		pr := &p.promises[i]
		if pr.requestID == "" {
			t.Fatalf("the answer to %s of %s has no request ID", pr.kind, pr.key)
		}
		if pr.at = r.Said(": " + pr.requestID + "\r\n"); pr.at < 0 {
			t.Fatalf("the answer %s to %s of %s was not recorded", pr.requestID, pr.kind, pr.key)
		}
	}
}

// versionOf is what a version of a key holds.
func versionOf(key string, version, size int) []byte {
	line := fmt.Sprintf("%s version %d\n", key, version)
	return []byte(strings.Repeat(line, size/len(line)+1)[:size])
}

// TestPowerLoss records a server while clients work, cuts its power at the ends
// of syncs, and starts another server on what may be left of the disk: whatever
// an answer had promised by then is there, every accepted invocation comes to
// its result, and none whose result was seen comes to a model again.
func TestPowerLoss(t *testing.T) {
	powerloss.Need(t)
	s := newServer(t)
	s.disk = powerloss.Scratch(t)
	log := filepath.Join(powerloss.Scratch(t), "recording")
	s.prepare = func(cmd *exec.Cmd) {
		if err := powerloss.Record(cmd, log); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	c := s.client()
	c.deploy()
	p := &pledge{}
	var wg sync.WaitGroup
	wg.Go(func() { p.objects(c) })
	for n := range 3 {
		wg.Go(func() { p.invocations(c, n) })
	}
	wg.Wait()
	s.kill()

	r, err := powerloss.Read(s.disk, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(func(path string) bool { return strings.HasSuffix(path, "-shm") }); err != nil {
		t.Fatal(err)
	}
	p.locate(t, r)
	t.Logf("%d promises, %d syncs", len(p.promises), len(r.Syncs()))
	r.Try(t, powerloss.Trial{Cuts: 10, Draws: 2}, func(dir string, at int) error { return p.check(t, dir, at) })
}

const versions = 40

// objects puts, replaces and deletes objects, one after another.
func (p *pledge) objects(c *client) {
	for v := range versions {
		key := fmt.Sprintf("kept/%d", v%7)
		size := 100 + 997*v
		switch {
		case v%11 == 10:
			out, err := c.s3.DeleteObject(c.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key})
			c.must("delete "+key, err)
			p.add(out.ResultMetadata, promise{kind: "delete", key: key, version: v})
			continue
		case v%8 == 7:
			size = 300_000
		}
		out, err := c.s3.PutObject(c.t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(versionOf(key, v, size)),
		})
		c.must("put "+key, err)
		p.add(out.ResultMetadata, promise{kind: "put", key: key, version: v, size: size})
	}
}

// invocations invokes the endpoint, and looks at each second result.
func (p *pledge) invocations(c *client, client int) {
	for i := range 12 {
		id := fmt.Sprintf("invocation-%d-%d", client, i)
		in := &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: aws.String(endpoint), InferenceId: &id}
		if i%3 == 0 {
			in.InputLocation = aws.String(c.upload("in/"+id, "text/plain", []byte(id)))
		} else {
			in.Body = []byte(id)
		}
		out, err := c.runtime.InvokeEndpointAsync(c.t.Context(), in)
		c.must("invoke the endpoint", err)
		result := key(*out.OutputLocation)
		p.add(out.ResultMetadata, promise{kind: "accept", key: result, id: id})
		if i%2 == 0 {
			continue
		}
		await(c.t, result, func() bool {
			got, err := c.s3.HeadObject(c.t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &result})
			if err == nil {
				p.add(got.ResultMetadata, promise{kind: "result", key: result, id: id})
			}
			return err == nil
		})
	}
}

// check starts a server on a disk that a cut at the position may have left.
func (p *pledge) check(t *testing.T, disk string, at int) error {
	s := newServer(t)
	s.disk = disk
	s.start()
	defer s.kill()
	c := s.client()
	seen := map[string]bool{}
	accepted := map[string]string{}
	objects := map[string][]promise{}
	for _, pr := range p.promises {
		made := pr.at < at
		switch {
		case pr.kind == "put", pr.kind == "delete":
			objects[pr.key] = append(objects[pr.key], pr)
		case pr.kind == "accept" && made:
			accepted[pr.id] = pr.key
		case pr.kind == "result" && made:
			seen[pr.id] = true
			if got, err := c.read(pr.key); err != nil || string(got) != pr.id {
				return fmt.Errorf("the result %s was seen, and is %q, %v", pr.key, got, err)
			}
		}
	}
	for key, changes := range objects {
		if err := c.checkVersions(key, changes, at); err != nil {
			return err
		}
	}
	for id, key := range accepted {
		await(t, "the result of "+id, func() bool {
			_, err := c.read(key)
			return err == nil
		})
		if got, err := c.read(key); err != nil || string(got) != id {
			return fmt.Errorf("the result of %s is %q, %v", id, got, err)
		}
	}
	for _, e := range s.journal(journal.Start) {
		if seen[e.ID] {
			return fmt.Errorf("%s, whose result was seen, came to the model again", e.ID)
		}
	}
	return nil
}

func (c *client) read(key string) ([]byte, error) {
	out, err := c.s3.GetObject(c.t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// checkVersions checks that an object is what was promised last, or what was
// asked for afterwards.
func (c *client) checkVersions(key string, changes []promise, at int) error {
	got, err := c.read(key)
	refusal, _ := errors.AsType[smithy.APIError](err)
	missing := refusal != nil && (refusal.ErrorCode() == "NoSuchKey" || refusal.ErrorCode() == "NoSuchBucket")
	if err != nil && !missing {
		return err
	}
	allowed := []promise{{kind: "delete", version: -1}}
	for _, pr := range changes {
		if pr.at < at {
			allowed = nil
		}
		allowed = append(allowed, pr)
	}
	for _, pr := range allowed {
		if pr.kind == "delete" && missing || pr.kind == "put" && bytes.Equal(got, versionOf(key, pr.version, pr.size)) {
			return nil
		}
	}
	return fmt.Errorf("%s has %d bytes, %.30q, and is missing: %t; want version %d or a later one", key, len(got), got, missing, allowed[0].version)
}
