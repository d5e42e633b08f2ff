package bothways

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// A step is a call between two of those who work on an invocation.
type step struct {
	name string
	also tolerance // once
	long tolerance // lasting
}

var (
	download = tolerance{reasons: []deferd.Reason{deferd.DownloadLost}, rerun: true}
	upload   = tolerance{reasons: []deferd.Reason{deferd.UploadLost}, rerun: true}
)

// An open that is done when its repeat has been answered supersedes it: the
// agent stops, and its instance is replaced. Nobody speaks in the late session.
var reopened = tolerance{session: true, rerun: true, zombie: true}

// steps are the calls that an invocation's life consists of.
var steps = []step{
	{name: "store.Accept"},
	{name: "work.Open", also: reopened, long: reopened},
	{name: "store.OpenSession", also: reopened, long: reopened},
	{name: "work.Claim"},
	{name: "store.Claim"},
	{name: "store.OldestQueued"},
	{name: "work.Extend"},
	{name: "store.Extend"},
	{name: "work.Input", long: download},
	{name: "store.Leased", long: tolerance{reasons: []deferd.Reason{deferd.DownloadLost, deferd.UploadLost}, rerun: true}},
	{name: "store.Body", long: download},
	{name: "objects.Get", long: download},
	{name: "objects.Get's body", long: download},
	{name: "work.Upload", long: upload},
	{name: "store.RecordUpload", also: tolerance{uploads: true}, long: tolerance{reasons: upload.reasons, rerun: true, uploads: true}},
	{name: "objects.CreateUpload", also: tolerance{uploads: true}, long: tolerance{reasons: upload.reasons, rerun: true, uploads: true}},
	{name: "work.UploadPart", long: upload},
	{name: "objects.UploadPart", long: upload},
	{name: "work.Settle"},
	{name: "store.Settle"},
	{name: "work.Release"},
	{name: "store.Release"},
	{name: "store.End"},
	{name: "store.Sweep"},
	{name: "store.Publishing"},
	{name: "objects.Head"},
	{name: "objects.Put"},
	{name: "objects.CompleteUpload"},
	{name: "store.Finish"},
	{name: "objects.AbortUpload"},
	{name: "store.Abandoned"},
	{name: "store.Aborted"},
}

var errUnavailable = &deferd.Error{Code: deferd.Unavailable, Msg: "SlowDown"}

var all = flag.Bool("all", false, "let each step fail in each way, in all trouble too, though it takes minutes")

// A failure is how and for how long a step fails.
type failure struct {
	way     way
	lasting time.Duration
}

// failures are those that a run tries: all of them, but where much is run
// (many troubles, a slow run) the ways that every network has.
func failures(many bool) []failure {
	switch {
	case *all:
		return []failure{
			{lost, 0}, {unanswered, 0}, {hung, 0}, {late, 0},
			{lost, long}, {unanswered, long}, {hung, long}, {late, long},
		}
	case slow || testing.Short():
		return []failure{{unanswered, 0}}
	case many:
		return []failure{{lost, 0}, {unanswered, long}}
	}
	return []failure{{lost, 0}, {unanswered, 0}, {late, 0}, {lost, long}, {unanswered, long}, {hung, long}}
}

// long is longer than the patience of all but those who publish.
const long = 15 * time.Minute

// atOnce is how many bubbles run at a time: what they wait for is the disk.
const atOnce = 8

// TestEachStepFails lets each step fail in each way while the load runs.
func TestEachStepFails(t *testing.T) {
	runTable(t, trouble{}, steps, failures(false))
}

// runTable runs a table of steps, several at a time.
func runTable(t *testing.T, tr trouble, steps []step, fails []failure) {
	limit := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range steps {
		for _, fail := range fails {
			limit <- struct{}{}
			wg.Go(func() {
				defer func() { <-limit }()
				runOne(t, tr, s, fail)
			})
		}
	}
}

// runOne runs the load in a bubble of its own while a step fails.
func runOne(t *testing.T, tr trouble, s step, fail failure) {
	ok := s.also
	if fail.lasting > 0 {
		ok = s.long
	}
	tr.ok = tr.ok.and(ok)
	t.Run(fmt.Sprintf("%s/%s/%s", s.name, wayNames[fail.way], lasted(fail.lasting)), func(t *testing.T) {
		f := &faults{step: s.name, way: fail.way, err: errUnavailable, lasting: fail.lasting}
		synctest.Test(t, func(t *testing.T) { testLoad(t, f, tr) })
	})
}

func lasted(d time.Duration) string {
	if d == 0 {
		return "once each"
	}
	return "for " + d.String()
}

// testLoad runs the load through to its end, while a step fails and trouble
// happens.
func testLoad(t *testing.T, f *faults, tr trouble) {
	w := newWorld(t, f)
	if tr.prepare != nil {
		tr.prepare(w)
	}
	var kept []*keeper
	for n := range instances {
		kept = append(kept, w.keep(fmt.Sprint("i", n)))
	}
	time.Sleep(time.Second) // until they wait for work
	w.accept()
	if tr.happen != nil {
		time.Sleep(3 * time.Second)
		tr.happen(w, kept)
	}
	ended := w.await()
	w.settle()
	for _, k := range kept {
		k.stop()
	}
	w.settle()
	wrongs := w.broken(ended, tr.ok)
	w.stop()
	for _, wrong := range wrongs {
		t.Error(wrong)
	}
	if f.step != "" && f.reached() == 0 {
		t.Error("the step was never reached")
	}
}

// TestNothingFails is the load as it is.
func TestNothingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { testLoad(t, &faults{}, trouble{}) })
}
