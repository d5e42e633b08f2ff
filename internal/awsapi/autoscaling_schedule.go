package awsapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// maxActions is how many scheduled actions a target may have.
const maxActions = 200

// putAction makes a scheduled action of a target, or changes one. What is left
// out stays as it is.
func (s *Server) putAction(c *call, in *awsmodel.PutScheduledActionRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	t, err := s.registered(c, r)
	if err != nil {
		return nil, err
	}
	err = s.put(c.ctx(), func() (deferd.Document, error) {
		a, err := s.action(c, r, *in.ScheduledActionName)
		if err != nil && deferd.CodeOf(err) == deferd.NotFound {
			a, err = s.newAction(c, r, *in.ScheduledActionName)
		}
		if err == nil {
			err = s.changeAction(&a, in)
		}
		if err != nil {
			return deferd.Document{}, err
		}
		return a.Document()
	})
	if err != nil {
		return nil, err
	}
	s.Changed(t.EndpointID)
	return awsmodel.PutScheduledActionResponse{}, nil
}

// newAction is an action that says nothing yet.
func (s *Server) newAction(c *call, r deferd.VariantRef, name string) (deferd.ScheduledAction, error) {
	a := deferd.ScheduledAction{ID: uuid.NewString(), Name: name, Account: c.principal.Account, Resource: r, Created: s.Store.Now()}
	a.ARN = "arn:aws:autoscaling:" + s.Region + ":" + string(a.Account) + ":scheduledAction:" + a.ID + ":resource/sagemaker/" + r.String() + ":scheduledActionName/" + name
	docs, err := s.Store.Documents(c.ctx(), deferd.KindScheduledAction, a.Account, deferd.ScalingName(r, ""), "", maxActions)
	if err == nil && len(docs) == maxActions {
		err = &failure{status: http.StatusBadRequest, code: "LimitExceededException", msg: fmt.Sprintf("A scalable target cannot have more than %d scheduled actions.", maxActions)}
	}
	return a, err
}

// changeAction changes an action as asked. Times that are over are not made up
// for.
func (s *Server) changeAction(a *deferd.ScheduledAction, in *awsmodel.PutScheduledActionRequest) error {
	a.Last = s.Store.Now()
	for member, asked := range map[*string]*string{&a.Schedule: in.Schedule, &a.Timezone: in.Timezone} {
		if asked != nil {
			*member = *asked
		}
	}
	for member, asked := range map[*time.Time]*awsmodel.Timestamp{&a.Start: in.StartTime, &a.End: in.EndTime} {
		if asked != nil {
			*member = asked.Time
		}
	}
	if to := in.ScalableTargetAction; to != nil {
		a.Min, a.Max = bound(to.MinCapacity), bound(to.MaxCapacity)
	}
	switch {
	case a.Schedule == "":
		return deferd.Errorf(deferd.Invalid, "Schedule is required when creating a scheduled action.")
	case a.Min == nil && a.Max == nil:
		return deferd.Errorf(deferd.Invalid, "ScalableTargetAction must have MinCapacity, MaxCapacity or both.")
	case a.Min != nil && *a.Min < 0 || a.Max != nil && *a.Max < 0:
		return deferd.Errorf(deferd.Invalid, "Minimum capacity cannot be less than 0.")
	case a.Min != nil && a.Max != nil && *a.Max < *a.Min:
		return deferd.Errorf(deferd.Invalid, "Maximum capacity cannot be less than minimum capacity.")
	case !a.Start.IsZero() && !deferd.Schedulable(a.Start), !a.End.IsZero() && !deferd.Schedulable(a.End):
		return deferd.Errorf(deferd.Invalid, "StartTime and EndTime must lie between 1970 and 2199.")
	case !a.End.IsZero() && !a.End.After(a.Start):
		return deferd.Errorf(deferd.Invalid, "EndTime must be after StartTime.")
	}
	due, err := a.Due()
	if err == nil && due.IsZero() {
		err = deferd.Errorf(deferd.Invalid, "The scheduled action would never be carried out: all times of its schedule are over.")
	}
	return err
}

func bound(n *int32) *int {
	if n == nil {
		return nil
	}
	return new(int(*n))
}

func (s *Server) action(c *call, r deferd.VariantRef, name string) (deferd.ScheduledAction, error) {
	d, err := s.Store.Document(c.ctx(), deferd.KindScheduledAction, c.principal.Account, deferd.ScalingName(r, name))
	if err != nil {
		return deferd.ScheduledAction{}, err
	}
	return deferd.ReadScheduledAction(d)
}

func (s *Server) deleteAction(c *call, in *awsmodel.DeleteScheduledActionRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	err = s.Store.DeleteDocument(c.ctx(), deferd.KindScheduledAction, c.principal.Account, deferd.ScalingName(r, *in.ScheduledActionName))
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		return nil, notScaled("scheduled action found", r, *in.ScheduledActionName)
	}
	if err != nil {
		return nil, err
	}
	return awsmodel.DeleteScheduledActionResponse{}, nil
}

func (s *Server) describeActions(c *call, in *awsmodel.DescribeScheduledActionsRequest) (any, error) {
	q, err := ofResource(deferd.KindScheduledAction, in.ServiceNamespace, in.ResourceId, in.ScalableDimension, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	q.keep = func(d deferd.Document) bool {
		name := d.Name[strings.LastIndexByte(d.Name, '/')+1:] // has no slash itself
		return len(in.ScheduledActionNames) == 0 || slices.Contains(in.ScheduledActionNames, name)
	}
	actions, token, err := listScaling(s, c, q, deferd.ReadScheduledAction, actionAnswer)
	if err != nil {
		return nil, err
	}
	return awsmodel.DescribeScheduledActionsResponse{ScheduledActions: actions, NextToken: token}, nil
}

func actionAnswer(a deferd.ScheduledAction) (awsmodel.ScheduledAction, error) {
	out := awsmodel.ScheduledAction{
		ScheduledActionARN: &a.ARN, ScheduledActionName: &a.Name, ServiceNamespace: new(scalingNamespace), ResourceId: new(a.Resource.String()),
		ScalableDimension: new(scalingDimension), Schedule: &a.Schedule, CreationTime: awsmodel.Time(a.Created),
		ScalableTargetAction: &awsmodel.ScalableTargetAction{},
	}
	if a.Timezone != "" {
		out.Timezone = &a.Timezone
	}
	if !a.Start.IsZero() {
		out.StartTime = awsmodel.Time(a.Start)
	}
	if !a.End.IsZero() {
		out.EndTime = awsmodel.Time(a.End)
	}
	if a.Min != nil {
		out.ScalableTargetAction.MinCapacity = new(int32(*a.Min))
	}
	if a.Max != nil {
		out.ScalableTargetAction.MaxCapacity = new(int32(*a.Max))
	}
	return out, nil
}
