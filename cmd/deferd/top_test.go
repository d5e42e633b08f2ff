package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// busyView is a server with a bit of everything.
func busyView() topView {
	rest := endpointReport{Name: "at-rest", Status: "InService", Instances: 0, Desired: 0, activity: activity{
		Backlog: new(0), InFlight: new(0), Oldest: new(0.0), Accepted: new(0.0), Completed: new(0.0), Failed: new(0.0),
	}}
	working := endpointReport{Name: "a-model-with-a-name-that-is-longer-than-most", Status: "Updating", Instances: 2, Desired: 8, activity: activity{
		Backlog: new(1234), InFlight: new(100), Oldest: new(192.4), Accepted: new(1520.0), Completed: new(412.3), Failed: new(4.5),
		Failures: map[string]float64{"4xx": 3, "expired": 1.5}, P50: new(0.0024), P99: new(12.4), about: true,
	}}
	aws := endpointReport{Name: "elsewhere", Status: "InService", Instances: 1, Desired: 1, activity: activity{Backlog: new(7), Oldest: new(3.0), about: true}}
	unknown := endpointReport{Name: "unknown", Status: "Creating", Desired: 1}
	return topView{
		where: "http://127.0.0.1:8780", at: time.Date(2026, 11, 24, 15, 4, 5, 0, time.Local),
		endpoints: []endpointReport{rest, unknown, aws, working},
	}
}

// TestTopView draws the same view for terminals of several sizes.
func TestTopView(t *testing.T) {
	for _, test := range []struct {
		name          string
		width, height int
		problem       string
	}{
		{"80", 80, 24, ""},
		{"120", 120, 24, ""},
		{"file", 0, 0, ""},
		{"low", 80, 5, ""},
		{"problem", 120, 24, "no server answers at http://127.0.0.1:8780: is `deferd serve`\x1b[2J running?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := busyView()
			v.problem = test.problem
			lines := v.draw(test.width, test.height)
			for _, line := range lines {
				if n := len([]rune(line)); test.width > 0 && n > test.width {
					t.Errorf("%d columns: %q", n, line)
				}
			}
			if test.height > 0 && len(lines) > test.height {
				t.Errorf("%d lines on a terminal of %d", len(lines), test.height)
			}
			checkGolden(t, "top-"+test.name+".txt", strings.Join(lines, "\n")+"\n")
		})
	}
}

func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// Of any size, even none, nothing is drawn outside.
func TestTopViewFits(t *testing.T) {
	v := busyView()
	for width := 1; width < 140; width++ {
		for height := 1; height < 10; height++ {
			lines := v.draw(width, height)
			if len(lines) > height {
				t.Fatalf("%d lines at %dx%d", len(lines), width, height)
			}
			for _, line := range lines {
				if n := len([]rune(line)); n > width {
					t.Fatalf("%d columns at %dx%d: %q", n, width, height, line)
				}
			}
		}
	}
}

// A screen keeps what is drawn until somebody looks.
type screen struct {
	mu    sync.Mutex // guards drawn
	drawn bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drawn.Write(b)
}

// take returns what was drawn since the last look.
func (s *screen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.drawn.Reset()
	return s.drawn.String()
}

// A person watches: what is drawn, and when it was looked for.
type person struct {
	t     *testing.T
	begun time.Time
	looks []time.Duration
	out   screen
	fail  func(look int) error
	top   *top
	keys  chan byte
	size  chan os.Signal
	width int
}

func watch(t *testing.T) *person {
	p := &person{t: t, begun: time.Now(), keys: make(chan byte), size: make(chan os.Signal), width: 80}
	p.top = &top{
		out: &p.out, where: "http://server:1", interval: time.Second, keys: p.keys, resized: p.size,
		size: func() (int, int) { return p.width, 10 },
		look: func(context.Context) ([]endpointReport, error) {
			p.looks = append(p.looks, time.Since(p.begun))
			if p.fail != nil {
				if err := p.fail(len(p.looks)); err != nil {
					return nil, err
				}
			}
			return []endpointReport{{Name: fmt.Sprintf("look-%d", len(p.looks))}}, nil
		},
	}
	return p
}

// start runs it; ended gets what comes of it.
func (p *person) start(ctx context.Context) (ended chan error) {
	ended = make(chan error, 1)
	go func() { ended <- p.top.run(ctx) }()
	synctest.Wait()
	return ended
}

