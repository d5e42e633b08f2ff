package powerloss

import (
	"cmp"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Long reports whether DEFERD_POWERLOSS asks for the long form, which tries
// every cut; seconds become many minutes.
func Long() bool { return os.Getenv("DEFERD_POWERLOSS") == "long" }

// Seed is what everything that is drawn here is drawn from. It is another one
// in each run of the long form, and DEFERD_POWERLOSS_SEED repeats a run.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := uint64(1)
	if Long() {
		seed = uint64(time.Now().UnixNano())
	}
	if s := os.Getenv("DEFERD_POWERLOSS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("DEFERD_POWERLOSS_SEED: %v", err)
		}
	}
	t.Logf("DEFERD_POWERLOSS_SEED=%d", seed)
	return seed
}

// Need skips the test where strace is missing, unless DEFERD_TEST_REQUIRE
// contains strace.
func Need(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("strace")
	if err == nil {
		// Where processes may not be traced, strace is of no use.
		err = exec.Command("strace", "-o", "/dev/null", "true").Run()
	}
	switch {
	case err == nil:
	case slices.Contains(strings.Fields(os.Getenv("DEFERD_TEST_REQUIRE")), "strace"):
		t.Fatalf("strace is required: %v", err)
	default:
		t.Skipf("programs cannot be recorded here: %v", err)
	}
}

// Scratch is a directory on the fastest disk that there is: what is tried on
// it is not to last.
func Scratch(t testing.TB) string {
	t.Helper()
	const memory = "/dev/shm"
	parent := ""
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "deferd-powerloss-")
	if errors.Is(err, fs.ErrPermission) && parent != "" {
		dir, err = os.MkdirTemp("", "deferd-powerloss-")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// firstSyncs are those of a later life that are tried always: what it found may
// never have been synced.
const firstSyncs = 6

// A Trial says how many disks are tried, in the short form; with the race
// detector a quarter of them.
type Trial struct {
	Cuts  int // drawn from the ends of syncs, and the end of the recording; the long form takes all. The first ones of later lives come on top
	Draws int // disks of each cut beside the extremes; the long form takes three times as many
}

// Try calls check for disks that a power cut may leave, in a directory that is
// the check's own, with the position of the cut: what was said before it is
// what somebody may rely on.
func (r *Recording) Try(t testing.TB, trial Trial, check func(dir string, position int) error) {
	t.Helper()
	random := rand.New(rand.NewPCG(Seed(t), 0))
	cuts := append(slices.Clone(r.syncs), r.lines)
	switch {
	case Long():
		trial.Cuts, trial.Draws = len(cuts), 3*trial.Draws
	case slow:
		trial.Cuts, trial.Draws = max(4, cmp.Or(trial.Cuts, len(cuts))/4), max(1, trial.Draws/4)
	}
	random.Shuffle(len(cuts), func(i, j int) { cuts[i], cuts[j] = cuts[j], cuts[i] })
	all := len(cuts)
	cuts = cuts[:min(cmp.Or(trial.Cuts, all), all)]
	for _, begin := range r.later {
		i, _ := slices.BinarySearch(r.syncs, begin)
		cuts = append(cuts, r.syncs[i:min(i+firstSyncs, len(r.syncs))]...)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	scratch := Scratch(t)
	disk := r.Disk()
	tried, failures := 0, 0
	trying := ""
	defer func() {
		if trying != "" { // a check may end the test
			t.Log(trying)
		}
	}()
	for _, at := range cuts {
		if err := disk.Advance(at); err != nil {
			t.Fatal(err)
		}
		for _, loss := range disk.Losses(random, trial.Draws) {
			dir := filepath.Join(scratch, strconv.Itoa(tried))
			tried++
			if err := loss.WriteTo(dir); err != nil {
				t.Fatal(err)
			}
			trying = loss.Name
			err := check(dir, at)
			trying = ""
			if err != nil {
				t.Errorf("%s: %v", loss.Name, err)
				if failures++; failures == 10 {
					t.Fatal("more is not tried")
				}
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d disks of %d cuts, out of %d that were possible, were tried", tried, len(cuts), all)
}
