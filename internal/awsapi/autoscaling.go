package awsapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// scalingOperations returns the operations of Application Auto Scaling. None
// names its resource before it has been looked for.
func (s *Server) scalingOperations() map[string]operation {
	return map[string]operation{
		"RegisterScalableTarget":   scalingOperation(s.registerTarget),
		"DeregisterScalableTarget": scalingOperation(s.deregisterTarget),
		"DescribeScalableTargets":  scalingOperation(s.describeTargets),

		"PutScalingPolicy":          scalingOperation(s.putPolicy),
		"DeleteScalingPolicy":       scalingOperation(s.deletePolicy),
		"DescribeScalingPolicies":   scalingOperation(s.describePolicies),
		"DescribeScalingActivities": scalingOperation(s.describeActivities),

		"PutScheduledAction":       scalingOperation(s.putAction),
		"DeleteScheduledAction":    scalingOperation(s.deleteAction),
		"DescribeScheduledActions": scalingOperation(s.describeActions),

		"ListTagsForResource": scalingOperation(s.listTargetTags),
		"TagResource":         scalingOperation(s.tagTarget),
		"UntagResource":       scalingOperation(s.untagTarget),
	}
}

func scalingOperation[I any, P interface {
	*I
	awsmodel.Input
}](handle func(*call, P) (any, error)) operation {
	return operationOf("application-autoscaling", anything[P], handle)
}

// autoScaling answers Application Auto Scaling.
func (s *Server) autoScaling(c *call) error {
	if err := s.Ready(); err != nil {
		return deferd.Errorf(deferd.Unavailable, "%s; try again later.", err)
	}
	return s.target(c, "AnyScaleFrontendService.", s.scaling)
}

// What is scaled here.
const (
	scalingNamespace = "sagemaker"
	scalingDimension = "sagemaker:variant:DesiredInstanceCount"
)

// scaledVariant is the variant that a request names. Dimension may be nil where
// the operation lets it be left out.
func scaledVariant(namespace, id, dimension *string) (deferd.VariantRef, error) {
	r, err := deferd.ParseVariantRef(*id)
	if err != nil || *namespace != scalingNamespace || dimension != nil && *dimension != scalingDimension {
		return r, deferd.Errorf(deferd.Invalid, "Unsupported service namespace, resource type or scalable dimension.")
	}
	return r, nil
}

// dimensionAlone refuses a list of one dimension of anything.
var dimensionAlone = deferd.Errorf(deferd.Invalid, "If you specify a scalable dimension, you must also specify a resource ID.")

// notScaled says that a target, or something of it, is not there.
func notScaled(what string, r deferd.VariantRef, name string) error {
	msg := fmt.Sprintf("No %s for service namespace: %s, resource ID: %s, scalable dimension: %s", what, scalingNamespace, r, scalingDimension)
	if name != "" {
		msg += ": " + name
	}
	return &failure{status: http.StatusBadRequest, code: "ObjectNotFoundException", msg: msg}
}

// targetARN is the ARN of a target.
func targetARN(c *call, t deferd.ScalableTarget) string {
	return "arn:aws:application-autoscaling:" + c.server.Region + ":" + string(t.Account) + ":scalable-target/" + t.ID
}

// registerTarget makes a variant a target, or changes what one is.
func (s *Server) registerTarget(c *call, in *awsmodel.RegisterScalableTargetRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	if err := checkTargetTags(in.Tags); err != nil {
		return nil, err
	}
	e, err := s.scaledEndpoint(c, r)
	if err != nil {
		return nil, err
	}
	t, err := s.changeTarget(c.ctx(), c.principal.Account, r, func(t *deferd.ScalableTarget) error {
		if t.EndpointID != e.ID { // there was none, or of an earlier endpoint of that name
			if in.MinCapacity == nil || in.MaxCapacity == nil {
				return deferd.Errorf(deferd.Invalid, "Both MinCapacity and MaxCapacity must be specified when registering a new scalable target.")
			}
			*t = deferd.ScalableTarget{
				ID: uuid.NewString(), Account: c.principal.Account, Resource: r, EndpointID: e.ID, Created: s.Store.Now(), Version: t.Version,
			}
		}
		return register(t, in)
	})
	if err != nil {
		return nil, err
	}
	s.Changed(e.ID)
	return awsmodel.RegisterScalableTargetResponse{ScalableTargetARN: new(targetARN(c, t))}, nil
}

