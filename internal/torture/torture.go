package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Config says what is to be tortured, and how.
type Config struct {
	Program   string // the binary, which is server and model
	ModelVerb string // under which it calls ModelMain
	Dir       string // an empty directory for everything
	Data      string // the server's data; "" for a place in Dir
	Rounds    int
	Seed      uint64
	MaxMemory int64 // that the server may take, in bytes; 0 for the usual bound
	Options   Options
	Out       io.Writer // one line for each round
	Logger    *slog.Logger
}

// How long things may take before they count as lost, and how long what is
// judged stays under observation.
const (
	ownRound  = 2 * time.Second   // a round waits so long for its own requests
	caseLimit = 240 * time.Second // from the first call to the outcome
	afterLife = 8 * time.Second
)

// A run is a torture in progress.
type run struct {
	config Config
	log    *slog.Logger
	world  *world
	out    *outside
	models *http.Client
	ears   *ears

	background sync.WaitGroup
	changing   map[string]*sync.Mutex // one change of an endpoint at a time
	steady     sync.RWMutex           // held by who does not want the clock or the doomed endpoint to change
	looking    sync.Mutex             // one look at a time
	reading    sync.Mutex             // guards journal
	journal    tail

	mu        sync.Mutex // guards the rest
	round     int
	cases     map[string]*Case // by request; judged ones stay for a while
	judged    map[string]time.Time
	dropped   map[string]bool // judged, observed and forgotten
	objects   map[string]*object
	contests  map[string]*contest // by key
	born      map[int]time.Time   // when processes came to listen
	listening []Entry             // Listening, in order
	history   History
	storms    History // all weather and all ends of the server in the run
	resumes   []resume
	broken    []Broken
	counts    counts
	accepted  map[string]int    // by endpoint: what must be in its metrics
	ended     map[string]int    // by endpoint and state: likewise
	ends      map[string]string // the states of those that were judged, by invocation
	piled     bound             // how much the endpoint without instances has accepted
	strays    int               // requests to an endpoint that is gone, of which nobody knows whether they were accepted
	refused0  float64           // settles refused in the present life of the server, when last seen
}

// An object is a Seen with what the run does with it.
type object struct {
	Seen
	taken time.Time // when its client set out to delete it
	gone  time.Time // when that was answered
}

// A resume is a restart with work waiting.
type resume struct{ ended, ready time.Time }

// Run tortures a server and returns what came of it. The error says what kept
// it from doing so; broken promises are in the report.
func Run(ctx context.Context, c Config) (rep Report, err error) {
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return rep, err
	}
	c.MaxMemory = cmp.Or(c.MaxMemory, usualMemory)
	if c.Data == "" {
		c.Data = filepath.Join(c.Dir, "data")
	}
	r := &run{
		config: c, log: c.Logger, cases: map[string]*Case{}, judged: map[string]time.Time{}, dropped: map[string]bool{},
		objects: map[string]*object{}, contests: map[string]*contest{}, born: map[int]time.Time{}, accepted: map[string]int{}, ended: map[string]int{}, ends: map[string]string{}, counts: newCounts(),
		changing: map[string]*sync.Mutex{},
		models:   &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, d := range Deployments {
		r.changing[d.Name] = &sync.Mutex{}
	}
	if r.world, err = newWorld(c); err != nil {
		return rep, err
	}
	r.journal.name = r.world.path(journalFile)
	if r.ears, err = newEars(); err != nil {
		return rep, err
	}
	defer r.ears.server.Close()
	defer func() {
		r.background.Wait()
		if r.world.current() != nil {
			err = errors.Join(err, r.world.stop())
		}
		if r.world.external != nil {
			r.world.external.kill()
		}
		rep = r.report()
	}()
	if r.world.external != nil {
		if err := r.world.external.start(ctx); err != nil {
			return rep, err
		}
	}
	if err := r.world.start(ctx); err != nil {
		return rep, err
	}
	if r.out, err = newOutside(r.world); err != nil {
		return rep, err
	}
	if err := r.deploy(ctx); err != nil {
		return rep, err
	}
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	r.background.Go(func() { r.watch(watching) })
	for n := 1; n <= c.Rounds && len(r.brokenSoFar()) == 0; n++ {
		if err := r.play(ctx, Draw(c.Seed, n, c.Options)); err != nil {
			return rep, fmt.Errorf("round %d: %w", n, err)
		}
	}
	return rep, r.finish(ctx)
}

