package main

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/google/uuid"
)

// act does what an alarm asks for.
func (srv *server) act(ctx context.Context, arn string, c deferd.AlarmChange) (again bool, err error) {
	if strings.Contains(arn, ":sns:") {
		return false, srv.queue.AddNotice(ctx, c.Alarm.Account, srv.alarmNotice(arn, c))
	}
	if !strings.Contains(arn, ":scalingPolicy:") {
		return false, nil
	}
	r := deferd.AlarmReading{Alarm: c.Alarm.Name, Threshold: c.Alarm.Threshold}
	if c.Known {
		r.Values = []float64{c.Value}
	}
	return srv.scheduler.ActOnAlarm(ctx, arn, r)
}

// alarmNotice is what a topic is told of an alarm. A change that is acted on
// twice is one notification.
func (srv *server) alarmNotice(topic string, c deferd.AlarmChange) deferd.Notification {
	n := deferd.Notification{Target: topic}
	n.Subject, n.Message = c.Notice(srv.settings.region())
	change := c.Alarm.ARN + " " + string(c.Alarm.State) + " " + c.At.UTC().Format(time.RFC3339Nano)
	n.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(change)).String()
	return n
}

// historyMetrics are the metrics that scaling policies may track beyond the
// endpoints' own.
type historyMetrics struct{ history deferd.History }

func (m historyMetrics) Values(ctx context.Context, a deferd.AccountID, of deferd.ScalingMetric, now time.Time, n int) ([]float64, error) {
	var dims []deferd.Dimension
	for name, v := range of.Dimensions {
		dims = append(dims, deferd.Dimension{Name: name, Value: v})
	}
	end := now.Truncate(time.Minute)
	begin := end.Add(-time.Duration(n) * time.Minute)
	points, err := m.history.Points(ctx, deferd.Series{
		Account: a, Namespace: of.Namespace, Metric: of.Name, Dimensions: deferd.MakeDimensions(dims...), Unit: of.Unit,
	}, begin, end)
	if err != nil {
		return nil, err
	}
	values := make([]float64, n)
	for i := range values {
		values[i] = math.NaN()
	}
	for _, p := range points {
		i := int(p.Minute.Sub(begin) / time.Minute)
		if v, ok := p.Statistic(of.Statistic); ok && i >= 0 && i < n {
			values[i] = v
		}
	}
	return values, nil
}