// register changes a target as asked. What is left out stays as it is.
func register(t *deferd.ScalableTarget, in *awsmodel.RegisterScalableTargetRequest) error {
	if in.MinCapacity != nil {
		t.Min = int(*in.MinCapacity)
	}
	if in.MaxCapacity != nil {
		t.Max = int(*in.MaxCapacity)
	}
	switch {
	case t.Min < 0:
		return deferd.Errorf(deferd.Invalid, "Minimum capacity cannot be less than 0.")
	case t.Max < t.Min:
		return deferd.Errorf(deferd.Invalid, "Maximum capacity cannot be less than minimum capacity.")
	}
	if sus := in.SuspendedState; sus != nil {
		for flag, asked := range map[*bool]*bool{
			&t.Suspended.In: sus.DynamicScalingInSuspended, &t.Suspended.Out: sus.DynamicScalingOutSuspended, &t.Suspended.Scheduled: sus.ScheduledScalingSuspended,
		} {
			if asked != nil {
				*flag = *asked
			}
		}
	}
	return addTargetTags(t, in.Tags)
}

// scaledEndpoint is the endpoint of a variant that is to be scaled.
func (s *Server) scaledEndpoint(c *call, r deferd.VariantRef) (deferd.Endpoint, error) {
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, r.Endpoint)
	if err == nil && e.Status == deferd.EndpointDeleting {
		err = deferd.Errorf(deferd.NotFound, "endpoint %s is being deleted", r.Endpoint)
	}
	if err != nil {
		return e, endpoint.explain(c, string(r.Endpoint), err)
	}
	variants := e.Variants
	if e.Deployment != nil {
		variants = slices.Concat(variants, e.Deployment.Variants)
	}
	if !slices.ContainsFunc(variants, func(v deferd.EndpointVariant) bool { return v.Name == r.Variant }) {
		return e, deferd.Errorf(deferd.Invalid, "The endpoint %q has no variant %q.", r.Endpoint, r.Variant)
	}
	return e, nil
}

// registered is the target that a request wants there to be.
func (s *Server) registered(c *call, r deferd.VariantRef) (deferd.ScalableTarget, error) {
	t, err := s.scalableTarget(c.ctx(), c.principal.Account, r)
	if err != nil && deferd.CodeOf(err) == deferd.NotFound {
		err = notScaled("scalable target registered", r, "")
	}
	return t, err
}

// changeTarget changes a target, which is the zero one where there is none. It
// may call change more than once.
func (s *Server) changeTarget(ctx context.Context, a deferd.AccountID, r deferd.VariantRef, change func(*deferd.ScalableTarget) error) (t deferd.ScalableTarget, err error) {
	err = s.put(ctx, func() (deferd.Document, error) {
		t, err = s.scalableTarget(ctx, a, r)
		if err != nil && deferd.CodeOf(err) != deferd.NotFound {
			return deferd.Document{}, err
		}
		if err := change(&t); err != nil {
			return deferd.Document{}, err
		}
		return t.Document()
	})
	return t, err
}

// put stores the document that compose makes of what is there, which it does
// again where that was changed meanwhile.
func (s *Server) put(ctx context.Context, compose func() (deferd.Document, error)) error {
	for {
		d, err := compose()
		if err != nil {
			return err
		}
		if _, err = s.Store.PutDocument(ctx, d); err == nil || !overtaken(err) {
			return err
		}
	}
}

// overtaken reports whether a document was changed between its reading and its
// writing.
func overtaken(err error) bool {
	code := deferd.CodeOf(err)
	return code == deferd.Changed || code == deferd.Exists || code == deferd.NotFound
}

func (s *Server) scalableTarget(ctx context.Context, a deferd.AccountID, r deferd.VariantRef) (deferd.ScalableTarget, error) {
	d, err := s.Store.Document(ctx, deferd.KindTarget, a, r.String())
	if err != nil {
		return deferd.ScalableTarget{}, err
	}
	return deferd.ReadScalableTarget(d)
}

