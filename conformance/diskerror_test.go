package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/deferd/deferd/internal/powerloss"
)

// What clients do while a disk fails.
const (
	accept   = "accept"
	putSmall = "put a small object"
	putLarge = "put a large object"
	get      = "get an object"
)

// What becomes of a server when its disk is well again.
const (
	mends = "goes on"
	ends  = "has ended by itself"
	sick  = "goes on, or has ended by itself" // SQLite may take a file that could not be read for a broken one until it is opened again
)

// TestDiskErrors lets a disk fail under a running server, as its system calls
// see it, and mends it: what cannot be done is refused with 503, or the server
// ends, which it does where its queue's syncs fail; what was promised before,
// meanwhile and afterwards is there.
func TestDiskErrors(t *testing.T) {
	powerloss.Need(t)
	queue, segments := []string{"deferd.db", "deferd.db-wal"}, []string{}
	for n := range 9 {
		segments = append(segments, fmt.Sprintf("objects/segments/%010d.log", n+1))
	}
	tests := []struct {
		name    string
		files   []string // of the data directory, whose calls fail; nil: all
		fault   string   // as strace injects it
		refused []string // what is refused meanwhile
		done    []string // what works all the same
		after   string   // what becomes of the server
	}{
		{"the queue cannot be written", queue, "pwrite64:error=EIO", []string{accept}, []string{putSmall, putLarge, get}, mends},
		{"the queue has no room", queue, "pwrite64:error=ENOSPC", []string{accept}, []string{putSmall, putLarge, get}, mends},
		{"the queue cannot be synced", queue, "fsync,fdatasync:error=EIO", []string{accept}, nil, ends},
		{"the queue cannot be read", queue, "pread64:error=EIO", nil, []string{putSmall, putLarge, get}, mends},
		{"the objects' log cannot be written", segments, "pwrite64:error=EIO", []string{putSmall, putLarge}, []string{accept, get}, mends},
		{"the objects' log has no room", segments, "pwrite64:error=ENOSPC", []string{putSmall, putLarge}, []string{accept, get}, mends},
		{"the objects' log cannot be synced", segments, "fdatasync,fsync:error=EIO", []string{putSmall, putLarge}, []string{accept, get}, mends},
		{"nothing can be written", nil, "pwrite64:error=EIO", []string{accept, putSmall, putLarge}, []string{get}, mends},
		{"there is no room at all", nil, "pwrite64:error=ENOSPC", []string{accept, putSmall, putLarge}, []string{get}, mends},
		{"each third write of a thread fails", nil, "pwrite64:error=EIO:when=3+3", nil, []string{get}, mends},
		{"nothing can be synced", nil, "fsync,fdatasync:error=EIO", []string{accept}, nil, ends},
		{"nothing can be read", nil, "pread64:error=EIO", []string{get}, nil, sick},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDiskFailure(t)
			d.work(5)
			d.wantDone(accept, putSmall, putLarge, get)

			mend := d.s.fail(test.files, test.fault)
			d.done, d.refused, d.unread = map[string]int{}, map[string]int{}, test.after == sick
			d.reads = !strings.HasPrefix(test.fault, "pread")
			d.work(20)
			t.Logf("done %v, refused %v", d.done, d.refused)
			for _, what := range test.refused {
				if d.refused[what] == 0 {
					t.Errorf("never refused to %s", what)
				}
			}
			d.wantDone(test.done...)
			if test.after == ends {
				await(t, "the server's end", d.s.hasEnded)
			} else if test.after != sick && d.s.hasEnded() {
				t.Fatal("the server has ended")
			}
			mend()
			d.reads = true
			if test.after != ends {
				await(t, "an accept and a PUT on the mended disk", func() bool {
					if test.after == sick && d.s.hasEnded() {
						return true
					}
					d.done = map[string]int{}
					d.work(1)
					return d.done[accept] > 0 && d.done[putSmall] > 0 && d.done[putLarge] > 0
				})
				if !d.s.hasEnded() {
					d.check()
				}
			}
			d.s.kill()
			d.s.start()
			d.connect()
			d.check()
		})
	}
}

// A diskFailure is a server whose disk fails, with what its clients did.
type diskFailure struct {
	t *testing.T
	s *server
	c *client

	done, refused map[string]int                                         // how often what was
	objects       map[string][]byte                                      // by key: what was promised to be there
	accepted      map[string]*sagemakerruntime.InvokeEndpointAsyncOutput // by inference ID
	n             int                                                    // of what was asked for
	reads         bool                                                   // whether the disk can be read
	unread        bool                                                   // whether nothing could be read for a time
}

func newDiskFailure(t *testing.T) *diskFailure {
	t.Helper()
	d := &diskFailure{
		t: t, s: startServer(t), reads: true, done: map[string]int{}, refused: map[string]int{},
		objects: map[string][]byte{}, accepted: map[string]*sagemakerruntime.InvokeEndpointAsyncOutput{},
	}
	t.Cleanup(func() {
		if !d.s.hasEnded() {
			d.s.stop() // with its models, also the one that just starts: it writes where the test's files are removed
		}
	})
	d.connect()
	d.c.deploy()
	return d
}