// play plays one round.
func (r *run) play(ctx context.Context, round Round) error {
	if err := r.revive(ctx); err != nil {
		return err
	}
	begin := time.Now()
	r.edit(func() { r.round = round.Number })
	r.log.Info("round", "number", round.Number, "requests", len(round.Requests), "faults", len(round.Faults), "weather", round.Weather)
	if err := r.world.setWeather(round.Weather); err != nil {
		return err
	}
	var loading sync.WaitGroup
	loading.Go(func() { r.load(ctx, round, begin) })
	loading.Go(func() { r.addToPile(ctx, round) })
	broke := r.breakThings(ctx, round.Faults, begin)
	if broke != nil {
		return broke
	}
	loading.Wait()
	sleepUntil(ctx, begin.Add(loadWindow))
	if err := r.world.setWeather(nil); err != nil {
		return err
	}
	if len(round.Weather) > 0 {
		r.weather(begin)
	}
	own := func(c *Case) bool { return c.Round == round.Number }
	r.settle(ctx, ownRound, own)
	r.checkMetrics(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	fmt.Fprintln(r.config.Out, r.roundLine(round, time.Since(begin)))
	return nil
}

// deploy makes the bucket and the endpoints, and waits for them.
func (r *run) deploy(ctx context.Context) error {
	if _, err := r.out.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return fmt.Errorf("create the bucket: %w", err)
	}
	all := append(slices.Clone(Deployments), pile)
	for _, d := range all {
		if err := r.deployOne(ctx, d); err != nil {
			return err
		}
	}
	for _, d := range all {
		if err := r.awaitInService(ctx, d.Name); err != nil {
			return err
		}
	}
	return r.emptyPile(ctx)
}

type fields = map[string]any

func (r *run) deployOne(ctx context.Context, d Deployment) error {
	paths := fields{"S3OutputPath": "s3://" + bucket + "/out"}
	if d.Name != pile.Name { // which has no ends
		paths["NotificationConfig"] = fields{"SuccessTopic": r.ears.url + "/completed", "ErrorTopic": r.ears.url + "/failed"}
	}
	if !d.NoFailure {
		paths["S3FailurePath"] = "s3://" + bucket + "/failed"
	}
	for _, name := range []string{d.Name, d.other()} {
		err := r.out.control(ctx, "CreateModel", fields{
			"ModelName": name, "ExecutionRoleArn": "arn:aws:iam::000000000000:role/torture",
			"PrimaryContainer": fields{"Image": image, "Environment": fields{slotsVariable: strconv.Itoa(d.Slots), endpointVariable: d.Name}},
		}, nil)
		if err != nil {
			return err
		}
		err = r.out.control(ctx, "CreateEndpointConfig", fields{
			"EndpointConfigName":   name,
			"ProductionVariants":   []fields{{"VariantName": variant, "ModelName": name, "InitialInstanceCount": d.Instances}},
			"AsyncInferenceConfig": fields{"ClientConfig": fields{"MaxConcurrentInvocationsPerInstance": d.Slots}, "OutputConfig": paths},
		}, nil)
		if err != nil {
			return err
		}
	}
	return r.out.control(ctx, "CreateEndpoint", fields{"EndpointName": d.Name, "EndpointConfigName": d.Name}, nil)
}

const variant = "AllTraffic"

// other is the name of a deployment's other configuration.
func (d Deployment) other() string { return d.Name + "-other" }

func (r *run) awaitInService(ctx context.Context, name string) error {
	for giveUp := time.Now().Add(startLimit); ; {
		var e struct{ EndpointStatus, FailureReason string }
		err := r.out.control(ctx, "DescribeEndpoint", fields{"EndpointName": name}, &e)
		switch {
		case err != nil:
			return err
		case e.EndpointStatus == "InService":
			return nil
		case e.EndpointStatus == "Failed" || time.Now().After(giveUp):
			return fmt.Errorf("endpoint %s is %s: %s", name, e.EndpointStatus, e.FailureReason)
		}
		if !sleepUntil(ctx, time.Now().Add(50*time.Millisecond)) {
			return context.Cause(ctx)
		}
	}
}

