package process

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

func TestNewRefuses(t *testing.T) {
	if _, err := New(Options{Dir: t.TempDir()}); err == nil {
		t.Error("New takes options without images, installation and logger")
	}
	if _, err := newPorts(PortRange{5, 4}); err == nil {
		t.Error("a range of ports that ends before it begins is taken")
	}
}

func TestStartRefuses(t *testing.T) {
	r := open(t, "serves", "", nil)
	for _, test := range []struct {
		name   string
		change func(*deferd.InstanceSpec)
	}{
		{"image not listed", func(s *deferd.InstanceSpec) { s.Image = "other:1" }},
		{"id is a path", func(s *deferd.InstanceSpec) { s.ID = "../a" }},
		{"endpoint is a path", func(s *deferd.InstanceSpec) { s.Endpoint = ".." }},
		{"variant is empty", func(s *deferd.InstanceSpec) { s.Variant = "" }},
		{"nothing fetches data", func(s *deferd.InstanceSpec) { s.Data.Location.Bucket = "b" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := specOf("a", "serves")
			test.change(&spec)
			if got, want := deferd.CodeOf(r.Start(t.Context(), spec)), deferd.Invalid; got != want {
				t.Errorf("code %v, want %v", got, want)
			}
		})
	}
}

func TestCannotBeRun(t *testing.T) {
	for _, test := range []struct {
		name  string
		image Image
		want  string
	}{
		{"no such program", Image{Command: []string{"/no/such/program"}}, "/no/such/program"},
		{"not in PATH", Image{Command: []string{"no-such-program"}}, "no-such-program"},
		{"no such directory", Image{Command: []string{"true"}, Dir: "/no/such/dir"}, "/no/such/dir"},
		{"not to be run", Image{Command: []string{"/dev/null"}}, "/dev/null"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := open(t, "x", "", func(o *Options) { o.Images.images["x"] = test.image })
			events := start(t, r, specOf("a", "x"))
			exit := await(t, events, deferd.PhaseGone).Exit
			if !exit.Permanent || !strings.Contains(exit.Message, test.want) {
				t.Errorf("exit %+v, want a permanent one that names %s", exit, test.want)
			}
		})
	}
}

func TestKilledModel(t *testing.T) {
	r := open(t, "killed", "", nil)
	exit := await(t, start(t, r, specOf("a", "killed")), deferd.PhaseGone).Exit
	if !strings.Contains(exit.Message, "perhaps out of memory") || exit.OutOfMemory || exit.Permanent {
		t.Errorf("exit %+v, want one that supposes an OOM kill", exit)
	}
}

func TestEnvironment(t *testing.T) {
	for _, name := range []string{"LANG", "TZ"} {
		t.Setenv(name, "C")
	}
	t.Setenv("PATH", "/usr/bin:/bin")
	t.Setenv("DEFERD_SECRET_KEY", "not for models")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not for models")

	file := filepath.Join(t.TempDir(), "environ")
	r := open(t, "environ", file, func(o *Options) {
		image := o.Images.images["environ"]
		image.Env = map[string]string{"A": "image", "B": "image", "C": "image", "LANG": "image", "SM_MODEL_DIR": "image"}
		o.Images.images["environ"] = image
		o.Ports = PortRange{28000, 28010}
	})
	spec := specOf("a", "environ")
	spec.PlatformEnv = map[string]string{"B": "platform", "C": "platform"}
	spec.Env = map[string]string{"C": "model", portVariable: "1", markVariable: "none"}
	await(t, start(t, r, spec), deferd.PhaseRunning)

	got := map[string]string{}
	for _, pair := range readJSON[[]string](t, file) {
		name, value, _ := strings.Cut(pair, "=")
		got[name] = value
	}
	base := filepath.Join(r.options.Dir, "instances", "a")
	want := map[string]string{
		"PATH": "/usr/bin:/bin", "LANG": "image", "TZ": "C",
		"A": "image", "B": "platform", "C": "model",
		"SM_MODEL_DIR": filepath.Join(base, "model"),
		"HOME":         filepath.Join(base, "home"),
		"TMPDIR":       got["TMPDIR"],
		portVariable:   got[portVariable],
		markVariable:   r.options.Install + "/a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if port := got[portVariable]; !strings.HasPrefix(port, "280") {
		t.Errorf("port %s, want one of the range", port)
	}
	if filepath.Dir(got["TMPDIR"]) != filepath.Join(r.options.Dir, "tmp") {
		t.Errorf("TMPDIR is %s, want one in the runtime's directory", got["TMPDIR"])
	}
}