// connect makes a client whose S3 asks once, as its work does.
func (d *diskFailure) connect() {
	d.t.Helper()
	d.c = d.s.client()
	d.c.s3 = s3.New(d.c.s3.Options(), func(o *s3.Options) { o.Retryer = aws.NopRetryer{} })
}

// work lets a client do n times everything that it can do, each time once.
func (d *diskFailure) work(n int) {
	d.t.Helper()
	for range n {
		d.n++
		if d.s.hasEnded() {
			return
		}
		id := fmt.Sprintf("invocation-%d", d.n)
		out, err := d.c.runtime.InvokeEndpointAsync(d.t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
			EndpointName: aws.String(endpoint), InferenceId: &id, Body: []byte(id),
		}, once)
		if d.note(accept, err) {
			d.accepted[id] = out
		}
		for what, size := range map[string]int{putSmall: 1000, putLarge: 300_000} {
			k := fmt.Sprintf("kept/%d-%d", d.n, size)
			data := versionOf(k, d.n, size)
			_, err := d.c.s3.PutObject(d.t.Context(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: &k, Body: bytes.NewReader(data)})
			if d.note(what, err) {
				d.objects[k] = data
			}
		}
		for k, want := range d.objects { // any one
			got, err := d.c.read(k)
			if d.note(get, err) && !bytes.Equal(got, want) {
				d.t.Errorf("%s has %d bytes, %.30q, want %d", k, len(got), got, len(want))
			}
			break
		}
	}
}

// note counts what was done or refused. It may be refused with 503 only, or
// not answered by a server that ends; what cannot be read, with 500, too.
func (d *diskFailure) note(what string, err error) bool {
	d.t.Helper()
	if err == nil {
		d.done[what]++
		return true
	}
	d.refused[what]++
	r, answered := errors.AsType[*awshttp.ResponseError](err)
	if answered && r.HTTPStatusCode() != 503 && (d.reads || r.HTTPStatusCode() != 500) {
		d.t.Errorf("%s: %v, want status 503", what, err)
	}
	return false
}

func (d *diskFailure) wantDone(whats ...string) {
	d.t.Helper()
	for _, what := range whats {
		if d.refused[what] > 0 || d.done[what] == 0 {
			d.t.Errorf("%s: done %d times, refused %d times, want it always done", what, d.done[what], d.refused[what])
		}
	}
}

// check looks for everything that was promised.
func (d *diskFailure) check() {
	d.t.Helper()
	for k, want := range d.objects {
		if got, err := d.c.read(k); err != nil || !bytes.Equal(got, want) {
			d.t.Errorf("%s has %d bytes, %v, want %d", k, len(got), err, len(want))
		}
	}
	if d.unread {
		// What could not be read when it was to run is tried again a minute later.
		known := 0
		for _, n := range d.s.states() {
			known += n
		}
		if known < len(d.accepted) {
			d.t.Errorf("the server knows %d invocations, want the %d that it has accepted", known, len(d.accepted))
		}
		return
	}
	for id, out := range d.accepted {
		if got := d.c.awaitObject(*out.OutputLocation); string(got.data) != id {
			d.t.Errorf("the output of %s is %q", id, got.data)
		}
	}
	if failed := d.c.list("failed/"); len(failed) > 0 {
		d.t.Errorf("there are %d failure objects, want none", len(failed))
	}
}

// fail lets system calls of the running server fail, as strace injects it, on
// files of its data directory, or on all files, and returns what mends them.
func (s *server) fail(files []string, fault string) (mend func()) {
	s.t.Helper()
	pid := s.cmd.Process.Pid
	calls, _, _ := strings.Cut(fault, ":")
	args := []string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + calls, "-e", "signal=none", "-e", "inject=" + fault, "-p", fmt.Sprint(pid)}
	for _, f := range files {
		args = append(args, "-P", filepath.Join(s.data(), f))
	}
	tracer := exec.Command("strace", args...)
	var said bytes.Buffer
	tracer.Stdout, tracer.Stderr = &said, &said
	if err := tracer.Start(); err != nil {
		s.t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		tracer.Wait()
		close(gone)
	}()
	mend = func() {
		tracer.Process.Signal(syscall.SIGTERM)
		<-gone
	}
	s.t.Cleanup(mend)
	await(s.t, "strace to have the server", func() bool {
		select {
		case <-gone:
			s.t.Fatalf("strace does not get the server: %s", &said)
		default:
		}
		return s.traced(pid, tracer.Process.Pid)
	})
	return mend
}

// traced reports whether a process traces all threads of another one.
func (s *server) traced(pid, tracer int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err == nil && !slices.Contains(strings.Split(string(status), "\n"), fmt.Sprintf("TracerPid:\t%d", tracer)) {
			return false
		}
	}
	return len(tasks) > 0
}

// hasEnded reports whether the server has ended by itself, which it does with
// exit status 1.
func (s *server) hasEnded() bool {
	if s.cmd == nil {
		return true
	}
	select {
	case err := <-s.gone:
		s.cmd = nil
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			s.t.Errorf("the server has ended: %v, want exit status 1", err)
		}
		return true
	case <-time.After(0):
		return false
	}
}
