package history

import (
	"time"

	"github.com/deferd/deferd"
)

// Finished takes an invocation that has just ended, with what was published of
// it. It is cheap and never blocks.
func (r *Recorder) Finished(p deferd.Publication) {
	inv, o := &p.Invocation, &p.Outcome
	now := r.store.Now()
	add := func(metric string, x float64) { r.add(inv.Endpoint, inv.Variant, metric, x) }
	took := func(metric string, d time.Duration) { r.took(inv.Endpoint, inv.Variant, metric, d) }
	staging := r.attempts.staged(inv.ID)

	if o.Reason == deferd.TTLExpired {
		add(deferd.ExpiredRequests, 1)
		return
	}
	if o.State == deferd.Cancelled {
		return
	}
	add(deferd.InvocationsProcessed, 1)
	if o.State != deferd.Completed {
		add(deferd.InvocationFailures, 1)
	}
	switch o.Reason {
	case deferd.Download, deferd.DownloadLost:
		add(deferd.DownloadFailures, 1)
	case deferd.UploadFailed, deferd.UploadLost:
		add(deferd.UploadFailures, 1)
	}
	add(deferd.Invocation4XXErrors, oneIf(o.Reason == deferd.ModelClientError))
	add(deferd.Invocation5XXErrors, oneIf(o.Reason == deferd.ModelServerError))
	if !inv.Claimed.IsZero() {
		took(deferd.TimeInBacklog, inv.Claimed.Sub(inv.Accepted))
	}
	if !inv.Object(o.State).IsZero() && o.Reason != deferd.UploadFailed {
		took(deferd.UploadLatency, staging+now.Sub(inv.Settled))
	}
	took(deferd.ProcessingTime, now.Sub(inv.Accepted))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// NotificationFailed counts a notification of an endpoint that is given up.
func (r *Recorder) NotificationFailed(e deferd.EndpointID, v deferd.VariantName) {
	r.add(e, v, deferd.NotificationFailures, 1)
}

// took records how long something took, in the metric's own unit.
func (r *Recorder) took(id deferd.EndpointID, v deferd.VariantName, metric string, d time.Duration) {
	d = max(d, 0)
	unit := time.Microsecond
	if m, _ := deferd.FindMetric(metric); m.Unit == "Milliseconds" {
		unit = time.Millisecond
	}
	r.add(id, v, metric, float64(d)/float64(unit))
	r.c.Observe(id, metric, d)
}
