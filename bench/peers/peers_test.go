package peers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/deferd/deferd/bench/peers/internal/peer"
)

const (
	bucket = "sagemaker-us-east-1-000000000000" // deferd makes it at its start

	// limit bounds whatever is waited for.
	limit = 60 * time.Second
)

// TestPeers sends an invocation of each form through each peer, with a real
// store, over deferd's S3.
func TestPeers(t *testing.T) {
	bin := t.TempDir()
	build(t, "../..", bin, "./cmd/deferd")
	build(t, ".", bin, "./asynq", "./riverpg", "./riversqlite")
	objects, url := startS3(t, bin)
	const input = "s3://" + bucket + "/in/large"
	large := strings.Repeat("0123456789abcdef", 4096)
	put(t, objects, "in/large", large)
	model := startModel(t)

	for _, test := range []struct {
		name, program string
		args          []string
		needs         string // a pattern of files, one of which must be there
		durability    string
	}{
		{"asynq", "asynq", nil, "/usr/bin/redis-server", "appendonly=yes appendfsync=always no-appendfsync-on-rewrite=no"},
		{"riverpg", "riverpg", nil, "/usr/lib/postgresql/*/bin/postgres", "fsync=on synchronous_commit=on full_page_writes=on"},
		{"riverpg in groups", "riverpg", []string{"--group"}, "/usr/lib/postgresql/*/bin/postgres", "fsync=on synchronous_commit=on full_page_writes=on"},
		{"riversqlite", "riversqlite", nil, "", "journal_mode=wal synchronous=2 (FULL)"},
		{"riversqlite in groups", "riversqlite", []string{"--group"}, "", "journal_mode=wal synchronous=2 (FULL)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if found, _ := filepath.Glob(test.needs); test.needs != "" && len(found) == 0 {
				if slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), "peers") {
					t.Fatalf("peers are required, and there is no %s", test.needs)
				}
				t.Skipf("there is no %s", test.needs)
			}
			args := append([]string{"serve", "--dir", filepath.Join(t.TempDir(), "peer"), "--model", model, "--s3", url, "--workers=false"}, test.args...)
			p := start(t, filepath.Join(bin, test.program), args...)
			if got, want := p.said[0], test.program+": durability: "+test.durability; got != want {
				t.Errorf("it said %q, want %q", got, want)
			}
			inline := p.invoke(t, "", "small")
			byS3 := p.invoke(t, input, "")
			if got := p.stats(t); got.Accepted != 2 || got.Completed != 0 || got.Workers != 0 {
				t.Errorf("without workers: %+v, want 2 accepted, 0 completed, 0 workers", got)
			}
			p.setWorkers(t, 20)
			p.await(t, 2)
			for key, want := range map[string]string{inline: "model: small", byS3: "model: " + large} {
				if got := get(t, objects, key); got != want {
					t.Errorf("output %s has %d bytes %.40q, want %d bytes %.40q", key, len(got), got, len(want), want)
				}
			}
			p.setWorkers(t, 0)
			waiting := p.invoke(t, "", "third")
			if got, want := p.stats(t).Completed, int64(2); got != want {
				t.Errorf("after the workers ended, %d are completed, want %d", got, want)
			}
			p.setWorkers(t, 1)
			p.await(t, 3)
			if got, want := get(t, objects, waiting), "model: third"; got != want {
				t.Errorf("output is %q, want %q", got, want)
			}
			p.stop(t)
		})
	}
}

