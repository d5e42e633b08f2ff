package conformance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// TestDiskFull lets a server's disk fill up: what cannot be kept is refused
// with 503, what was accepted stays, everything else goes on, and so do
// accepts once there is room again.
func TestDiskFull(t *testing.T) {
	s := newServer(t)
	mountSmallDisk(t, s.data())
	filler := filepath.Join(s.data(), "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	c := s.client()
	c.deploy()
	before := c.upload("in/before", "text/plain", []byte("still here"))

	// Nothing ends while the disk fills.
	n := 0
	var refusal error
	body := bytes.Repeat([]byte("x"), 120_000)
	for ; n < 1000 && refusal == nil; n++ {
		_, refusal = c.runtime.InvokeEndpointAsync(t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
			EndpointName: aws.String(endpoint), Body: body, CustomAttributes: aws.String("delay=1h"),
		}, once)
	}
	accepted := n - 1
	if refusal == nil {
		t.Fatal("the disk did not fill up")
	}
	wantStatus(t, "an accept on a full disk", refusal, 503)
	_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("in/more"), Body: bytes.NewReader(body)},
		func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
	wantStatus(t, "a PUT on a full disk", err, 503)
	if c.exists("s3://" + bucket + "/in/more") {
		t.Error("the refused object is there")
	}
	if o, ok := c.get(before); !ok || string(o.data) != "still here" {
		t.Errorf("the earlier object reads as %q", o.data)
	}
	s.wantKnown(accepted)

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: body, CustomAttributes: aws.String("delay=1h")})
	c.upload("in/more", "text/plain", body)
	s.wantKnown(accepted + 1)

	s.kill()
	s.start()
	s.wantKnown(accepted + 1)
	t.Logf("%d invocations fitted, the next was refused: %v", accepted, refusal)
}

// once keeps the SDK from asking again.
func once(o *sagemakerruntime.Options) { o.Retryer = aws.NopRetryer{} }

func wantStatus(t *testing.T, what string, err error, want int) {
	t.Helper()
	r, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || r.HTTPStatusCode() != want {
		t.Errorf("%s: %v, want status %d", what, err, want)
	}
}

// wantKnown checks how many invocations the server knows, all of them queued or
// running.
func (s *server) wantKnown(n int) {
	s.t.Helper()
	states := s.states()
	if got := states["Queued"] + states["Running"]; got != n || len(states) > 2 {
		s.t.Errorf("the server knows of %v, want %d queued or running", states, n)
	}
}

// mountSmallDisk makes dir a file system of 24 MB, which takes root.
func mountSmallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "deferd-test", dir).CombinedOutput()
	if err != nil {
		if slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), "mount") {
			t.Fatalf("a small file system is required: %v: %s", err, out)
		}
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v: %s", err, out)
		}
	})
}