// deregisterTarget ends a target, with its policies and scheduled actions. Its
// activities stay to be read.
func (s *Server) deregisterTarget(c *call, in *awsmodel.DeregisterScalableTargetRequest) (any, error) {
	r, err := scaledVariant(in.ServiceNamespace, in.ResourceId, in.ScalableDimension)
	if err != nil {
		return nil, err
	}
	t, err := s.scalableTarget(c.ctx(), c.principal.Account, r)
	if deferd.CodeOf(err) == deferd.NotFound && err != nil {
		return nil, notScaled("scalable target found", r, "")
	}
	if err != nil {
		return nil, err
	}
	for _, kind := range []deferd.DocumentKind{deferd.KindScalingPolicy, deferd.KindScheduledAction} {
		const all = maxPolicies + maxActions
		docs, err := s.Store.Documents(c.ctx(), kind, t.Account, deferd.ScalingName(r, ""), "", all)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			if err := deferd.DeleteScaling(c.ctx(), s.Store, d); err != nil {
				return nil, err
			}
		}
	}
	err = deferd.DeleteScaling(c.ctx(), s.Store, deferd.Document{Kind: deferd.KindTarget, Account: t.Account, Name: r.String()})
	if err != nil {
		return nil, err
	}
	s.Changed(t.EndpointID)
	return awsmodel.DeregisterScalableTargetResponse{}, nil
}

func (s *Server) describeTargets(c *call, in *awsmodel.DescribeScalableTargetsRequest) (any, error) {
	if in.ScalableDimension != nil && len(in.ResourceIds) == 0 {
		return nil, dimensionAlone
	}
	q := scalingQuery{kind: deferd.KindTarget, namespace: *in.ServiceNamespace, dimension: in.ScalableDimension, max: in.MaxResults, token: in.NextToken}
	q.keep = func(d deferd.Document) bool {
		return len(in.ResourceIds) == 0 || slices.Contains(in.ResourceIds, d.Name)
	}
	targets, token, err := listScaling(s, c, q, deferd.ReadScalableTarget, func(t deferd.ScalableTarget) (awsmodel.ScalableTarget, error) {
		return targetAnswer(c, t), nil
	})
	if err != nil {
		return nil, err
	}
	return awsmodel.DescribeScalableTargetsResponse{ScalableTargets: targets, NextToken: token}, nil
}

func targetAnswer(c *call, t deferd.ScalableTarget) awsmodel.ScalableTarget {
	return awsmodel.ScalableTarget{
		ServiceNamespace: new(scalingNamespace), ResourceId: new(t.Resource.String()), ScalableDimension: new(scalingDimension),
		MinCapacity: new(int32(t.Min)), MaxCapacity: new(int32(t.Max)), CreationTime: awsmodel.Time(t.Created),
		RoleARN:           new("arn:aws:iam::" + string(t.Account) + ":role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"),
		ScalableTargetARN: new(targetARN(c, t)),
		SuspendedState: &awsmodel.SuspendedState{
			DynamicScalingInSuspended: new(t.Suspended.In), DynamicScalingOutSuspended: new(t.Suspended.Out), ScheduledScalingSuspended: new(t.Suspended.Scheduled),
		},
	}
}

// maxScalingPage is how many things a list of this service has at most, and
// where nothing is said.
const maxScalingPage = 50

// A scalingQuery selects a page of a list.
type scalingQuery struct {
	kind      deferd.DocumentKind
	namespace string
	dimension *string
	max       *int32
	token     *string
	below     string                     // how the names begin
	keep      func(deferd.Document) bool // what is listed; nil: all
}

// ofResource is a query for what targets have, of one of them where it is named.
func ofResource(kind deferd.DocumentKind, namespace, resource, dimension *string, limit *int32, token *string) (scalingQuery, error) {
	q := scalingQuery{kind: kind, namespace: *namespace, dimension: dimension, max: limit, token: token}
	if resource != nil {
		q.below = *resource + "/"
	} else if dimension != nil {
		return q, dimensionAlone
	}
	return q, nil
}

// listScaling reads a page, and makes an answer of each document in it.
func listScaling[T, A any](s *Server, c *call, q scalingQuery, read func(deferd.Document) (T, error), answer func(T) (A, error)) (answers []A, token *string, err error) {
	docs, token, err := s.scalingDocuments(c, q)
	if err != nil {
		return nil, nil, err
	}
	answers = []A{}
	for _, d := range docs {
		v, err := read(d)
		if err != nil {
			return nil, nil, err
		}
		a, err := answer(v)
		if err != nil {
			return nil, nil, err
		}
		answers = append(answers, a)
	}
	return answers, token, nil
}