func build(t *testing.T, dir, to string, packages ...string) {
	t.Helper()
	cmd := exec.Command("go", append([]string{"build", "-buildvcs=false", "-o", to + "/"}, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %v: %v\n%s", packages, err, said)
	}
}

// startModel starts a model that answers with its input, and says so.
func startModel(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /invocations", func(w http.ResponseWriter, r *http.Request) {
		input, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprintf(w, "model: %s", input)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

// startS3 starts a deferd for its S3, and leaves the keys in the environment.
func startS3(t *testing.T, bin string) (*s3.Client, string) {
	data := filepath.Join(t.TempDir(), "deferd")
	program := filepath.Join(bin, "deferd")
	p := start(t, program, "serve", "--data", data, "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0")
	said, err := exec.Command(program, "env", "--data", data).Output()
	if err != nil {
		t.Fatalf("read the keys: %v", err)
	}
	for line := range strings.Lines(string(said)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		t.Setenv(name, strings.Trim(value, `'"`))
	}
	return s3.New(s3.Options{
		BaseEndpoint: &p.url, UsePathStyle: true, Region: os.Getenv("AWS_REGION"),
		Credentials: credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	}), p.url
}

func put(t *testing.T, objects *s3.Client, key, content string) {
	t.Helper()
	_, err := objects.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(content)})
	if err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func get(t *testing.T, objects *s3.Client, key string) string {
	t.Helper()
	o, err := objects.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	defer o.Body.Close()
	b, err := io.ReadAll(o.Body)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	return string(b)
}

// A program is a server under test, or one that it needs.
type program struct {
	cmd  *exec.Cmd
	url  string
	said []string // until it listened
	gone chan error
}

var listening = regexp.MustCompile(`listening on (http://[^ ]+)`)

// start starts a program, and waits until it says where it listens.
func start(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: cmd, gone: make(chan error, 1)}
	ready := make(chan struct{})
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() && p.url == "" {
			p.said = append(p.said, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				p.url = m[1]
				close(ready)
			}
		}
		p.gone <- cmd.Wait()
	}()
	t.Cleanup(func() {
		if cmd.ProcessState != nil {
			return
		}
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.gone:
		case <-time.After(limit):
			cmd.Process.Kill()
			<-p.gone
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", name, &log)
		}
	})
	select {
	case <-ready:
	case err := <-p.gone:
		p.gone <- err
		t.Fatalf("%s ended before it was ready: %v\n%s", name, err, &log)
	case <-time.After(limit):
		t.Fatalf("%s was not ready after %v", name, limit)
	}
	return p
}

// invoke sends an invocation, and returns the key of its output.
func (p *program) invoke(t *testing.T, input, body string) string {
	t.Helper()
	resp, answer := p.call(t, http.MethodPost, "/endpoints/bench/async-invocations", body, http.Header{"X-Amzn-Sagemaker-Inputlocation": {input}})
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("invoke: %s: %s", resp.Status, answer)
	}
	var accepted struct{ InferenceId string }
	if err := json.Unmarshal(answer, &accepted); err != nil || accepted.InferenceId == "" {
		t.Fatalf("invoke answered %s (%v), want an InferenceId", answer, err)
	}
	key := "out/" + accepted.InferenceId + ".out"
	if got, want := resp.Header.Get("X-Amzn-SageMaker-OutputLocation"), "s3://"+bucket+"/"+key; got != want {
		t.Errorf("output location is %q, want %q", got, want)
	}
	return key
}

func (p *program) setWorkers(t *testing.T, n int) {
	t.Helper()
	if resp, answer := p.call(t, http.MethodPost, fmt.Sprintf("/workers?n=%d", n), "", nil); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("set workers: %s: %s", resp.Status, answer)
	}
}

func (p *program) stats(t *testing.T) (s peer.Stats) {
	t.Helper()
	resp, answer := p.call(t, http.MethodGet, "/stats", "", nil)
	if err := json.Unmarshal(answer, &s); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("stats: %s: %s (%v)", resp.Status, answer, err)
	}
	return s
}

// await waits until n are completed.
func (p *program) await(t *testing.T, n int64) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		s := p.stats(t)
		if s.Completed == n && s.Failed == 0 {
			return
		}
		if s.Completed > n || s.Failed > 0 || time.Now().After(deadline) {
			t.Fatalf("stats are %+v, want %d completed and none failed", s, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *program) call(t *testing.T, method, path, body string, h http.Header) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, h)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, answer
}

// stop ends the program, and checks that what it started is gone too.
func (p *program) stop(t *testing.T) {
	t.Helper()
	started := p.stats(t).Processes
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-p.gone:
		if err != nil {
			t.Errorf("it ended with %v, want status 0", err)
		}
	case <-time.After(limit):
		t.Fatalf("it did not end within %v", limit)
	}
	for _, id := range started {
		if err := syscall.Kill(id, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there (%v)", id, err)
		}
	}
}
