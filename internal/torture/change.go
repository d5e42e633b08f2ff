package torture

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// changeLimit is how long a change of an endpoint may take, whatever else is
// broken meanwhile.
const changeLimit = 2 * time.Minute

// changeEndpoint changes an endpoint while it works, and leaves it in service.
// Where another change is under way nothing happens.
func (r *run) changeEndpoint(ctx context.Context, f Fault) {
	d := doomed()
	if f.Kind != Recreate {
		d = deployment(f.Endpoint)
	}
	one := r.changing[d.Name]
	if !one.TryLock() {
		return
	}
	defer one.Unlock()
	ctx, cancel := context.WithTimeout(ctx, changeLimit)
	defer cancel()
	var err error
	switch f.Kind {
	case Rescale:
		err = r.rescale(ctx, d, 0)
		if err == nil {
			sleepUntil(ctx, time.Now().Add(f.For))
			err = r.rescale(ctx, d, d.Instances)
		}
	case Update:
		err = r.update(ctx, d)
	case Recreate:
		err = r.recreate(ctx, d)
	}
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		r.breaks(Broken{What: fmt.Sprintf("%s of endpoint %s: %v", f.Kind, d.Name, err)})
	}
}

func deployment(name string) Deployment {
	for _, d := range Deployments {
		if d.Name == name {
			return d
		}
	}
	return Deployment{}
}

func doomed() Deployment {
	for _, d := range Deployments {
		if d.Doomed {
			return d
		}
	}
	return Deployment{}
}

// insist makes a change again until it is made, or made already, or ctx ends.
func (r *run) insist(ctx context.Context, change func() error) error {
	for {
		err := change()
		if err == nil {
			return nil
		}
		if !sleepUntil(ctx, time.Now().Add(100*time.Millisecond)) {
			return fmt.Errorf("it was not done within %v: %w", changeLimit, err)
		}
	}
}

func (r *run) rescale(ctx context.Context, d Deployment, n int) error {
	err := r.insist(ctx, func() error {
		return r.out.control(ctx, "UpdateEndpointWeightsAndCapacities", fields{
			"EndpointName": d.Name, "DesiredWeightsAndCapacities": []fields{{"VariantName": variant, "DesiredInstanceCount": n}},
		}, nil)
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return nil // instances may have to finish first
	}
	return r.insist(ctx, func() error { return r.inService(ctx, d) })
}

// update brings the endpoint's other configuration into service. It may take
// the old one again where too much breaks meanwhile.
func (r *run) update(ctx context.Context, d Deployment) error {
	err := r.insist(ctx, func() error {
		e, err := r.describe(ctx, d)
		if err != nil {
			return err
		}
		next := d.Name
		if e.EndpointConfigName == d.Name {
			next = d.other()
		}
		return r.out.control(ctx, "UpdateEndpoint", fields{"EndpointName": d.Name, "EndpointConfigName": next}, nil)
	})
	if err != nil {
		return err
	}
	return r.insist(ctx, func() error { return r.inService(ctx, d) })
}

// recreate deletes an endpoint with everything that is queued, and creates it
// again. Nobody is in the middle of asking it for something meanwhile.
func (r *run) recreate(ctx context.Context, d Deployment) error {
	err := r.insist(ctx, func() error {
		r.steady.Lock()
		defer r.steady.Unlock()
		return r.delete(ctx, d)
	})
	if err != nil {
		return err
	}
	for {
		err := r.insist(ctx, func() error {
			if e, err := r.describe(ctx, d); err == nil && (e.EndpointStatus == "Creating" || e.EndpointStatus == "InService" || e.EndpointStatus == "Failed") {
				return nil // created, and the answer was lost
			}
			return r.out.control(ctx, "CreateEndpoint", fields{"EndpointName": d.Name, "EndpointConfigName": d.Name}, nil)
		})
		if err != nil {
			return err
		}
		failed := false
		err = r.insist(ctx, func() error {
			e, err := r.describe(ctx, d)
			failed = err == nil && e.EndpointStatus == "Failed"
			if err == nil && e.EndpointStatus != "InService" && !failed {
				err = fmt.Errorf("it is %s: %s", e.EndpointStatus, e.FailureReason)
			}
			return err
		})
		if err != nil || !failed {
			return err
		}
		// Its instances were killed while it came up: that is held against it.
		if err := r.insist(ctx, func() error { return r.delete(ctx, d) }); err != nil {
			return err
		}
	}
}

// delete deletes an endpoint. It is noted before, since it may be done and not
// answered.
func (r *run) delete(ctx context.Context, d Deployment) error {
	from := time.Now()
	r.note(Moment{Kind: Recreate, From: from, Until: from.Add(time.Hour)})
	err := r.out.control(ctx, "DeleteEndpoint", fields{"EndpointName": d.Name}, nil)
	r.edit(func() {
		for i, m := range r.history.Moments {
			if m.Kind == Recreate && m.From.Equal(from) {
				r.history.Moments[i].Until = time.Now()
			}
		}
	})
	if e, err := r.describe(ctx, d); err == nil && e.EndpointStatus == "Deleting" || err != nil && strings.Contains(err.Error(), "Could not find") {
		return nil
	}
	return err
}

// A description is what DescribeEndpoint says.
type description struct{ EndpointStatus, EndpointConfigName, FailureReason string }

func (r *run) describe(ctx context.Context, d Deployment) (e description, err error) {
	return e, r.out.control(ctx, "DescribeEndpoint", fields{"EndpointName": d.Name}, &e)
}

func (r *run) inService(ctx context.Context, d Deployment) error {
	e, err := r.describe(ctx, d)
	if err == nil && e.EndpointStatus != "InService" {
		return fmt.Errorf("it is %s: %s", e.EndpointStatus, e.FailureReason)
	}
	return err
}
