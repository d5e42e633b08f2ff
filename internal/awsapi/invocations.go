package awsapi

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/deferd/deferd"
)

// An invocationDocument is an invocation as our own operations show it. Neither
// payloads nor custom attributes are in it.
type invocationDocument struct {
	InvocationID   string `json:"invocationId"`
	InferenceID    string `json:"inferenceId"`
	State          string `json:"state"`
	Attempts       int    `json:"attempts"`
	Reason         string `json:"reason,omitempty"`
	FailureReason  string `json:"failureReason,omitempty"`
	ModelStatus    int    `json:"modelStatus,omitempty"`
	Progress       string `json:"progress,omitempty"`
	RedriveOf      string `json:"redriveOf,omitempty"`
	Accepted       string `json:"acceptedTime"`
	Claimed        string `json:"claimedTime,omitempty"`
	Settled        string `json:"settledTime,omitempty"`
	Finished       string `json:"finishedTime,omitempty"`
	Input          string `json:"inputLocation,omitempty"`
	Output         string `json:"outputLocation,omitempty"`
	Failure        string `json:"failureLocation,omitempty"`
	Variant        string `json:"variant,omitempty"`
	Instance       string `json:"instance,omitempty"`
	InlineSize     int64  `json:"inlineSize,omitempty"`
	OutcomeSize    int64  `json:"outcomeSize,omitempty"`
	TTLSeconds     int64  `json:"requestTTLSeconds"`
	TimeoutSeconds int64  `json:"invocationTimeoutSeconds"`
}

func newInvocationDocument(inv deferd.Invocation) invocationDocument {
	return invocationDocument{
		InvocationID:   string(inv.ID),
		InferenceID:    inv.InferenceID,
		State:          inv.State.String(),
		Attempts:       inv.Attempts,
		Reason:         string(inv.Reason),
		FailureReason:  inv.Message,
		ModelStatus:    inv.ModelStatus,
		Progress:       inv.Progress,
		RedriveOf:      string(inv.RedriveOf),
		Accepted:       instant(inv.Accepted),
		Claimed:        instant(inv.Claimed),
		Settled:        instant(inv.Settled),
		Finished:       instant(inv.Finished),
		Input:          inv.Input.String(),
		Output:         inv.Output.String(),
		Failure:        inv.Failure.String(),
		Variant:        string(inv.Variant),
		Instance:       string(inv.Instance),
		InlineSize:     inv.InlineSize,
		OutcomeSize:    inv.OutcomeSize,
		TTLSeconds:     int64(inv.TTL / time.Second),
		TimeoutSeconds: int64(inv.Timeout / time.Second),
	}
}

// instant writes a time in RFC 3339 with milliseconds; "" for one that has not
// come.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// describeInvocation answers with one invocation, found by its ID or else by
// its inference ID. Unlike SageMaker, one can ask.
func (s *Server) describeInvocation(c *call, rawEndpoint, rawID string) error {
	e, err := s.ownEndpoint(c, "deferd:DescribeInvocation", rawEndpoint)
	if err != nil {
		return err
	}
	id, err := url.PathUnescape(rawID)
	if err != nil {
		return deferd.Errorf(deferd.Invalid, "The invocation ID is not well formed.")
	}
	inv, err := s.Store.Invocation(c.ctx(), e.ID, id)
	if deferd.CodeOf(err) == deferd.NotFound {
		return &failure{status: http.StatusNotFound, code: "ResourceNotFound", msg: "There is no invocation " + id + " of endpoint " + string(e.Name) + "."}
	}
	if err != nil {
		return err
	}
	return c.respondJSON(http.StatusOK, newInvocationDocument(inv))
}

// listInvocations answers with a page of an endpoint's invocations, newest
// first.
func (s *Server) listInvocations(c *call, rawEndpoint string) error {
	e, err := s.ownEndpoint(c, "deferd:ListInvocations", rawEndpoint)
	if err != nil {
		return err
	}
	q, err := invocationQuery(e.ID, c.r.URL.Query())
	if err != nil {
		return err
	}
	page, err := s.Store.Invocations(c.ctx(), q)
	if err != nil {
		return err
	}
	out := struct {
		Invocations []invocationDocument `json:"invocations"`
		NextToken   string               `json:"nextToken,omitempty"`
	}{[]invocationDocument{}, page.Token}
	for _, inv := range page.Items {
		out.Invocations = append(out.Invocations, newInvocationDocument(inv))
	}
	return c.respondJSON(http.StatusOK, out)
}

// invocationQuery reads state (which may be repeated, or hold several with
// commas), maxResults and nextToken.
func invocationQuery(e deferd.EndpointID, params url.Values) (deferd.InvocationQuery, error) {
	q := deferd.InvocationQuery{Endpoint: e, Token: params.Get("nextToken")}
	for _, names := range params["state"] {
		for name := range strings.SplitSeq(names, ",") {
			state, err := deferd.ParseState(name)
			if err != nil {
				return q, err
			}
			q.States = append(q.States, state)
		}
	}
	var err error
	q.Max, err = pageSize(params)
	return q, err
}

// ownEndpoint returns an endpoint, whatever its status, if the caller may.
func (s *Server) ownEndpoint(c *call, action, rawName string) (deferd.Endpoint, error) {
	name, err := url.PathUnescape(rawName)
	if err != nil {
		return deferd.Endpoint{}, deferd.Errorf(deferd.Invalid, "The endpoint name is not well formed.")
	}
	if err := c.authorize(action, c.arn("endpoint", name)); err != nil {
		return deferd.Endpoint{}, err
	}
	e, err := s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(name))
	if deferd.CodeOf(err) == deferd.NotFound {
		return deferd.Endpoint{}, noSuchEndpoint(c, name)
	}
	return e, err
}