// edit changes what mu guards.
func (r *run) edit(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *run) add(round int, q Request) *Case {
	c := &Case{Round: round, Request: q}
	if i := slices.IndexFunc(Deployments, func(d Deployment) bool { return d.Name == q.Endpoint }); i >= 0 {
		c.Deployed = Deployments[i]
	}
	r.edit(func() {
		r.cases[q.ID] = c
		r.join(c)
	})
	return c
}

func (r *run) dropCase(c *Case) { r.edit(func() { delete(r.cases, c.Request.ID) }) }

func (r *run) note(m Moment) {
	r.edit(func() {
		r.history.Moments = append(r.history.Moments, m)
		if m.Kind.endsServer() {
			r.storms.Moments = append(r.storms.Moments, m)
		}
	})
}

// weather notes that the stores failed now and then from a time until now, and
// a moment longer: the server may look at its orders later than we write them.
func (r *run) weather(from time.Time) {
	w := Weather{From: from, Until: time.Now().Add(time.Second)}
	r.edit(func() {
		r.history.Weather, r.storms.Weather = append(r.history.Weather, w), append(r.storms.Weather, w)
	})
}

// record notes a broken promise. The caller holds mu.
func (r *run) record(b Broken) {
	b.Round = cmp.Or(b.Round, r.round)
	r.broken = append(r.broken, b)
	r.log.Error("a promise is broken", "what", b.String())
}

func (r *run) breaks(b Broken) { r.edit(func() { r.record(b) }) }

func (r *run) brokenSoFar() (out []Broken) {
	r.edit(func() { out = slices.Clone(r.broken) })
	return out
}

// unfinished reports whether anything that was accepted waits for its outcome.
func (r *run) unfinished() (any bool) {
	r.edit(func() {
		for id, c := range r.cases {
			if _, done := r.judged[id]; !done && len(c.Accepted) > 0 {
				any = true
			}
		}
	})
	return any
}

// listened are the models that may live: the newest that came to listen.
func (r *run) listened() (out []Entry) {
	r.edit(func() { out = slices.Clone(r.listening[max(0, len(r.listening)-12):]) })
	return out
}

// readJournal takes in what models have written since the last time.
func (r *run) readJournal() {
	r.reading.Lock()
	defer r.reading.Unlock()
	entries, err := r.journal.read()
	if err != nil {
		r.breaks(Broken{What: err.Error()})
	}
	r.edit(func() {
		for _, e := range entries {
			r.takeEntry(e)
		}
	})
}

// takeEntry takes in a line of the journal. The caller holds mu.
func (r *run) takeEntry(e Entry) {
	if e.Event == Listening {
		r.listening = append(r.listening, e)
		r.born[e.PID] = e.Time
		return
	}
	if e.How == Crashed {
		r.history.Moments = append(r.history.Moments, Moment{Kind: crash, PID: e.PID, Of: e.Of, From: e.Time, Until: e.Time.Add(time.Second)})
	}
	c := r.cases[e.ID]
	if c == nil {
		if e.Event == Start {
			r.record(Broken{Promise: 2, Request: e.ID, What: "it came to a model long after its outcome"})
		}
		return
	}
	if e.Event == Start {
		r.counts.attempts++
		r.resumed(e)
		c.Attempts = append(c.Attempts, Attempt{PID: e.PID, Born: r.born[e.PID], Start: e.Time, Running: e.Running, Slots: e.Slots, Overlap: e.Overlap, Early: c.Request.Order.Deed == Early})
		return
	}
	for i := range slices.Backward(c.Attempts) {
		if a := &c.Attempts[i]; a.PID == e.PID && a.End.IsZero() {
			a.End, a.How, a.Status = e.Time, e.How, e.Status
			return
		}
	}
}

// resumed notes how long after the server's end work went on. The caller holds
// mu.
func (r *run) resumed(e Entry) {
	for len(r.resumes) > 0 && e.Time.After(r.resumes[0].ended) {
		if e.Time.Before(r.resumes[0].ready.Add(-time.Second)) {
			return
		}
		r.counts.resume = max(r.counts.resume, e.Time.Sub(r.resumes[0].ended))
		r.resumes = r.resumes[1:]
	}
}

// removeMarks forgets what the models kept of a request.
func (r *run) removeMarks(id string) {
	os.Remove(filepath.Join(r.world.path(lockDir), id))
	for _, what := range []string{"crash", "busy0", "busy1"} {
		os.Remove(filepath.Join(r.world.path(onceDir), id+"."+what))
	}
}
