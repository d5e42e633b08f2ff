package torture

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Round is what happens in one round. It follows from seed and number alone.
type Round struct {
	Number   int
	Requests []Request // in the order of At
	Faults   []Fault   // in the order of At
	Weather  []string  // lines for DEFERD_FAULTS: what the stores do meanwhile
}

// A Request is what a client asks for.
type Request struct {
	ID       string        // inference ID, and the model's name for it
	At       time.Duration // after the round's begin
	Endpoint string
	Order    Order
	Input    Input
	Size     int // of the input
	Timeout  time.Duration
	TTL      time.Duration // 0: the default
	Name     string        // Filename of the output; "" for the server's choice
	Cut      time.Duration // the client gives up its first call after this; 0: it waits

	Contested bool // others of the round have the same Name
}

// Input says where an input is.
type Input string

const (
	Inline  Input = "inline"
	Object  Input = "object"  // in S3
	Missing Input = "missing" // named, and not there
)

// A Kind is a kind of fault.
type Kind string

const (
	KillServer   Kind = "kill server"   // SIGKILL
	StopServer   Kind = "stop server"   // SIGTERM
	FreezeServer Kind = "freeze server" // SIGSTOP, and SIGCONT after For
	KillModel    Kind = "kill model"
	FreezeModel  Kind = "freeze model"
	KillBoth     Kind = "kill both"
	KillStarting Kind = "kill starting server" // killed, started, and killed again after For
	KillStopping Kind = "kill stopping server" // SIGTERM, and SIGKILL after For
	FillDisk     Kind = "fill disk"            // the file system of the server's data is full for For
	Sleep        Kind = "sleep"                // the machine seems to sleep for By
	Reboot       Kind = "reboot"               // the server is killed, and the machine seems to have booted with its wall clock off by By
	Rescale      Kind = "rescale"              // an endpoint has no instances for a time
	Update       Kind = "update"               // an endpoint gets its other configuration
	KillObjects  Kind = "kill external S3"     // SIGKILL, and a restart after For
	Recreate     Kind = "recreate"             // the endpoint that is doomed is deleted and created again
)

// Kinds are all kinds of faults.
var Kinds = []Kind{KillServer, StopServer, FreezeServer, KillModel, FreezeModel, KillBoth, KillStarting, KillStopping, FillDisk, Sleep, Reboot, Rescale, Update, Recreate, KillObjects}

// A Fault is something that is broken at a time.
type Fault struct {
	At       time.Duration // after the round's begin
	Kind     Kind
	For      time.Duration // of a freeze or Rescale: how long; of a kill: until the restart
	Which    int           // picks among the models that live
	By       time.Duration // of Sleep and Reboot
	Endpoint string        // of Rescale and Update
}

// A Deployment is an endpoint that is tortured.
type Deployment struct {
	Name      string
	Slots     int
	Instances int
	NoFailure bool // no failure path is configured
	Doomed    bool // it is deleted and created again
}

// Deployments are the endpoints of a run. What takes instances down has one of
// its own, so that the others are not for ever backing off.
var Deployments = []Deployment{
	{Name: "wide", Slots: 4, Instances: 1},
	{Name: "narrow", Slots: 1, Instances: 2},
	{Name: "poisoned", Slots: 2, Instances: 1},
	{Name: "quiet", Slots: 3, Instances: 1, NoFailure: true},
	{Name: "doomed", Slots: 2, Instances: 1, Doomed: true},
}

// Options say what a run may contain beyond the usual.
type Options struct {
	Large    bool // answers of a gigabyte, rarely
	FillDisk bool // the file system of the server's data may be filled up

	ExternalS3 bool // the objects are in the S3 of another server, which may be killed
}

// loadWindow is over what time a round's requests are spread.
const loadWindow = 1200 * time.Millisecond

