package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/deferd/deferd"
)

// A target is what scales a variant: one that was registered, or the variant's
// own managed scaling.
type target struct {
	deferd.ScalableTarget
	own *deferd.ScalingPolicy // of managed scaling; nil: those that were put
}

// managedPolicy is the policy of managed scaling: an instance is to have as much
// as it can run at a time.
const managedPolicy = "ManagedInstanceScaling"

// mostManaged is how many instances managed scaling makes where nothing says how
// many there may be.
const mostManaged = 100

// targets are what scales an endpoint's variants. A target of an earlier
// endpoint of that name is none of its own.
func (s *scaler) targets(ctx context.Context, e deferd.Endpoint) ([]target, error) {
	var targets []target
	for d, err := range documents(ctx, s.c.Store, deferd.KindTarget, e.Account, deferd.VariantRef{Endpoint: e.Name}.String()) {
		if err != nil {
			return nil, err
		}
		t, err := deferd.ReadScalableTarget(d)
		if err != nil {
			return nil, err
		}
		if t.EndpointID == e.ID {
			targets = append(targets, target{ScalableTarget: t})
		}
	}
	config, err := s.c.Store.ConfigByID(ctx, e.ConfigID)
	if err != nil {
		return nil, err
	}
	for _, v := range config.Variants {
		registered := slices.ContainsFunc(targets, func(t target) bool { return t.Resource.Variant == v.Name })
		if v.Managed != nil && !registered {
			targets = append(targets, s.managed(e, config, v))
		}
	}
	return targets, nil
}

// managed is a variant's managed scaling as a target.
func (s *scaler) managed(e deferd.Endpoint, config deferd.Config, v deferd.Variant) target {
	slots := deferd.DefaultConcurrency
	if config.Async != nil && config.Async.Concurrency > 0 {
		slots = config.Async.Concurrency
	}
	r := deferd.VariantRef{Endpoint: e.Name, Variant: v.Name}
	most := v.Managed.Max
	if most == 0 {
		most = mostManaged
	}
	return target{
		deferd.ScalableTarget{Account: e.Account, Resource: r, EndpointID: e.ID, Min: v.Managed.Min, Max: max(most, v.Managed.Min)},
		&deferd.ScalingPolicy{Name: managedPolicy, Account: e.Account, Resource: r, Tracking: &deferd.TargetTracking{
			Target: float64(slots), Metric: deferd.ScalingMetric{Own: deferd.MetricBacklogPerInstance},
			OutCooldown: deferd.DefaultCooldown, InCooldown: deferd.DefaultCooldown,
		}},
	}
}

// readPolicies reads the policies of a target.
func (s *scaler) readPolicies(ctx context.Context, t target) ([]deferd.ScalingPolicy, error) {
	if t.own != nil {
		return []deferd.ScalingPolicy{*t.own}, nil
	}
	var policies []deferd.ScalingPolicy
	for d, err := range documents(ctx, s.c.Store, deferd.KindScalingPolicy, t.Account, deferd.ScalingName(t.Resource, "")) {
		if err != nil {
			return nil, err
		}
		p, err := deferd.ReadScalingPolicy(d)
		if err != nil {
			return nil, err
		}
		policies = append(policies, p)
	}
	return policies, nil
}

// known is what is remembered of a target, which gets from it what no document
// has; of one that is new to this life, the activity that an earlier one may
// have left in progress.
func (s *scaler) known(ctx context.Context, ep *scaledEndpoint, t *target) (*scaledTarget, error) {
	if known := ep.targets[t.Resource.Variant]; known != nil {
		if t.own != nil {
			t.LastIn, t.LastOut = known.managed.LastIn, known.managed.LastOut
		}
		return known, nil
	}
	known := &scaledTarget{}
	last, err := s.c.Store.Documents(ctx, deferd.KindScalingActivity, t.Account, deferd.ScalingName(t.Resource, ""), "", 1)
	if err != nil {
		return nil, err
	}
	if len(last) > 0 {
		a, err := deferd.ReadScalingActivity(last[0])
		if err != nil {
			return nil, err
		}
		if a.Status == deferd.ActivityInProgress {
			known.pending = &a
		}
	}
	ep.targets[t.Resource.Variant] = known
	return known, nil
}

// note keeps what cooldowns are counted from.
func (s *scaler) note(ctx context.Context, t target, known *scaledTarget, d deferd.Scaling, current int, now time.Time) error {
	if t.own != nil {
		t.Applied(d, current, now)
		known.managed = t.ScalableTarget
		return nil
	}
	for {
		t.Applied(d, current, now)
		document, err := t.Document()
		if err != nil {
			return err
		}
		_, err = s.c.Store.PutDocument(ctx, document)
		if err == nil || deferd.CodeOf(err) != deferd.Changed {
			return err
		}
		// It was registered anew meanwhile.
		document, err = s.c.Store.Document(ctx, deferd.KindTarget, t.Account, t.Resource.String())
		if err != nil {
			return err
		}
		if t.ScalableTarget, err = deferd.ReadScalableTarget(document); err != nil {
			return err
		}
	}
}
