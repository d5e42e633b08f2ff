package awsapi

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

// maxBatch is how many messages one request publishes.
const maxBatch = 10

// message reads a message from a form; its members' names begin with prefix.
func message(in url.Values, prefix string) (m deferd.Message, err error) {
	m.Text, m.Subject = in.Get(prefix+"Message"), in.Get(prefix+"Subject")
	if in.Has(prefix+"Subject") && m.Subject == "" {
		return m, invalidParameter("Subject")
	}
	switch structure := in.Get(prefix + "MessageStructure"); structure {
	case "":
	case "json":
		if err := json.Unmarshal([]byte(m.Text), &m.ByProtocol); err != nil {
			return m, deferd.Errorf(deferd.Invalid, "Invalid parameter: Message Structure - JSON message body failed to parse")
		}
		if m.Text = m.ByProtocol["default"]; m.Text == "" {
			return m, deferd.Errorf(deferd.Invalid, "Invalid parameter: Message Structure - No default entry in JSON message body")
		}
	default:
		return m, invalidParameter("MessageStructure")
	}
	m.Attributes, err = messageAttributes(in, prefix+"MessageAttributes.entry.")
	return m, err
}

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)
	attributeType = regexp.MustCompile(`^(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?$`)
)

// messageAttributes reads the attributes of a message.
func messageAttributes(in url.Values, prefix string) (map[string]deferd.MessageAttribute, error) {
	var out map[string]deferd.MessageAttribute
	for i := 1; in.Has(prefix + strconv.Itoa(i) + ".Name"); i++ {
		at := prefix + strconv.Itoa(i)
		name, kind := in.Get(at+".Name"), in.Get(at+".Value.DataType")
		value := in.Get(at + ".Value.StringValue")
		if strings.HasPrefix(kind, "Binary") {
			value = in.Get(at + ".Value.BinaryValue")
		}
		if !attributeName.MatchString(name) || !attributeType.MatchString(kind) || value == "" {
			return nil, &failure{
				status: http.StatusBadRequest, code: "ParameterValueInvalid",
				msg: "The message attribute '" + name + "' must have a name, a type among String, Number and Binary, and a value that is not empty.",
			}
		}
		if out == nil {
			out = map[string]deferd.MessageAttribute{}
		}
		out[name] = deferd.MessageAttribute{Type: kind, Value: value}
	}
	return out, nil
}

func (s *Server) publish(c *call, in url.Values) (any, error) {
	if in.Has("PhoneNumber") {
		return nil, deferd.Errorf(deferd.Invalid, "Invalid parameter: PhoneNumber Reason: it is not offered here")
	}
	parameter := "TopicArn"
	if !in.Has(parameter) {
		parameter = "TargetArn"
	}
	name, err := s.namedTopic(c, in, parameter, "Publish")
	if err != nil {
		return nil, err
	}
	m, err := message(in, "")
	if err != nil {
		return nil, err
	}
	id, err := s.Topics.Publish(c.ctx(), name, m)
	return struct {
		XMLName   xml.Name `xml:"PublishResult"`
		MessageId string
	}{MessageId: id}, err
}

// publishBatch publishes several messages, each of which may be refused.
func (s *Server) publishBatch(c *call, in url.Values) (any, error) {
	name, err := s.namedTopic(c, in, "TopicArn", "Publish")
	if err != nil {
		return nil, err
	}
	if _, err := s.Topics.Topic(c.ctx(), name); err != nil {
		return nil, err
	}
	entries, err := batchEntries(in)
	if err != nil {
		return nil, err
	}
	type done struct{ Id, MessageId string }
	type refused struct {
		Id, Code, Message string
		SenderFault       bool
	}
	out := struct {
		XMLName    xml.Name  `xml:"PublishBatchResult"`
		Successful []done    `xml:"Successful>member"`
		Failed     []refused `xml:"Failed>member"`
	}{}
	for _, e := range entries {
		m, err := message(in, e.prefix)
		var id string
		if err == nil {
			id, err = s.Topics.Publish(c.ctx(), name, m)
		}
		if err != nil {
			f := failureOf(snsFailure(err), query)
			out.Failed = append(out.Failed, refused{e.id, cmp.Or(f.code, "InternalError"), f.msg, f.status < http.StatusInternalServerError})
			continue
		}
		out.Successful = append(out.Successful, done{e.id, id})
	}
	return out, nil
}

// A batchEntry is one message of a batch: what it is called, and where it is.
type batchEntry struct{ id, prefix string }

func batchEntries(in url.Values) (entries []batchEntry, err error) {
	refuse := func(code, msg string) ([]batchEntry, error) {
		return nil, &failure{status: http.StatusBadRequest, code: code, msg: msg}
	}
	ids := map[string]bool{}
	for i := 1; in.Has("PublishBatchRequestEntries.member." + strconv.Itoa(i) + ".Id"); i++ {
		prefix := "PublishBatchRequestEntries.member." + strconv.Itoa(i) + "."
		id := in.Get(prefix + "Id")
		if ids[id] {
			return refuse("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		ids[id] = true
		entries = append(entries, batchEntry{id, prefix})
	}
	switch {
	case len(entries) == 0:
		return refuse("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case len(entries) > maxBatch:
		return refuse("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	return entries, nil
}
