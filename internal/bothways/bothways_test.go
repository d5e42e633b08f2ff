package bothways

import (
	"fmt"
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

// TestEachStepFails lets each step fail in each way while the load runs.
func TestEachStepFails(t *testing.T) {
	for _, s := range steps {
		for _, how := range []way{lost, unanswered, hung, late} {
			for _, lasting := range []time.Duration{0, 15 * time.Minute} {
				ok := s.also
				if lasting > 0 {
					ok = s.long
				}
				name := fmt.Sprintf("%s/%s/%s", s.name, wayNames[how], lasted(lasting))
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					f := &faults{step: s.name, way: how, err: errUnavailable, lasting: lasting}
					synctest.Test(t, func(t *testing.T) { testLoad(t, f, ok) })
				})
			}
		}
	}
}

func lasted(d time.Duration) string {
	if d == 0 {
		return "once each"
	}
	return "for " + d.String()
}

// testLoad runs the load through to its end.
func testLoad(t *testing.T, f *faults, ok tolerance) {
	w := newWorld(t, f)
	var stops []func()
	for n := range instances {
		stops = append(stops, w.keep(fmt.Sprint("i", n)))
	}
	time.Sleep(time.Second) // until they wait for work
	w.accept()
	ended := w.await()
	w.settle()
	for _, stop := range stops {
		stop()
	}
	w.settle()
	wrongs := w.broken(ended, ok)
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
	synctest.Test(t, func(t *testing.T) { testLoad(t, &faults{}, tolerance{}) })
}
