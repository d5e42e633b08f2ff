package bothways

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

// A trouble is something that happens to the load beside a step that fails.
type trouble struct {
	name    string
	prepare func(*world)            // before anything is accepted
	happen  func(*world, []*keeper) // three seconds into the load
	ok      tolerance
	steps   []string
}

var errDenied = &deferd.Error{Code: deferd.Denied, Msg: "AccessDenied"}

// refusing has the object store refuse all keys with a prefix.
func refusing(prefix string) func(*world) {
	return func(w *world) {
		w.objects.refuse = func(l deferd.Location) error {
			if strings.HasPrefix(l.Key, prefix) {
				return errDenied
			}
			return nil
		}
	}
}

var publishing = []string{
	"store.Publishing", "objects.Put", "objects.CompleteUpload", "objects.Head",
	"store.GiveUp", "objects.AbortUpload", "store.Redecide", "store.Finish",
}

var troubles = []trouble{
	{
		name:    "outputs are refused",
		prepare: refusing("out/"),
		ok:      tolerance{reasons: []deferd.Reason{deferd.UploadFailed}},
		steps:   publishing,
	},
	{
		name:    "every outcome is refused",
		prepare: refusing(""),
		ok:      tolerance{reasons: []deferd.Reason{deferd.UploadFailed}, objects: true},
		steps:   publishing,
	},
	{
		name:   "an instance stops in order",
		happen: func(_ *world, ks []*keeper) { ks[0].current().stop() },
		// What it gives back may run elsewhere before the instance has ended.
		ok: tolerance{rerun: true, zombie: true},
		steps: []string{"work.Claim", "store.Claim", "work.Extend", "store.Extend", "work.Settle", "store.Settle",
			"work.Release", "store.Release", "store.CloseSession", "store.Sweep", "objects.AbortUpload"},
	},
	{
		name:   "an instance dies",
		happen: func(_ *world, ks []*keeper) { ks[0].current().die() },
		ok:     tolerance{rerun: true},
		steps: []string{"work.Claim", "store.Claim", "work.Extend", "store.Extend", "work.Settle", "store.Settle",
			"work.Release", "store.Release", "store.CloseSession", "store.Sweep", "store.OldestQueued", "objects.AbortUpload"},
	},
	{
		name:   "another session speaks for an instance",
		happen: func(w *world, ks []*keeper) { ks[0].double() },
		ok:     tolerance{rerun: true, zombie: true},
		steps:  []string{"work.Claim", "work.Extend", "store.Extend", "work.Upload", "work.UploadPart", "work.Settle", "store.Settle", "work.Release", "store.Release"},
	},
	{
		name:   "another server answers",
		happen: func(w *world, _ []*keeper) { w.serve() },
		ok:     tolerance{rerun: true, zombie: true},
		steps: []string{"work.Open", "store.OpenSession", "work.Claim", "work.Extend", "work.Upload", "work.UploadPart", "work.Settle",
			"work.Release", "store.Publishing", "objects.Put", "objects.CompleteUpload", "objects.Head", "store.Finish"},
	},
	{
		// What the one server has shown, the other one finishes.
		name:    "outcomes are seen before they are durable, and another server answers",
		prepare: func(w *world) { w.early = true; w.serve() },
		happen:  func(w *world, _ []*keeper) { w.serve() },
		ok:      tolerance{rerun: true, zombie: true},
		steps:   []string{"store.Publishing", "objects.Put", "objects.AwaitDurable", "objects.Head", "store.Finish"},
	},
	{
		// Once for the output, and once for the failure object that says so.
		name: "the object store fails for more than a day",
		happen: func(w *world, _ []*keeper) {
			for range 2 {
				time.Sleep(time.Minute)
				w.ahead.Add(int64(25 * time.Hour))
			}
		},
		ok:    tolerance{reasons: []deferd.Reason{deferd.UploadFailed}, objects: true},
		steps: []string{"objects.Put", "objects.CompleteUpload"},
	},
}

// TestEachStepFailsInTrouble lets steps fail while something else goes wrong.
func TestEachStepFailsInTrouble(t *testing.T) {
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			t.Run("alone", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testLoad(t, &faults{}, tr) })
			})
			var failing []step
			for _, name := range tr.steps {
				i := slices.IndexFunc(steps, func(s step) bool { return s.name == name })
				if i < 0 {
					failing = append(failing, step{name: name}) // of trouble alone
					continue
				}
				failing = append(failing, steps[i])
			}
			runTable(t, tr, failing, failures(true))
		})
	}
}
