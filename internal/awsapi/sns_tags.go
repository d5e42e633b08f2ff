package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// topicTags reads the tags of a form.
func topicTags(in url.Values) ([]deferd.Tag, error) {
	var tags []awsmodel.Tag
	for i := 1; in.Has("Tags.member." + strconv.Itoa(i) + ".Key"); i++ {
		at := "Tags.member." + strconv.Itoa(i)
		key, value := in.Get(at+".Key"), in.Get(at+".Value")
		if n := utf8.RuneCountInString(key); n == 0 || n > 128 || utf8.RuneCountInString(value) > 256 {
			return nil, invalidParameter("Tags")
		}
		tags = append(tags, awsmodel.Tag{Key: &key, Value: &value})
	}
	if len(tags) > maxTags {
		return nil, tooManyTags
	}
	out, err := tagsOf(tags)
	if err != nil {
		return nil, deferd.Errorf(deferd.Invalid, "Invalid parameter: Tags Reason: %v", err)
	}
	return out, nil
}

var tooManyTags = &failure{status: http.StatusBadRequest, code: "TagLimitExceeded", msg: "Could not complete request: tag quota of per resource exceeded"}

// taggedTopic is the topic that tags are asked for by.
func (s *Server) taggedTopic(c *call, in url.Values, action string) (deferd.TopicName, error) {
	name, err := s.namedTopic(c, in, "ResourceArn", action)
	return name, noTaggedTopic(err)
}

// noTaggedTopic is what operations on tags say where there is no topic.
func noTaggedTopic(err error) error {
	if err != nil && deferd.CodeOf(err) == deferd.NotFound {
		return &failure{status: http.StatusNotFound, code: "ResourceNotFound", msg: "Resource does not exist"}
	}
	return err
}

func (s *Server) tagTopic(c *call, in url.Values) (any, error) {
	name, err := s.taggedTopic(c, in, "TagResource")
	if err != nil {
		return nil, err
	}
	more, err := topicTags(in)
	if err != nil {
		return nil, err
	}
	err = s.Topics.ChangeTopic(c.ctx(), name, func(t *deferd.Topic) error {
		for _, added := range more {
			if i := indexTag(t.Tags, added.Key); i < 0 {
				t.Tags = append(t.Tags, added)
			} else {
				t.Tags[i] = added
			}
		}
		if len(t.Tags) > maxTags {
			return tooManyTags
		}
		return nil
	})
	return resultOf{"TagResource", struct{}{}}, noTaggedTopic(err)
}

func (s *Server) untagTopic(c *call, in url.Values) (any, error) {
	name, err := s.taggedTopic(c, in, "UntagResource")
	if err != nil {
		return nil, err
	}
	var keys []string
	for i := 1; in.Has("TagKeys.member." + strconv.Itoa(i)); i++ {
		keys = append(keys, in.Get("TagKeys.member."+strconv.Itoa(i)))
	}
	err = s.Topics.ChangeTopic(c.ctx(), name, func(t *deferd.Topic) error {
		t.Tags = slices.DeleteFunc(t.Tags, func(t deferd.Tag) bool { return slices.Contains(keys, t.Key) })
		return nil
	})
	return resultOf{"UntagResource", struct{}{}}, noTaggedTopic(err)
}

func (s *Server) listTopicTags(c *call, in url.Values) (any, error) {
	name, err := s.taggedTopic(c, in, "ListTagsForResource")
	if err != nil {
		return nil, err
	}
	topic, err := s.Topics.Topic(c.ctx(), name)
	return struct {
		XMLName xml.Name     `xml:"ListTagsForResourceResult"`
		Tags    []deferd.Tag `xml:"Tags>member"`
	}{Tags: topic.Tags}, noTaggedTopic(err)
}
