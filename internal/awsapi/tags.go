package awsapi

import (
	"slices"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// maxTags is how many tags a thing may have.
const maxTags = 50

// takeTags takes the tags out of the request that creates a thing: they can
// change later, and the request cannot.
func takeTags(in *[]awsmodel.Tag) ([]deferd.Tag, error) {
	tags, err := tagsOf(*in)
	*in = nil
	return tags, err
}

// reservedTags is how keys begin that only AWS itself may give, in any case.
const reservedTags = "aws:"

// tagsOf reads the tags of a request, and refuses what no thing can have: two
// tags of one key, whose case counts, and keys that are reserved.
func tagsOf(in []awsmodel.Tag) ([]deferd.Tag, error) {
	var tags []deferd.Tag
	for _, t := range in {
		key := *t.Key
		if len(key) >= len(reservedTags) && strings.EqualFold(key[:len(reservedTags)], reservedTags) {
			return nil, deferd.Errorf(deferd.Invalid, "aws: prefixed tag key names are not allowed for external use.")
		}
		if indexTag(tags, key) >= 0 {
			return nil, deferd.Errorf(deferd.Invalid, "The tag key %q was non-unique within the request.", key)
		}
		tags = append(tags, deferd.Tag{Key: key, Value: *t.Value})
	}
	return tags, nil
}

// indexTag finds the tag with a key; -1 where there is none.
func indexTag(tags []deferd.Tag, key string) int {
	return slices.IndexFunc(tags, func(t deferd.Tag) bool { return t.Key == key })
}

func tagsAnswer(tags []deferd.Tag) []awsmodel.Tag {
	out := []awsmodel.Tag{}
	for _, t := range tags {
		out = append(out, awsmodel.Tag{Key: &t.Key, Value: &t.Value})
	}
	return out
}

func (s *Server) listTags(c *call, in *awsmodel.ListTagsInput) (any, error) {
	of, k, err := tagged(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	if in.NextToken != nil { // all tags of a thing fit on one page
		return nil, deferd.Errorf(deferd.Invalid, "NextToken is not one of this list's.")
	}
	tags, err := s.Store.Tags(c.ctx(), of)
	if err != nil {
		return nil, k.explain(c, of.Name, err)
	}
	return awsmodel.ListTagsOutput{Tags: tagsAnswer(tags)}, nil
}

// addTags adds tags to a thing, or gives those that it has other values.
func (s *Server) addTags(c *call, in *awsmodel.AddTagsInput) (any, error) {
	of, k, err := tagged(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	more, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	tags, err := s.Store.ChangeTags(c.ctx(), of, func(tags []deferd.Tag) ([]deferd.Tag, error) {
		tags = slices.Clone(tags)
		for _, added := range more {
			if i := indexTag(tags, added.Key); i < 0 {
				tags = append(tags, added)
			} else {
				tags[i] = added
			}
		}
		if len(tags) > maxTags {
			return nil, deferd.Errorf(deferd.Invalid, "%q would have %d tags; %d are the most.", *in.ResourceArn, len(tags), maxTags)
		}
		return tags, nil
	})
	if err != nil {
		return nil, k.explain(c, of.Name, err)
	}
	return awsmodel.AddTagsOutput{Tags: tagsAnswer(tags)}, nil
}

// deleteTags takes tags from a thing; one that it does not have is no error.
func (s *Server) deleteTags(c *call, in *awsmodel.DeleteTagsInput) (any, error) {
	of, k, err := tagged(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	_, err = s.Store.ChangeTags(c.ctx(), of, func(tags []deferd.Tag) ([]deferd.Tag, error) {
		return slices.DeleteFunc(slices.Clone(tags), func(t deferd.Tag) bool { return slices.Contains(in.TagKeys, t.Key) }), nil
	})
	if err != nil {
		return nil, k.explain(c, of.Name, err)
	}
	return awsmodel.DeleteTagsOutput{}, nil
}

// tagged reads which thing an ARN names.
func tagged(c *call, arn string) (of deferd.Tagged, k kind, err error) {
	prefix := c.arn("", "")
	rest, ours := strings.CutPrefix(strings.ToLower(arn), strings.TrimSuffix(prefix, "/"))
	inARN, name, _ := strings.Cut(rest, "/")
	if !ours {
		return of, k, deferd.Errorf(deferd.Invalid, "%q is not an ARN of this account and region.", arn)
	}
	of = deferd.Tagged{Account: c.principal.Account, Name: name}
	switch inARN {
	case model.inARN:
		of.Kind, k = deferd.KindModel, model
	case endpointConfig.inARN:
		of.Kind, k = deferd.KindConfig, endpointConfig
	case endpoint.inARN:
		of.Kind, k = deferd.KindEndpoint, endpoint
	default:
		return of, k, deferd.Errorf(deferd.Invalid, "%q names nothing that has tags here.", arn)
	}
	return of, k, nil
}