func TestNothingStaysOnDisk(t *testing.T) {
	r := open(t, "stateful", "", nil)
	events := start(t, r, specOf("a", "stateful"))
	await(t, events, deferd.PhaseRunning)
	if err := r.Stop(t.Context(), "a", limit); err != nil {
		t.Fatal(err)
	}
	await(t, events, deferd.PhaseGone)
	for _, dir := range []string{r.instancesDir(), r.tmpDir()} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s still has %v, %v", dir, left, err)
		}
	}
}

func TestFetch(t *testing.T) {
	for _, test := range []struct {
		name      string
		err       error
		want      string // part of the message; "" for none: it runs
		permanent bool
	}{
		{name: "fetched"},
		{"missing", deferd.Errorf(deferd.NotFound, "s3://b/m is not there"), "s3://b/m is not there", true},
		{"evil", fmt.Errorf("unpack: %w", deferd.Errorf(deferd.Invalid, "evil entry")), "evil entry", true},
		{"refused", deferd.Errorf(deferd.Denied, "AccessDenied"), "AccessDenied", true},
		{"too large", deferd.Errorf(deferd.TooLarge, "over 9000"), "over 9000", true},
		{"may pass", deferd.Errorf(deferd.Unavailable, "SlowDown"), "SlowDown", false},
		{"own trouble", errors.New("secret details"), "s3://b/m", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := open(t, "model data", "weights", func(o *Options) {
				o.Fetch = func(_ context.Context, _ deferd.ModelData, dir string) error {
					return errors.Join(test.err, os.WriteFile(filepath.Join(dir, "weights"), nil, 0o600))
				}
			})
			spec := specOf("a", "model data")
			spec.Data.Location = deferd.Location{Bucket: "b", Key: "m"}
			events := start(t, r, spec)
			if test.want == "" {
				await(t, events, deferd.PhaseRunning)
				return
			}
			exit := await(t, events, deferd.PhaseGone).Exit
			if !strings.Contains(exit.Message, test.want) || exit.Permanent != test.permanent {
				t.Errorf("exit %+v, want %q, permanent %v", exit, test.want, test.permanent)
			}
			if strings.Contains(exit.Message, "secret") {
				t.Errorf("message %q tells what is for the log only", exit.Message)
			}
		})
	}
}

// hangingFetch returns when its context ends, and says when it was called.
func hangingFetch(called chan<- struct{}) func(context.Context, deferd.ModelData, string) error {
	return func(ctx context.Context, _ deferd.ModelData, _ string) error {
		close(called)
		<-ctx.Done()
		return deferd.Errorf(deferd.Invalid, "cut off")
	}
}

func TestFetchTimeout(t *testing.T) {
	r := open(t, "serves", "", func(o *Options) { o.Fetch = hangingFetch(make(chan struct{})) })
	spec := specOf("a", "serves")
	spec.Data.Location.Bucket = "b"
	spec.DownloadTimeout = 10 * time.Millisecond
	exit := await(t, start(t, r, spec), deferd.PhaseGone).Exit
	if !strings.Contains(exit.Message, "within 10ms") || exit.Permanent {
		t.Errorf("exit %+v, want one that names the time-out", exit)
	}
}

