package torture

import (
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

const theID = "0198c1f2-5b7e-7c3a-9d2e-1f0a6b4c8d7e"

// aCase is a request that was answered well at the first attempt.
func aCase() *Case {
	q := Request{ID: "t1-1-1", Endpoint: "wide", Order: Order{Deed: Echo}, Input: Inline, Size: 20, Timeout: time.Minute}
	c := &Case{
		Round: 1, Request: q, Deployed: Deployments[0], Sent: at(0), Over: at(1000), Calls: 1,
		Accepted: []Accepted{{Invocation: theID, Output: "out/" + theID + ".out", Failure: "failed/" + theID + "-error.out"}},
		Attempts: []Attempt{{PID: 10, Born: at(-500), Start: at(100), End: at(200), Running: 1, Slots: 4, How: Answered, Status: 200}},
		Status:   &Status{InvocationID: theID, State: "Completed", Reason: "ok", ModelStatus: 200, Attempts: 1},
	}
	c.Objects = []Seen{{Key: c.Accepted[0].Output, First: at(300), Mark: theID, Noted: q.ID, Body: answerBody(q.ID, inputBody(q.ID, 20), q.Order)}}
	return c
}

// failed makes of a case one that has failed.
func failed(c *Case, reason, message string, status int, body string) {
	c.Status.State, c.Status.Reason, c.Status.FailureReason, c.Status.ModelStatus = "Failed", reason, message, status
	c.Objects[0].Key, c.Objects[0].Noted, c.Objects[0].Body = c.Accepted[0].Failure, "", []byte(body)
}

// TestJudge shows that whatever breaks a promise is found, and that what does
// not is left in peace.
func TestJudge(t *testing.T) {
	kill := Moment{Kind: KillServer, From: at(150), Until: at(160)}
	again := func(c *Case) {
		c.Attempts = append(c.Attempts, c.Attempts[0])
		c.Attempts[0].End, c.Attempts[0].How = time.Time{}, ""
		c.Attempts[1].Start, c.Attempts[1].End, c.Attempts[1].PID, c.Attempts[1].Born = at(210), at(250), 11, at(170)
	}
	for _, test := range []struct {
		name    string
		change  func(*Case)
		history History
		promise int    // that is broken; -1: none
		says    string // what the complaint has in it
	}{
		{"all is well", func(*Case) {}, History{}, -1, ""},
		{"lost", func(c *Case) { c.Status = nil }, History{}, 1, "does not know it"},
		{"completed without an object", func(c *Case) { c.Objects = nil }, History{}, 1, "no object"},
		{"failed without an object", func(c *Case) { failed(c, "timeout", "m", 0, "m"); c.Objects = nil }, History{}, 6, "no object"},
		{"two invocations of one token", func(c *Case) { c.Accepted = append(c.Accepted, Accepted{Invocation: "other"}) }, History{}, 2, "2 invocations"},
		{"a newer invocation of the request", func(c *Case) { c.Status.InvocationID = "other"; c.Objects[0].Mark = "other" }, History{}, 2, "newest"},
		{"both objects", func(c *Case) {
			c.Objects = append(c.Objects, Seen{Key: c.Accepted[0].Failure, First: at(300), Mark: theID})
		}, History{}, 2, "there is the object failed/"},
		{"an object elsewhere", func(c *Case) { c.Objects = append(c.Objects, Seen{Key: "out/x", First: at(300)}) }, History{}, 2, "another object"},
		{"an object that changed", func(c *Case) { c.Objects[0].Changed = "had changed" }, History{}, 3, "had changed"},
		{"another's mark", func(c *Case) { c.Objects[0].Mark = "other" }, History{}, 3, `invocation "other"`},
		{"another's content", func(c *Case) { c.Objects[0].Body = []byte("x") }, History{}, 2, "begin with"},
		{"half of the content", func(c *Case) { c.Objects[0].Body = c.Objects[0].Body[:30] }, History{}, 2, "30 bytes"},
		{"another's attributes", func(c *Case) { c.Objects[0].Noted = "" }, History{}, 2, "custom attributes"},
		{"two attempts at a time", func(c *Case) { c.Attempts[0].Overlap = true }, History{}, 3, "while another one ran"},
		{"too many at a time", func(c *Case) { c.Attempts[0].Running = 5 }, History{}, 7, "5 at a time"},
		{"an attempt after the outcome", func(c *Case) { c.Attempts[0].Start = at(400) }, History{}, 2, "after the object"},
		{"an attempt that was sent before the outcome", func(c *Case) { c.Attempts[0].Start = at(400) },
			History{Moments: []Moment{{Kind: FreezeModel, PID: 10, From: at(50), Until: at(390)}}}, -1, ""},
		{"an attempt again for no reason", again, History{}, 3, "nothing had broken"},
		{"an attempt again after a kill", again, History{Moments: []Moment{kill}}, -1, ""},
		{"an attempt again that was seen just after the kill", again, History{Moments: []Moment{{Kind: KillServer, From: at(70), Until: at(90)}}}, -1, ""},
		{"an attempt again long after a kill", func(c *Case) { again(c); c.Attempts[0].Born = at(95) }, History{Moments: []Moment{{Kind: KillServer, From: at(70), Until: at(90)}}}, 3, "nothing had broken"},
		{"an attempt again after another model's kill", again, History{Moments: []Moment{{Kind: KillModel, PID: 99, From: at(150), Until: at(160)}}}, 3, "nothing had broken"},
		{"an attempt again after its model's kill", again, History{Moments: []Moment{{Kind: KillModel, PID: 10, From: at(150), Until: at(160)}}}, -1, ""},
		{"an attempt again after its model's crash", again, History{Moments: []Moment{{Kind: crash, PID: 10, From: at(150), Until: at(160)}}}, -1, ""},
		{"an attempt again after its connection's end and then its model's kill", func(c *Case) {
			again(c)
			c.Attempts[0].End, c.Attempts[0].How = at(120), Dropped
		}, History{Moments: []Moment{{Kind: KillModel, PID: 10, From: at(150), Until: at(160)}}}, -1, ""},
		{"an attempt again after its connection's end, a freeze and its model's kill", func(c *Case) {
			again(c)
			c.Attempts[0].End, c.Attempts[0].How = at(120), Dropped
			c.Attempts[1].Start, c.Attempts[1].End = at(9000), at(9100)
			c.Objects[0].First = at(9500)
		}, History{Moments: []Moment{{Kind: KillModel, PID: 10, From: at(8000), Until: at(8010)}, {Kind: FreezeServer, From: at(200), Until: at(7000)}}}, -1, ""},
		{"an attempt again after its connection's end and much later its model's kill", func(c *Case) {
			again(c)
			c.Attempts[0].End, c.Attempts[0].How = at(120), Dropped
			c.Attempts[1].Start, c.Attempts[1].End = at(9000), at(9100)
			c.Objects[0].First = at(9500)
		}, History{Moments: []Moment{{Kind: KillModel, PID: 10, From: at(8000), Until: at(8010)}}}, 3, "nothing had broken"},
		{"lost too often", func(c *Case) {
			c.Attempts = nil
			for i := range 4 {
				c.Attempts = append(c.Attempts, Attempt{PID: i, Start: at(10 * i), End: at(10*i + 1), How: Crashed, Slots: 4})
			}
			c.Request.Order.Deed = Poison
			failed(c, "instance_lost", "m", 0, "m")
		}, History{}, 4, "4 attempts"},
		{"lost as often as it may", func(c *Case) {
			c.Attempts = nil
			for i := range 3 {
				c.Attempts = append(c.Attempts, Attempt{PID: i, Start: at(10 * i), End: at(10*i + 1), How: Crashed, Slots: 4})
			}
			c.Request.Order.Deed = Poison
			failed(c, "instance_lost", "m", 0, "m")
		}, History{Moments: []Moment{
			{Kind: crash, Of: "wide", From: at(1), Until: at(1)}, {Kind: KillModel, Of: "wide", From: at(11), Until: at(11)}, {Kind: crash, Of: "wide", From: at(21), Until: at(21)},
		}}, -1, ""},
		{"lost with instances of others", func(c *Case) { failed(c, "instance_lost", "m", 0, "m") }, History{Moments: []Moment{
			{Kind: crash, Of: "wide", From: at(1), Until: at(1)}, {Kind: crash, Of: "narrow", From: at(11), Until: at(11)}, {Kind: crash, Of: "wide", From: at(-21), Until: at(-21)},
		}}, 4, "only 1 instances"},
		{"not lost as often as it says", func(c *Case) { failed(c, "instance_lost", "m", 0, "m") }, History{}, 4, "only 0 instances"},
		{"no failure reason", func(c *Case) { c.Request.Input = Missing; failed(c, "download", "", 0, "") }, History{}, 6, "empty"},
		{"a false download", func(c *Case) { failed(c, "download", "m", 0, "m") }, History{}, 4, "the input is there"},
		{"a false time-out", func(c *Case) { failed(c, "timeout", "m", 0, "m"); c.Status.State = "Expired" }, History{}, 4, "at most"},
		{"a time-out that the model has not seen", func(c *Case) {
			failed(c, "timeout", "m", 0, "m")
			c.Status.State, c.Attempts = "Expired", nil
		}, History{Moments: []Moment{{Kind: FreezeModel, Of: "wide", From: at(50), Until: at(5000)}}}, -1, ""},
		{"a time-out that no model has seen", func(c *Case) {
			failed(c, "timeout", "m", 0, "m")
			c.Status.State, c.Attempts = "Expired", nil
		}, History{Moments: []Moment{{Kind: FreezeModel, Of: "narrow", From: at(50), Until: at(5000)}}}, 4, "at most"},
		{"a time-out while the server was frozen", func(c *Case) {
			failed(c, "timeout", "m", 0, "m")
			c.Status.State = "Expired"
		}, History{Moments: []Moment{{Kind: FreezeServer, From: at(150), Until: at(99000)}}}, 4, "at most"},
		{"a true time-out", func(c *Case) {
			failed(c, "timeout", "m", 0, "m")
			c.Status.State = "Expired"
			c.Attempts[0].How = Cut
		}, History{}, -1, ""},
		{"a time-out in the wrong state", func(c *Case) {
			failed(c, "timeout", "m", 0, "m")
			c.Attempts[0].How = Cut
		}, History{}, 4, "want Expired"},
		{"a refusal", func(c *Case) {
			c.Request.Order = Order{Deed: Refuse, Status: 500}
			c.Attempts[0].Status = 500
			failed(c, "model_server_error", "m", 500, string(refusalBody(c.Request.ID, c.Request.Order)))
		}, History{}, -1, ""},
		{"a refusal with another status", func(c *Case) {
			c.Request.Order = Order{Deed: Refuse, Status: 500}
			c.Attempts[0].Status = 500
			failed(c, "model_client_error", "m", 400, string(refusalBody(c.Request.ID, c.Request.Order)))
		}, History{}, 4, "never answered 400"},
		{"a success that was none", func(c *Case) { c.Attempts[0].How = Dropped }, History{}, 4, "never answered 200"},
		{"a success that was ordered otherwise", func(c *Case) { c.Request.Order.Deed = DropBefore }, History{}, 4, "drop-before"},
		{"a false broken connection", func(c *Case) { failed(c, "model_no_answer", "m", 0, "m") }, History{}, 4, "told to echo"},
		{"a false death of servers", func(c *Case) { failed(c, "server_died", "m", 0, "m") }, History{Moments: []Moment{kill}}, 4, "1 times only"},
		{"a false upload", func(c *Case) { failed(c, "upload", "m", 0, "m") }, History{}, 4, "nothing of that kind"},
		{"a false loss of the store", func(c *Case) { failed(c, "upload_lost", "m", 0, "m") }, History{}, 4, "did not fail"},
		{"expired too early", func(c *Case) {
			failed(c, "expired", "m", 0, "m")
			c.Status.State, c.Status.Attempts, c.Attempts = "Expired", 0, nil
		}, History{Moments: []Moment{{Kind: Sleep, By: time.Hour, From: at(50), Until: at(50)}}}, 4, "it may wait for 6h"},
		{"expired in time", func(c *Case) {
			failed(c, "expired", "m", 0, "m")
			c.Status.State, c.Status.Attempts, c.Attempts, c.Request.TTL = "Expired", 0, nil, time.Minute
		}, History{Moments: []Moment{{Kind: Sleep, By: time.Hour, From: at(50), Until: at(50)}}}, -1, ""},
		{"expired before it was sent", func(c *Case) {
			failed(c, "expired", "m", 0, "m")
			c.Status.State, c.Status.Attempts, c.Attempts, c.Request.TTL = "Expired", 0, nil, time.Minute
		}, History{Moments: []Moment{{Kind: Sleep, By: time.Hour, From: at(-50), Until: at(-50)}}}, 4, "it may wait for 1m"},
		{"an endpoint that was not deleted", func(c *Case) { failed(c, "endpoint_deleted", "m", 0, "m") },
			History{Moments: []Moment{{Kind: Recreate, From: at(50), Until: at(50)}}}, 4, "was not deleted"},
		{"an endpoint that was deleted", func(c *Case) {
			failed(c, "endpoint_deleted", "m", 0, "m")
			c.Deployed.Doomed = true
		}, History{Moments: []Moment{{Kind: Recreate, From: at(50), Until: at(50)}}}, -1, ""},
		{"refused", func(c *Case) { *c = Case{Request: c.Request, Refused: 400} }, History{}, -1, ""},
		{"refused and run", func(c *Case) { c.Accepted, c.Status, c.Objects, c.Refused = nil, nil, nil, 400 }, History{}, 1, "never accepted"},
		{"refused and there", func(c *Case) { c.Accepted, c.Status, c.Attempts, c.Refused = nil, nil, nil, 400 }, History{}, 2, "never accepted"},
		{"refused and known", func(c *Case) { c.Accepted, c.Attempts, c.Objects, c.Refused = nil, nil, nil, 400 }, History{}, 5, "refused with 400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := aCase()
			test.change(c)
			wantBroken(t, c.Judge(test.history), test.promise, test.says)
		})
	}
}

