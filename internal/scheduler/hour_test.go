package scheduler

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

var update = flag.Bool("update", false, "write the hour into docs/scaling.md and docs/scaling-hour.svg")

// An hour is what a scripted hour, and some more, was like.
type hour struct {
	looks []moment
	came  []time.Duration // when requests came
	notes []note
}

// A moment is the endpoint at a time.
type moment struct {
	at             time.Duration
	backlog        int64
	desired, ready int
}

// A note is what somebody did from outside.
type note struct {
	at   time.Duration
	text string
}

const (
	hourLength  = 80 * time.Minute
	hourLook    = 30 * time.Second
	modelStart  = 17300 * time.Millisecond // never at the time of anything else
	modelAsks   = 5 * time.Second
	modelWorks  = 20 * time.Second
	modelSlots  = 4
	hourHighest = 8
)

// TestHour runs a scripted hour against the scheduler itself, on a clock of its
// own, with models that take their time. What comes of it stands in the
// documentation; -update writes it there.
func TestHour(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, x *fixture) {
		x.store.OnWork(x.HasWork)
		x.serving(t, 0)
		p := track(5)
		p.Tracking.OutCooldown, p.Tracking.InCooldown = time.Minute, time.Minute
		x.register(t, 0, hourHighest, p)
		x.runtime.mu.Lock()
		x.runtime.onAgent = func(a *fakeAgent) { go x.work(t, a, a.drained) }
		x.runtime.mu.Unlock()

		h := x.live(t, script())
		checkHour(t, h)
		x.publishHour(t, h)
		x.stop()
	})
}

// script is what happens in the hour, and when.
func script() map[time.Duration]func(*testing.T, *fixture, *hour) {
	s := map[time.Duration]func(*testing.T, *fixture, *hour){}
	requests := func(at time.Duration, n int) {
		s[at] = func(t *testing.T, x *fixture, h *hour) {
			for range n {
				h.came = append(h.came, at)
				x.acceptMany(t, len(h.came), 1) // and what comes of it, before the next
			}
		}
	}
	model := func(at time.Duration, text string, err error) {
		s[at] = func(_ *testing.T, x *fixture, h *hour) {
			h.notes = append(h.notes, note{at, text})
			x.runtime.mu.Lock()
			defer x.runtime.mu.Unlock()
			x.runtime.onStart = nil
			if err != nil {
				x.runtime.onStart = func(deferd.InstanceSpec) error { return err }
			}
		}
	}
	requests(5*time.Minute, 1)
	for at := 8*time.Minute + 500*time.Millisecond; at < 20*time.Minute; at += 6 * time.Second {
		requests(at, 1)
	}
	requests(20*time.Minute+30700*time.Millisecond, 200)
	model(45*time.Minute, "the model's image is deleted", deferd.Errorf(deferd.Invalid, "there is no image shout:1"))
	requests(46*time.Minute+700*time.Millisecond, 3)
	model(52*time.Minute, "the image is back", nil)
	for at := 55*time.Minute + 500*time.Millisecond; at < 60*time.Minute; at += 12 * time.Second {
		requests(at, 1)
	}
	return s
}

// live lets the hour pass, and looks at it now and then.
func (x *fixture) live(t *testing.T, script map[time.Duration]func(*testing.T, *fixture, *hour)) *hour {
	t.Helper()
	h := &hour{}
	started := time.Now()
	for at := 600 * time.Millisecond; at < hourLength; at += hourLook {
		script[at] = func(t *testing.T, x *fixture, h *hour) {
			counts, err := x.store.Counts(t.Context(), "e")
			must(t, err)
			h.looks = append(h.looks, moment{at, counts.Queued + counts.Running, x.desired(t), x.Instances("e", 0)["v"].Ready})
		}
	}
	times := make([]time.Duration, 0, len(script))
	for at := range script {
		times = append(times, at)
	}
	slices.Sort(times)
	for _, at := range times {
		time.Sleep(time.Until(started.Add(at)))
		synctest.Wait()
		script[at](t, x, h)
	}
	return h
}

// work is a model: it is ready after a while, and answers what it claims.
func (x *fixture) work(t *testing.T, a *fakeAgent, drained <-chan struct{}) {
	time.Sleep(modelStart)
	session, err := x.store.OpenSession(t.Context(), a.Session)
	if err != nil {
		t.Error(err)
		return
	}
	a.Ready()
	for confirmed := int64(0); ; time.Sleep(modelAsks) {
		select {
		case <-a.ended:
			return
		case <-drained:
			return
		default:
		}
		claim, err := x.store.Claim(t.Context(), session, confirmed, modelSlots-int(a.running.Load()))
		if err != nil {
			t.Error(err)
			return
		}
		confirmed = claim.Number
		for _, l := range claim.Leases {
			a.running.Add(1)
			go x.answer(t, a, l)
		}
	}
}

func (x *fixture) answer(t *testing.T, a *fakeAgent, l deferd.Lease) {
	time.Sleep(modelWorks)
	if err := x.store.Settle(t.Context(), deferd.Settlement{Lease: l.ID, Outcome: deferd.End(deferd.ModelOK, "")}); err != nil {
		t.Errorf("an instance was stopped with work on it: %v", err)
	}
	a.running.Add(-1)
	select {
	case a.work <- struct{}{}:
	default:
	}
}

