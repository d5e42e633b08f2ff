package awsmodel

import (
	"slices"
	"time"
)

// Limits are the maxima that an operator may set. Zero means AWS's own.
// Violations print the number that is set here. SDKs check minima only, so that
// a raised maximum reaches us.
type Limits struct {
	MaxTimeout time.Duration // of InvocationTimeoutSeconds; AWS: one hour
	MaxTTL     time.Duration // of RequestTTLSeconds; AWS: six hours
	MaxInline  int64         // bytes of an inline body; AWS: 128,000

	PlainWebhooks bool // SuccessTopic and ErrorTopic may be http:// URLs, too
}

// widened is the one list of constraints that are wider here than in AWS's
// model, by shape.
var widened = map[string]func(k *constraint, l Limits){
	// An instance type is a name of the operator's own; AWS enumerates its.
	"sagemaker.ProductionVariantInstanceType": func(k *constraint, _ Limits) {
		k.enum, k.pattern = nil, anyInstanceType
	},
	// Of SuccessTopic and ErrorTopic: a signed webhook.
	"sagemaker.SnsTopicArn": func(k *constraint, l Limits) {
		if k.pattern = topicOrWebhook; l.PlainWebhooks {
			k.pattern = topicOrPlainWebhook
		}
	},

	// A metric of ours, beside AWS's predefined ones.
	"autoscaling.MetricType": func(k *constraint, _ Limits) {
		k.enum = slices.Sorted(slices.Values(append(slices.Clone(k.enum), OldestRequestMetric)))
	},

	"runtime.InvocationTimeoutSecondsHeader": func(k *constraint, l Limits) { k.raise(int64(l.MaxTimeout / time.Second)) },
	"runtime.RequestTTLSecondsHeader":        func(k *constraint, l Limits) { k.raise(int64(l.MaxTTL / time.Second)) },
	"runtime.AsyncBodyBlob":                  func(k *constraint, l Limits) { k.raise(l.MaxInline) },
}

// OldestRequestMetric is the predefined metric of target tracking that AWS does
// not have: for how many seconds the endpoint's oldest request has waited.
const OldestRequestMetric = "DeferdEndpointAgeOfOldestRequest"

var (
	anyInstanceType     = newPattern(`ml\.[a-zA-Z0-9._-]+`, `ml\.[a-zA-Z0-9._-]+`)
	topicOrWebhook      = orWebhook(`https`)
	topicOrPlainWebhook = orWebhook(`https?`)
)

// orWebhook is the ARN of a topic, or a URL of a scheme.
func orWebhook(scheme string) *pattern {
	text := `(arn:aws[a-z\-]*:sns:[a-z0-9\-]*:[0-9]{12}:[a-zA-Z0-9_.-]+|` + scheme + `://[^\s]+)`
	return newPattern(text, text)
}

func (k *constraint) raise(max int64) {
	if max > 0 {
		k.max = to(max)
	}
}

// rule is the constraint that holds here in place of the model's k.
func (c *checker) rule(k *constraint) *constraint {
	widen := widened[k.shape]
	if widen == nil {
		return k
	}
	wide := *k
	widen(&wide, c.limits)
	return &wide
}