// wantBroken looks for a complaint about a promise that says something; with a
// negative promise nothing is to be complained of.
func wantBroken(t *testing.T, broken []Broken, promise int, says string) {
	t.Helper()
	if promise < 0 {
		if len(broken) > 0 {
			t.Errorf("got %v, want nothing", broken)
		}
		return
	}
	for _, b := range broken {
		if b.Promise == promise && strings.Contains(b.What, says) {
			return
		}
	}
	t.Errorf("got %v, want promise %d and %q", broken, promise, says)
}

func TestConservation(t *testing.T) {
	metrics := func(accepted, queued, completed, drift float64) Metrics {
		return Metrics{
			`deferd_invocations_accepted_total{endpoint="wide"}`:    accepted,
			`deferd_invocations{endpoint="wide",state="Queued"}`:    queued,
			`deferd_invocations{endpoint="wide",state="Completed"}`: completed,
			`deferd_conservation_drift{endpoint="wide"}`:            drift,
		}
	}
	for _, test := range []struct {
		name  string
		m     Metrics
		known bound
		want  int
	}{
		{"all is well", metrics(10, 3, 7, 0), bound{9, 10}, 0},
		{"one is missing", metrics(10, 3, 6, 0), bound{10, 10}, 1},
		{"it says so itself", metrics(10, 3, 7, 1), bound{10, 10}, 1},
		{"fewer than clients were answered", metrics(10, 3, 7, 0), bound{11, 12}, 1},
		{"more than clients asked for", metrics(10, 3, 7, 0), bound{7, 9}, 1},
		{"no series", Metrics{}, bound{7, 9}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.m.conservation(map[string]bound{"wide": test.known}); len(got) != test.want {
				t.Errorf("got %v, want %d complaints", got, test.want)
			}
		})
	}
}