func TestStopWhileFetching(t *testing.T) {
	called := make(chan struct{})
	r := open(t, "serves", "", func(o *Options) { o.Fetch = hangingFetch(called) })
	spec := specOf("a", "serves")
	spec.Data.Location.Bucket = "b"
	events := start(t, r, spec)
	<-called
	if err := r.Stop(t.Context(), "a", limit); err != nil {
		t.Fatal(err)
	}
	if exit := await(t, events, deferd.PhaseGone).Exit; exit != (deferd.Exit{}) {
		t.Errorf("exit %+v, want none", exit)
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	r := open(t, "serves", "", func(o *Options) { o.Ports = PortRange{port, port} })
	exit := await(t, start(t, r, specOf("a", "serves")), deferd.PhaseGone).Exit
	if !strings.Contains(exit.Message, fmt.Sprint(port)) || exit.Permanent {
		t.Errorf("exit %+v, want one that names port %d and may pass", exit, port)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), specOf("b", "serves")); err != nil {
		t.Fatal(err)
	}
	events := r.Watch(t.Context())
	for e := range events {
		if e.ID == "b" && e.Phase == deferd.PhaseRunning {
			break
		}
	}
}

func TestFixedPort(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := free.Addr().(*net.TCPAddr).Port
	_ = free.Close()
	r := open(t, "serves", "", func(o *Options) {
		image := o.Images.images["serves"]
		image.Port = port
		o.Images.images["serves"] = image
	})
	events := start(t, r, specOf("a", "serves"))
	if got, want := await(t, events, deferd.PhaseRunning).Addr, fmt.Sprintf("http://127.0.0.1:%d", port); got != want {
		t.Errorf("address %s, want %s", got, want)
	}
	if err := r.Start(t.Context(), specOf("b", "serves")); err != nil {
		t.Fatal(err)
	}
	await(t, events, deferd.PhaseStarting)
	if e := await(t, events, deferd.PhaseGone); e.ID != "b" || !strings.Contains(e.Exit.Message, "one instance") {
		t.Errorf("the second instance: %+v", e)
	}
}

// Another program takes the port between our look and the model's bind, and
// even answers pings there.
func TestStolenPort(t *testing.T) {
	var asked atomic.Int32
	stolen := make(chan string, 1)
	judge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			return
		}
		address := net.JoinHostPort("127.0.0.1", r.FormValue("port"))
		thief, err := net.Listen("tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { _ = thief.Close() })
		go func() { _ = http.Serve(thief, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})) }()
		stolen <- "http://" + address
	}))
	defer judge.Close()
	r := open(t, "asks", judge.URL, nil)
	e := await(t, start(t, r, specOf("a", "asks")), deferd.PhaseRunning)
	if thief := <-stolen; e.Addr == thief {
		t.Errorf("the instance is said to be at %s, where another program listens", e.Addr)
	}
	if got, want := asked.Load(), int32(2); got != want {
		t.Errorf("the model was started %d times, want %d", got, want)
	}
}

func TestLogsOutliveInstance(t *testing.T) {
	r := open(t, "crashes", "", nil)
	await(t, start(t, r, specOf("a", "crashes")), deferd.PhaseGone)
	path := filepath.Join(r.options.Dir, "logs", "an-endpoint", "AllTraffic-a.log")
	now := time.Now()

	r.prune(t.Context(), now.Add(2*remembered))
	if got := slices.Collect(maps.Keys(r.instances)); len(got) != 0 {
		t.Errorf("instances %v are remembered for ever", got)
	}
	logs, err := r.Logs(t.Context(), "a", 10)
	if err != nil {
		t.Fatalf("logs of a forgotten instance: %v", err)
	}
	_ = logs.Close()

	r.prune(t.Context(), now.Add(2*logsKept))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is kept for ever: %v", path, err)
	}
	if _, err := r.Logs(t.Context(), "a", 10); deferd.CodeOf(err) != deferd.NotFound {
		t.Errorf("logs that were removed: %v, want NotFound", err)
	}
}

func TestLogsOfLiveInstanceStay(t *testing.T) {
	r := open(t, "serves", "", nil)
	await(t, start(t, r, specOf("a", "serves")), deferd.PhaseRunning)
	r.prune(t.Context(), time.Now().Add(2*logsKept))
	logs, err := r.Logs(t.Context(), "a", 10)
	if err != nil {
		t.Fatal(err)
	}
	_ = logs.Close()
}