func (p *person) sees(text string) {
	p.t.Helper()
	if got := p.out.take(); !strings.Contains(got, text) {
		p.t.Errorf("%q is not in %q", text, got)
	}
}

func TestTopRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watch(t)
		ended := p.start(t.Context())
		p.sees("look-1")
		time.Sleep(time.Second)
		synctest.Wait()
		p.sees("look-2")
		p.width = 20
		p.size <- os.Interrupt // any signal is news of the size
		synctest.Wait()
		p.sees("ENDPOINT  INST")
		time.Sleep(2 * time.Second)
		p.keys <- 'x' // means nothing
		synctest.Wait()
		p.keys <- 'q'
		if err := <-ended; err != nil {
			t.Errorf("q: %v", err)
		}
		want := []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second}
		if diff := cmp.Diff(want, p.looks); diff != "" {
			t.Errorf("looks (-want +got):\n%s", diff)
		}
	})
}

func TestTopIsInterrupted(t *testing.T) {
	for _, way := range []string{"key", "signal"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := watch(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := p.start(ctx)
				if way == "key" {
					p.keys <- 3
				} else {
					cancel()
				}
				if err := <-ended; exitCode(err) != exitInterrupted || explain(err) != "" {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// A look that hangs does not keep anybody from leaving.
func TestTopLeavesALookThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := watch(t)
		p.top.look = func(ctx context.Context) ([]endpointReport, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		ended := p.start(t.Context())
		p.keys <- 'q'
		if err := <-ended; err != nil {
			t.Errorf("q: %v", err)
		}
	})
}

// A server that is away for a while is waited for; one that was never there, or
// stays away, is not.
func TestTopBears(t *testing.T) {
	away := &url.Error{Op: "Post", URL: "http://server:1/", Err: errors.New("reset")}
	synctest.Test(t, func(t *testing.T) {
		p := watch(t)
		p.fail = func(look int) error {
			if look == 2 || look > 3 {
				return away
			}
			return nil
		}
		ended := p.start(t.Context())
		p.out.take()
		time.Sleep(time.Second)
		synctest.Wait()
		p.sees("no answer from http://server:1: reset")
		time.Sleep(time.Second)
		synctest.Wait()
		if got := p.out.take(); strings.Contains(got, "no answer") || !strings.Contains(got, "look-3") {
			t.Errorf("when the server is back: %q", got)
		}
		if err := <-ended; exitCode(err) != exitUnavailable {
			t.Errorf("got %v", err)
		}
		if got, want := time.Since(p.begun), 3*time.Second+tolerated; got != want {
			t.Errorf("it gave up after %v, want %v", got, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		p := watch(t)
		p.fail = func(int) error { return away }
		if err := <-p.start(t.Context()); exitCode(err) != exitUnavailable || len(p.looks) != 1 {
			t.Errorf("a server that was never there: %v after %d looks", err, len(p.looks))
		}
	})
}

// All endpoints with work are looked at each time, and the others in turn.
func TestTopLooksInTurn(t *testing.T) {
	w := &topWatch{known: map[string]*watched{}}
	var list []endpointSummary
	for i := range 50 {
		name := fmt.Sprintf("e%02d", i)
		list = append(list, endpointSummary{EndpointName: name, EndpointStatus: "InService"})
	}
	if got := len(w.due(list)); got != 50 {
		t.Errorf("at first %d are looked at, want all", got)
	}
	for _, e := range list {
		w.known[e.EndpointName] = &watched{report: endpointReport{Name: e.EndpointName, Status: "InService"}}
	}
	w.known["e49"].report.Backlog = new(1)
	list[48].LastModifiedTime = 1
	list[47].EndpointStatus = "Failed"
	seen := map[string]int{}
	for turn := range 3 {
		due := w.due(list)
		if got, want := len(due), 3+restingLooks; got != want {
			t.Fatalf("turn %d: %d are looked at, want %d", turn, got, want)
		}
		for _, e := range due {
			seen[e.EndpointName]++
			w.known[e.EndpointName].turn = turn + 1
		}
	}
	for _, e := range list {
		if got := seen[e.EndpointName]; got < 1 || e.EndpointName > "e46" && got != 3 {
			t.Errorf("%s was looked at %d times of 3", e.EndpointName, got)
		}
	}
}
