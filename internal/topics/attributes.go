package topics

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// An attribute is one that can be set.
type attribute struct {
	unset string                             // what it is while nobody has set it
	check func(value string) (reason string) // why it cannot be that, or ""
}

var topicAttributes = map[string]attribute{
	"DisplayName": {"", func(v string) string {
		if utf8.RuneCountInString(v) > 100 {
			return "it is longer than 100 characters"
		}
		return ""
	}},
	"Policy": {"", func(v string) string {
		if v != "" && !json.Valid([]byte(v)) {
			return "it is not JSON"
		}
		return ""
	}},
	"SignatureVersion":          oneOf("1", "2"),
	"TracingConfig":             oneOf("PassThrough"),
	"FifoTopic":                 notOffered("false"),
	"ContentBasedDeduplication": notOffered("false"),
	"DeliveryPolicy":            notOffered(""),
	"KmsMasterKeyId":            notOffered(""),
	"ArchivePolicy":             notOffered(""),
}

var subscriptionAttributes = map[string]attribute{
	"RawMessageDelivery":  oneOf("false", "true"),
	"DeliveryPolicy":      notOffered(""),
	"FilterPolicy":        notOffered(""),
	"FilterPolicyScope":   notOffered(""),
	"RedrivePolicy":       notOffered(""),
	"ReplayPolicy":        notOffered(""),
	"SubscriptionRoleArn": notOffered(""),
}

// oneOf takes some values, the first while nobody has set another.
func oneOf(values ...string) attribute {
	return attribute{values[0], func(v string) string {
		if slices.Contains(values, v) {
			return ""
		}
		return fmt.Sprintf("%q is not one of %q", v, values)
	}}
}

// notOffered is an attribute of AWS's that may be said to be off, and not more:
// it must not look as if it did something.
func notOffered(off string) attribute {
	return attribute{off, func(v string) string {
		if v == off {
			return ""
		}
		return "it is not offered here"
	}}
}

// set sets an attribute. What is as if nobody had set it is not kept.
func set(attributes map[string]string, known map[string]attribute, name, value string) error {
	a, there := known[name]
	if !there {
		return invalid("AttributeName")
	}
	if reason := a.check(value); reason != "" {
		return invalid("%s Reason: %s", name, reason)
	}
	delete(attributes, name)
	if value != a.unset {
		attributes[name] = value
	}
	return nil
}

// setAll returns the attributes that are set by these.
func setAll(known map[string]attribute, values map[string]string) (map[string]string, error) {
	attributes := map[string]string{}
	for name, value := range values {
		if err := set(attributes, known, name, value); err != nil {
			return nil, err
		}
	}
	return attributes, nil
}

// differ reports whether attributes are not what is asked for.
func differ(attributes map[string]string, known map[string]attribute, asked map[string]string) bool {
	for name, value := range asked {
		if cmp.Or(attributes[name], known[name].unset) != value {
			return true
		}
	}
	return false
}