// Draw draws a round.
func Draw(seed uint64, number int, o Options) Round {
	r := rand.New(rand.NewPCG(seed, uint64(number)))
	round := Round{Number: number}
	for i := range between(r, 15, 45) {
		round.Requests = append(round.Requests, drawRequest(r, fmt.Sprintf("t%d-%d-%d", seed, number, i)))
	}
	if o.Large && r.IntN(25) == 0 {
		round.Requests[0].Order = Order{Deed: Echo, Size: 1 << 30}
		round.Requests[0].Input, round.Requests[0].Endpoint, round.Requests[0].Cut = Inline, "wide", 0
	}
	round.Faults = drawFaults(r, o)
	if r.IntN(2) == 0 {
		round.Weather = drawWeather(r)
	}
	if r.IntN(2) == 0 {
		round.Requests = append(round.Requests, drawContest(r, func(i int) string { return fmt.Sprintf("t%d-%d-n%d", seed, number, i) }, fmt.Sprintf("contested-%d", number))...)
	}
	if !o.FillDisk && r.IntN(15) == 0 {
		round.Requests = append(round.Requests, Request{
			ID: fmt.Sprintf("t%d-%d-big", seed, number), Endpoint: "wide", Timeout: time.Minute, Input: Inline, Size: 20,
			Order: Order{Deed: Echo, Size: between(r, 100<<20, 250<<20), Chunked: r.IntN(2) == 0},
		})
	}
	slices.SortStableFunc(round.Requests, func(a, b Request) int { return int(a.At - b.At) })
	return round
}

// between draws a number from low to high.
func between(r *rand.Rand, low, high int) int { return low + r.IntN(high-low+1) }

func millis(r *rand.Rand, low, high int) time.Duration {
	return time.Duration(between(r, low, high)) * time.Millisecond
}

// A weighted is one of several things to choose from.
type weighted[T any] struct {
	weight int
	value  T
}

func choose[T any](r *rand.Rand, from []weighted[T]) T {
	sum := 0
	for _, w := range from {
		sum += w.weight
	}
	n := r.IntN(sum)
	for _, w := range from {
		if n -= w.weight; n < 0 {
			return w.value
		}
	}
	return from[len(from)-1].value
}

func drawRequest(r *rand.Rand, id string) Request {
	q := Request{
		ID: id, At: time.Duration(r.Int64N(int64(loadWindow))), Timeout: time.Minute,
		Input: choose(r, []weighted[Input]{{80, Inline}, {18, Object}, {2, Missing}}),
		Size:  choose(r, []weighted[int]{{60, 20}, {20, 3_000}, {18, 100_000}, {2, 128_000}}),
	}
	q.Endpoint = choose(r, []weighted[string]{{50, "wide"}, {30, "narrow"}, {15, "quiet"}, {5, "poisoned"}, {8, "doomed"}})
	q.TTL = choose(r, []weighted[time.Duration]{{8, 0}, {2, time.Minute}, {1, time.Hour}})
	if q.Input == Object && r.IntN(8) == 0 {
		q.Size = between(r, 1<<20, 8<<20)
	}
	q.Order = drawOrder(r)
	switch q.Order.Deed {
	case Echo:
		if r.IntN(8) == 0 { // enough for the model, but not for who is frozen meanwhile
			q.Timeout = 3 * time.Second
			q.Order.Size = min(q.Order.Size, 1<<18)
		}
	case Hang, HangMiddle:
		q.Timeout = time.Second
	case Early:
		q.Input, q.Size = Object, between(r, 1000, 6<<20)
	case Stuck:
		q.Timeout, q.Endpoint = time.Second, "poisoned"
		if r.IntN(5) > 0 { // it costs a slot for a minute
			q.Order = Order{Deed: Hang, Delay: 1500 * time.Millisecond}
		}
	case Poison, CrashOnce:
		q.Endpoint = "poisoned"
	}
	if r.IntN(10) == 0 {
		q.Name = "named-" + id
	}
	if r.IntN(40) == 0 {
		q.Name = "no/name/" + id // to be refused
	}
	if r.IntN(12) == 0 {
		q.Cut = time.Duration(between(r, 200, 8000)) * time.Microsecond
	}
	return q
}

