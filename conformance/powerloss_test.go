package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
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

// refused adds what was asked for and may be done or not.
func (p *pledge) refused(pr promise) {
	pr.at = math.MaxInt
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promises = append(p.promises, pr)
}

// locate finds out when each promise was made.
func (p *pledge) locate(t *testing.T, r *powerloss.Recording) {
	t.Helper()
	for i := range p.promises {
		pr := &p.promises[i]
		if pr.at == math.MaxInt {
			continue
		}
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
	tests := []struct {
		name  string
		fault string // of the first life, if there are two
		lives int
		cuts  int
		long  bool // only in the long form
	}{
		{"one life", "", 1, 8, false},
		{"killed", "", 2, 4, false},
		{"a sync of the queue fails", "fsync:error=EIO:when=40", 2, 4, true},
		{"syncs of the objects fail", "fdatasync:error=EIO:when=15", 2, 4, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.long && !powerloss.Long() {
				t.Skip("takes long")
			}
			r, p, err := recordServer(t, test.lives, test.fault)
			for errors.Is(err, powerloss.ErrInFlight) {
				r, p, err = recordServer(t, test.lives, test.fault)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.locate(t, r)
			t.Logf("%d promises, %d syncs", len(p.promises), len(r.Syncs()))
			r.Try(t, powerloss.Trial{Cuts: test.cuts, Draws: 2}, func(dir string, at int) error { return p.check(t, dir, at) })
		})
	}
}

// recordServer records lives of a server, the first with a fault, if any, and
// what its clients were promised.
func recordServer(t *testing.T, lives int, fault string) (*powerloss.Recording, *pledge, error) {
	t.Helper()
	s := newServer(t)
	s.disk = powerloss.Scratch(t)
	logs := powerloss.Scratch(t)
	p := &pledge{}
	var all []string
	for life := range lives {
		all = append(all, filepath.Join(logs, fmt.Sprint(life)))
		s.prepare = func(cmd *exec.Cmd) {
			var faults []string
			if life == 0 && fault != "" {
				faults = append(faults, fault)
			}
			if err := powerloss.Record(cmd, all[life], faults...); err != nil {
				t.Fatal(err)
			}
		}
		s.start()
		p.work(s.client(), life)
		s.kill()
	}
	r, err := powerloss.Read(s.disk, all...)
	if err != nil {
		return nil, nil, err
	}
	return r, p, r.Check(func(path string) bool { return strings.HasSuffix(path, "-shm") })
}

// work lets clients work in a life of the server. Some of what they ask may be
// refused, where the disk fails.
func (p *pledge) work(c *client, life int) {
	if life == 0 {
		c.deploy()
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.objects(c, life) })
	for n := range 3 {
		wg.Go(func() { p.invocations(c, 3*life+n) })
	}
	wg.Wait()
}

const versions = 40

// objects puts, replaces and deletes objects, one after another.
func (p *pledge) objects(c *client, life int) {
	for v := versions * life; v < versions*(life+1); v++ {
		key := fmt.Sprintf("kept/%d", v%7)
		size := 100 + 997*v
		switch {
		case v%11 == 10:
			pr := promise{kind: "delete", key: key, version: v}
			out, err := c.s3.DeleteObject(c.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key})
			if err != nil {
				p.refused(pr)
				continue
			}
			p.add(out.ResultMetadata, pr)
			continue
		case v%8 == 7:
			size = 300_000
		}
		pr := promise{kind: "put", key: key, version: v, size: size}
		out, err := c.s3.PutObject(c.t.Context(), &s3.PutObjectInput{
			Bucket: aws.String(bucket), Key: &key, Body: bytes.NewReader(versionOf(key, v, size)),
		})
		if err != nil {
			p.refused(pr)
			continue
		}
		p.add(out.ResultMetadata, pr)
	}
}

// invocations invokes the endpoint, and looks at each second result.
func (p *pledge) invocations(c *client, client int) {
	for i := range 12 {
		id := fmt.Sprintf("invocation-%d-%d", client, i)
		in := &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: aws.String(endpoint), InferenceId: &id}
		if i%3 > 0 {
			in.Body = inputOf(id)
		} else {
			input := "in/" + id
			_, err := c.s3.PutObject(c.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &input, Body: bytes.NewReader(inputOf(id))})
			if err != nil {
				continue
			}
			in.InputLocation = aws.String("s3://" + bucket + "/" + input)
		}
		out, err := c.runtime.InvokeEndpointAsync(c.t.Context(), in)
		if err != nil {
			continue
		}
		result := key(*out.OutputLocation)
		p.add(out.ResultMetadata, promise{kind: "accept", key: result, id: id})
		if i%2 == 0 {
			continue
		}
		await(c.t, result, func() bool {
			got, err := c.s3.HeadObject(c.t.Context(), &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &result})
			if _, answered := errors.AsType[*awshttp.ResponseError](err); err != nil && !answered {
				return true // the server has ended
			}
			if err == nil {
				p.add(got.ResultMetadata, promise{kind: "result", key: result, id: id})
			}
			return err == nil
		})
	}
}

// inputOf is what an invocation sends, and the model gives back. Each third is
// so large that its result is uploaded in parts.
func inputOf(id string) []byte {
	if strings.HasSuffix(id, "0") || strings.HasSuffix(id, "3") || strings.HasSuffix(id, "9") {
		return versionOf(id, 0, 200_000)
	}
	return []byte(id)
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
			if got, err := c.read(pr.key); err != nil || !bytes.Equal(got, inputOf(pr.id)) {
				return fmt.Errorf("the result %s was seen, and has %d bytes, %v", pr.key, len(got), err)
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
		if got, err := c.read(key); err != nil || !bytes.Equal(got, inputOf(id)) {
			return fmt.Errorf("the result of %s has %d bytes, %v", id, len(got), err)
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
