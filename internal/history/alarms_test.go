package history

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/deferd/deferd"
)

func (b *bench) putAlarm(a deferd.Alarm) {
	b.t.Helper()
	d, err := a.Document(0)
	b.must(err)
	_, err = b.queue.PutDocument(b.t.Context(), d)
	b.must(err)
}

func (b *bench) alarm(name string) deferd.Alarm {
	b.t.Helper()
	d, err := b.db.Store.Document(b.t.Context(), deferd.KindAlarm, account, name)
	b.must(err)
	a, err := deferd.AlarmOf(d)
	b.must(err)
	return a
}

func (b *bench) acted() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := strings.Join(b.actions, ", ")
	b.actions = nil
	return s
}

// policy is the ARN of a scaling policy, as far as it matters.
const policy = "arn:x:scalingPolicy:wake"

// stuck is AWS's own alarm that wakes an endpoint at zero.
func stuck() deferd.Alarm {
	return deferd.Alarm{
		Account: account, Name: "stuck", Namespace: deferd.SageMakerNamespace, Metric: deferd.BacklogWithoutCapacity,
		Dimensions: deferd.MakeDimensions(deferd.Dimension{Name: "EndpointName", Value: "ep"}), Statistic: "Average",
		Period: time.Minute, Periods: 2, Datapoints: 2, Threshold: 1, Comparison: "GreaterThanOrEqualToThreshold", MissingData: "missing",
		ActionsEnabled: true, AlarmActions: []string{"topic", policy}, OKActions: []string{"fine"}, State: deferd.AlarmInsufficient,
	}
}

func TestAlarm(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		b.putAlarm(stuck())
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if a := b.alarm("stuck"); a.State != deferd.AlarmOK {
			t.Fatalf("at rest the alarm is %s (%s), want OK", a.State, a.Reason)
		}
		if got, want := b.acted(), "fine OK"; got != want {
			t.Errorf("actions are %q, want %q", got, want)
		}
		reads := b.db.reads.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := b.db.reads.Load(); got != reads {
			t.Errorf("an hour at rest cost %d reads, want none", got-reads)
		}
		b.instances.Store(0)
		b.accept()
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		a := b.alarm("stuck")
		if got, want := b.acted(), "topic ALARM, "+policy+" ALARM"; a.State != deferd.AlarmRaised || got != want {
			t.Errorf("with a backlog the alarm is %s (%s), actions %q; want ALARM and %q", a.State, a.Reason, got, want)
		}
		b.again = true
		b.AlarmChanged(deferd.AlarmChange{Alarm: a, Old: deferd.AlarmOK})
		synctest.Wait()
		if got, want := b.acted(), "topic ALARM, "+policy+" ALARM"; got != want {
			t.Errorf("set by hand, actions are %q, want %q", got, want)
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		again := strings.Repeat(", "+policy+" ALARM", 3)[2:]
		if got := b.acted(); got != again {
			t.Errorf("wanting more, actions are %q, want %q", got, again)
		}
		b.alarms.drop("stuck") // as after a restart
		b.alarms.load(t.Context())
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := b.acted(); got != again {
			t.Errorf("after a restart, actions are %q, want %q", got, again)
		}
		b.must(b.queue.DeleteDocument(t.Context(), deferd.KindAlarm, account, "stuck"))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := b.acted(); got != "" {
			t.Errorf("deleted, actions are %q, want none", got)
		}
	})
}

// An alarm on an endpoint that does not live has nothing to say.
func TestAlarmWithoutEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		a := stuck()
		a.Dimensions = deferd.MakeDimensions(deferd.Dimension{Name: "EndpointName", Value: "later"})
		a.State = deferd.AlarmOK
		b.putAlarm(a)
		want := func(s deferd.AlarmState) {
			t.Helper()
			time.Sleep(6 * time.Minute)
			synctest.Wait()
			if got := b.alarm("stuck").State; got != s {
				t.Errorf("the alarm is %s, want %s", got, s)
			}
		}
		want(deferd.AlarmInsufficient)
		b.addEndpoint("later")
		want(deferd.AlarmOK)
		_, err := b.queue.ChangeEndpoint(t.Context(), "id-later", func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
		b.must(err)
		b.must(b.queue.RemoveEndpoint(t.Context(), "id-later"))
		want(deferd.AlarmInsufficient)
	})
}

// A hundred endpoints at rest cost what one does, also with alarms on them.
func TestManyAtRest(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bench) {
		for i := range 100 {
			name := fmt.Sprint("ep-", i)
			b.addEndpoint(name)
			for _, metric := range []string{deferd.BacklogWithoutCapacity, deferd.BacklogSizePerInstance} {
				a := stuck()
				a.Name, a.Metric = name+metric, metric
				a.Dimensions = deferd.MakeDimensions(deferd.Dimension{Name: "EndpointName", Value: name})
				b.putAlarm(a)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		reads, writes := b.db.reads.Load(), b.db.writes.Load()
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if r, w := b.db.reads.Load()-reads, b.db.writes.Load()-writes; r+w > 0 {
			t.Errorf("three hours at rest: %d reads and %d writes, want none", r, w)
		}
		if got := b.alarm("ep-7" + deferd.BacklogSizePerInstance).State; got != deferd.AlarmOK {
			t.Errorf("the alarm of one of them is %s, want OK", got)
		}
	})
}