func drawOrder(r *rand.Rand) Order {
	o := Order{Delay: choose(r, []weighted[time.Duration]{{50, 0}, {40, millis(r, 1, 150)}, {10, millis(r, 150, 900)}})}
	o.Deed = choose(r, []weighted[Deed]{
		{150, Echo}, {20, Refuse}, {6, Busy}, {6, Hang}, {6, DropBefore}, {5, DropMiddle}, {5, DropAfter}, {2, CrashOnce}, {1, Poison}, {1, Stuck}, {4, HangMiddle}, {3, Garbage}, {4, Early},
	})
	switch o.Deed {
	case Echo:
		o.Size = choose(r, []weighted[int]{
			{70, 0}, {6, -1}, {10, between(r, 1_000, 100_000)}, {4, 128 << 10}, {4, 128<<10 + 1}, {5, between(r, 1<<18, 3<<20)}, {1, between(r, 9<<20, 20<<20)},
		})
		o.Chunked = r.IntN(6) == 0
	case Refuse, Early:
		o.Size = choose(r, []weighted[int]{{9, 0}, {1, between(r, 100_000, 500_000)}})
		o.Status = choose(r, []weighted[int]{{4, 400}, {2, 422}, {2, 429}, {4, 500}, {2, 503}, {1, 302}, {1, 404}})
	case Busy:
		o.Status, o.Times = choose(r, []weighted[int]{{1, 429}, {1, 503}}), between(r, 1, 2)
	case HangMiddle:
		o.Size = choose(r, []weighted[int]{{1, 0}, {1, between(r, 300_000, 1_000_000)}, {1, 17 << 20}})
		o.Delay = millis(r, 1300, 2500)
	case Hang:
		o.Delay = millis(r, 1300, 2500)
	}
	return o
}

func drawFaults(r *rand.Rand, o Options) []Fault {
	kinds := []weighted[Kind]{
		{40, KillServer}, {10, StopServer}, {15, FreezeServer}, {14, KillModel}, {14, FreezeModel}, {7, KillBoth}, {8, KillStarting}, {6, KillStopping},
		{7, Sleep}, {4, Reboot}, {8, Rescale}, {6, Update}, {6, Recreate},
	}
	if o.FillDisk {
		kinds = append(kinds, weighted[Kind]{30, FillDisk})
	}
	if o.ExternalS3 {
		kinds = append(kinds, weighted[Kind]{30, KillObjects})
	}
	var out []Fault
	for range choose(r, []weighted[int]{{2, 0}, {5, 1}, {4, 2}, {2, 3}}) {
		f := Fault{
			At:    millis(r, 100, 1300),
			Kind:  choose(r, kinds),
			Which: r.IntN(1000),
		}
		switch f.Kind {
		case FreezeServer, FreezeModel:
			f.For = choose(r, []weighted[time.Duration]{{6, millis(r, 100, 3000)}, {1, millis(r, 3000, 6000)}})
		case KillServer, KillBoth, StopServer, KillObjects:
			f.For = choose(r, []weighted[time.Duration]{{3, 0}, {1, millis(r, 50, 700)}})
		case KillStarting:
			f.For = millis(r, 5, 400)
		case KillStopping:
			f.For = millis(r, 5, 1500)
		case FillDisk:
			f.For = millis(r, 100, 2000)
		case Sleep:
			f.By = choose(r, []weighted[time.Duration]{{1, 2 * time.Minute}, {2, 61 * time.Minute}})
		case Reboot:
			f.By = choose(r, []weighted[time.Duration]{{1, -time.Hour}, {1, 0}, {1, time.Hour}})
		case Rescale:
			f.For = millis(r, 200, 2000)
			f.Endpoint = choose(r, []weighted[string]{{1, "wide"}, {1, "narrow"}, {1, "quiet"}})
		case Update:
			f.Endpoint = choose(r, []weighted[string]{{1, "wide"}, {1, "narrow"}, {1, "quiet"}})
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Fault) int { return int(a.At - b.At) })
	return out
}

// drawWeather draws what the server's stores do in a round: each line says what
// fails, how, and how often.
func drawWeather(r *rand.Rand) []string {
	lines := []string{fmt.Sprintf("seed %d", r.Uint32())}
	rate := func() string { return choose(r, []weighted[string]{{3, "0.02"}, {2, "0.1"}, {1, "0.4"}}) }
	for _, what := range []string{"store.accept", "store.claim", "store.settle", "store.finish", "store.read", "store.change", "store", "object.put", "object.get", "object.upload", "object.complete", "object.head", "object"} {
		if r.IntN(5) != 0 {
			continue
		}
		how := choose(r, []weighted[string]{{2, "lost"}, {3, "unanswered"}, {1, "slow " + millis(r, 5, 300).String()}})
		verb, rest, _ := strings.Cut(how, " ")
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", what, verb, rate(), rest)))
	}
	return lines
}