// scalingDocuments reads a page of documents.
func (s *Server) scalingDocuments(c *call, q scalingQuery) (page []deferd.Document, token *string, err error) {
	limit := int(cmp.Or(value(q.max), maxScalingPage))
	if limit < 1 || limit > maxScalingPage {
		return nil, nil, deferd.Errorf(deferd.Invalid, "MaxResults must be between 1 and %d.", maxScalingPage)
	}
	after := ""
	if q.token != nil {
		name, err := base64.RawURLEncoding.DecodeString(*q.token)
		if err != nil || len(name) == 0 {
			return nil, nil, &failure{status: http.StatusBadRequest, code: "InvalidNextTokenException", msg: "The next token supplied was invalid."}
		}
		after = string(name)
	}
	if q.namespace != scalingNamespace || q.dimension != nil && *q.dimension != scalingDimension {
		return nil, nil, nil
	}
	for {
		docs, err := s.Store.Documents(c.ctx(), q.kind, c.principal.Account, q.below, after, maxScalingPage+1)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range docs {
			if q.keep != nil && !q.keep(d) {
				continue
			}
			if len(page) == limit {
				return page, new(base64.RawURLEncoding.EncodeToString([]byte(page[limit-1].Name))), nil
			}
			page = append(page, d)
		}
		if len(docs) <= maxScalingPage {
			return page, nil, nil
		}
		after = docs[len(docs)-1].Name
	}
}

// targetOfARN finds a target by its ARN, which names none of what it scales.
func (s *Server) targetOfARN(c *call, arn string) (deferd.ScalableTarget, error) {
	_, id, _ := strings.Cut(arn, ":scalable-target/")
	for after := ""; ; {
		docs, err := s.Store.Documents(c.ctx(), deferd.KindTarget, c.principal.Account, "", after, maxScalingPage)
		if err != nil {
			return deferd.ScalableTarget{}, err
		}
		for _, d := range docs {
			t, err := deferd.ReadScalableTarget(d)
			if err != nil || t.ID == id && targetARN(c, t) == arn {
				return t, err
			}
			after = d.Name
		}
		if len(docs) < maxScalingPage {
			return deferd.ScalableTarget{}, &failure{
				status: http.StatusBadRequest, code: "ResourceNotFoundException", msg: fmt.Sprintf("The resource %s was not found.", arn),
			}
		}
	}
}

func (s *Server) listTargetTags(c *call, in *awsmodel.ListTagsForResourceRequest) (any, error) {
	t, err := s.targetOfARN(c, *in.ResourceARN)
	if err != nil {
		return nil, err
	}
	if t.Tags == nil {
		t.Tags = map[string]string{}
	}
	return awsmodel.ListTagsForResourceResponse{Tags: t.Tags}, nil
}

func (s *Server) tagTarget(c *call, in *awsmodel.TagResourceRequest) (any, error) {
	if err := checkTargetTags(in.Tags); err != nil {
		return nil, err
	}
	err := s.changeTargetTags(c, *in.ResourceARN, func(t *deferd.ScalableTarget) error { return addTargetTags(t, in.Tags) })
	return awsmodel.TagResourceResponse{}, err
}

func (s *Server) untagTarget(c *call, in *awsmodel.UntagResourceRequest) (any, error) {
	err := s.changeTargetTags(c, *in.ResourceARN, func(t *deferd.ScalableTarget) error {
		maps.DeleteFunc(t.Tags, func(key, _ string) bool { return slices.Contains(in.TagKeys, key) })
		return nil
	})
	return awsmodel.UntagResourceResponse{}, err
}

var errOtherTarget = errors.New("the target has been registered anew")

func (s *Server) changeTargetTags(c *call, arn string, change func(*deferd.ScalableTarget) error) error {
	found, err := s.targetOfARN(c, arn)
	if err != nil {
		return err
	}
	_, err = s.changeTarget(c.ctx(), found.Account, found.Resource, func(t *deferd.ScalableTarget) error {
		if t.ID != found.ID {
			return errOtherTarget
		}
		return change(t)
	})
	if errors.Is(err, errOtherTarget) {
		_, err = s.targetOfARN(c, arn) // which says that it is gone
	}
	return err
}

// checkTargetTags refuses tags whose keys are reserved.
func checkTargetTags(tags map[string]string) error {
	for key := range tags {
		if len(key) >= len(reservedTags) && strings.EqualFold(key[:len(reservedTags)], reservedTags) {
			return deferd.Errorf(deferd.Invalid, "aws: prefixed tag key names are not allowed for external use.")
		}
	}
	return nil
}

// addTargetTags adds tags to a target, or gives those that it has other values.
func addTargetTags(t *deferd.ScalableTarget, tags map[string]string) error {
	all := maps.Clone(t.Tags)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, tags)
	if len(all) > maxTags {
		return &failure{status: http.StatusBadRequest, code: "TooManyTagsException", msg: fmt.Sprintf("The resource cannot have more than %d tags.", maxTags)}
	}
	t.Tags = all
	return nil
}
