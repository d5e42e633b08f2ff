package awsapi

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// listTags answers with the tags that a thing was created with, which are part
// of its request; nothing changes them yet.
func (s *Server) listTags(c *call, in *awsmodel.ListTagsInput) (any, error) {
	request, err := s.tagged(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	var created struct{ Tags []awsmodel.Tag }
	if err := json.Unmarshal(request, &created); err != nil {
		return nil, err
	}
	out := awsmodel.ListTagsOutput{Tags: created.Tags}
	if out.Tags == nil {
		out.Tags = []awsmodel.Tag{}
	}
	return out, nil
}

// tagged finds the request that created what an ARN names. ARNs have names in
// lower case, so that its name need not be the thing's.
func (s *Server) tagged(c *call, arn string) (json.RawMessage, error) {
	prefix := c.arn("", "")
	rest, ours := strings.CutPrefix(strings.ToLower(arn), strings.TrimSuffix(prefix, "/"))
	kindInARN, name, _ := strings.Cut(rest, "/")
	if !ours {
		return nil, deferd.Errorf(deferd.Invalid, "%q is not an ARN of this account and region.", arn)
	}
	q := deferd.ListQuery{Account: c.principal.Account, NameContains: name, SortBy: deferd.ByName, Ascending: true, Max: 100}
	switch kindInARN {
	case model.inARN:
		m, err := named(c.ctx(), name, q, s.Store.Models, func(m deferd.Model) string { return string(m.Name) })
		return m.Request, model.explain(c, name, err)
	case endpointConfig.inARN:
		config, err := named(c.ctx(), name, q, s.Store.Configs, func(config deferd.Config) string { return string(config.Name) })
		return config.Request, endpointConfig.explain(c, name, err)
	case endpoint.inARN:
		e, err := named(c.ctx(), name, q, s.Store.Endpoints, func(e deferd.Endpoint) string { return string(e.Name) })
		return e.Request, endpoint.explain(c, name, err)
	}
	return nil, deferd.Errorf(deferd.Invalid, "%q names nothing that has tags here.", arn)
}

// named finds the thing of that name, whatever its case, among what list lists.
func named[T any](ctx context.Context, name string, q deferd.ListQuery, list func(context.Context, deferd.ListQuery) (deferd.Page[T], error), nameOf func(T) string) (found T, err error) {
	for {
		page, err := list(ctx, q)
		if err != nil {
			return found, err
		}
		for _, item := range page.Items {
			if strings.EqualFold(nameOf(item), name) {
				return item, nil
			}
		}
		if page.Token == "" {
			return found, deferd.Errorf(deferd.NotFound, "nothing is named %s", name)
		}
		q.Token = page.Token
	}
}