// checkHour holds the hour to what scaling promises.
func checkHour(t *testing.T, h *hour) {
	t.Helper()
	at := func(d time.Duration) moment {
		return h.looks[slices.IndexFunc(h.looks, func(m moment) bool { return m.at >= d })]
	}
	for _, m := range h.looks {
		if m.desired > hourHighest {
			t.Errorf("after %v there are to be %d instances", m.at, m.desired)
		}
		if m.backlog > 0 && m.desired == 0 && m.at < 45*time.Minute {
			t.Errorf("after %v %d requests wait and nothing is done", m.at, m.backlog)
		}
	}
	for when, want := range map[time.Duration]int{
		4 * time.Minute: 0, 5 * time.Minute: 1, 15 * time.Minute: 1, 24 * time.Minute: hourHighest, 44 * time.Minute: 0, 56 * time.Minute: 1, 79 * time.Minute: 0,
	} {
		if got := at(when).desired; got != want {
			t.Errorf("after %v there are to be %d instances, want %d", when, got, want)
		}
	}
	if last := h.looks[len(h.looks)-1]; last.backlog > 0 || last.ready > 0 {
		t.Errorf("in the end there is %+v", last)
	}
}

// publishHour writes the hour for people, or compares it with what stands there.
func (x *fixture) publishHour(t *testing.T, h *hour) {
	t.Helper()
	const page, picture = "../../docs/scaling.md", "../../docs/scaling-hour.svg"
	text, err := os.ReadFile(page)
	must(t, err)
	const begin, end = "<!-- hour: written by go test ./internal/scheduler -run TestHour -update -->\n", "<!-- hour ends -->\n"
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the hour", page)
	}
	want := map[string]string{page: head + begin + x.hourTable(t, h) + end + tail, picture: h.picture()}
	for name, content := range want {
		if *update {
			must(t, os.WriteFile(name, []byte(content), 0o644))
			continue
		}
		got, err := os.ReadFile(name)
		must(t, err)
		if diff := cmp.Diff(content, string(got)); diff != "" {
			t.Errorf("%s is not what the hour is like now; -update writes it (-now +there):\n%s", name, diff)
		}
	}
}

// hourTable is what was done to the endpoint, and why.
func (x *fixture) hourTable(t *testing.T, h *hour) string {
	t.Helper()
	type row struct {
		at   time.Duration
		text string
	}
	var rows []row
	for _, n := range h.notes {
		rows = append(rows, row{n.at, fmt.Sprintf("| %s | | %s |", clock(n.at), n.text)})
	}
	first, err := x.store.EndpointByID(t.Context(), "e")
	must(t, err)
	for d, err := range documents(t.Context(), x.store, deferd.KindScalingActivity, "a", deferd.ScalingName(ref, "")) {
		must(t, err)
		a, err := deferd.ReadScalingActivity(d)
		must(t, err)
		why := a.Cause
		if a.Status == deferd.ActivityFailed {
			why += "; failed: " + a.Message
		}
		at := a.Started.Sub(first.Created)
		rows = append(rows, row{at, fmt.Sprintf("| %s | %d | %s |", clock(at), a.To, why)})
	}
	slices.SortStableFunc(rows, func(a, b row) int { return int(a.at - b.at) })
	var b strings.Builder
	b.WriteString("| time | instances | why |\n|---|---|---|\n")
	for _, r := range rows {
		b.WriteString(r.text + "\n")
	}
	return b.String()
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

// picture draws the backlog, and below it the instances.
func (h *hour) picture() string {
	const width, left, top, tall, gap = 800, 50, 30, 120, 40
	var b bytes.Buffer
	across := func(d time.Duration) float64 {
		return left + float64(d)/float64(hourLength)*(width-left-20)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, top+2*tall+2*gap)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	curve := func(up float64, most float64, title, colour string, dashed bool, value func(moment) float64) {
		base := up + tall
		fmt.Fprintf(&b, `<text x="%d" y="%g" fill="%s">%s</text>`+"\n", left, up-8, colour, title)
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2"`, colour)
		if dashed {
			b.WriteString(` stroke-dasharray="4 3"`)
		}
		b.WriteString(` points="`)
		before := 0.0
		for _, m := range h.looks {
			y := base - value(m)/most*tall
			if before != 0 {
				fmt.Fprintf(&b, "%.1f,%.1f ", across(m.at), before)
			}
			fmt.Fprintf(&b, "%.1f,%.1f ", across(m.at), y)
			before = y
		}
		b.WriteString(`"/>` + "\n")
		fmt.Fprintf(&b, `<line x1="%d" y1="%g" x2="%d" y2="%g" stroke="#888"/>`+"\n", left, base, width-20, base)
		fmt.Fprintf(&b, `<text x="%d" y="%g" text-anchor="end">0</text><text x="%d" y="%g" text-anchor="end">%g</text>`+"\n", left-6, base+4, left-6, up+4, most)
	}
	most := 1.0
	for _, m := range h.looks {
		most = max(most, float64(m.backlog))
	}
	curve(top, most, "requests that wait or run", "#b45309", false, func(m moment) float64 { return float64(m.backlog) })
	lower := float64(top + tall + gap)
	curve(lower, hourHighest, "instances that there are to be (and, dashed, that are ready)", "#1d4ed8", false, func(m moment) float64 { return float64(m.desired) })
	curve(lower, hourHighest, "", "#64748b", true, func(m moment) float64 { return float64(m.ready) })
	for at := time.Duration(0); at <= hourLength; at += 10 * time.Minute {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n", across(at), lower+tall+18, clock(at)[:4])
	}
	for _, n := range h.notes {
		fmt.Fprintf(&b, `<line x1="%.1[1]f" y1="%[2]d" x2="%.1[1]f" y2="%[3]g" stroke="#dc2626" stroke-dasharray="2 3"><title>%[4]s</title></line>`+"\n",
			across(n.at), top, lower+tall, n.text)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
