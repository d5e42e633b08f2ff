// Package sns delivers notifications to topics of another SNS than the embedded
// one: Amazon's, or a server that speaks its protocol.
//
// The client retries a few times by itself; whoever notifies retries for as
// long as it is worth.
package sns

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"github.com/deferd/deferd"
)

var _ deferd.Notifier = (*Notifier)(nil)

// Config says where the SNS is and who publishes.
type Config struct {
	Endpoint string // base URL
	Region   string

	// The keys; where there are none, they are found as AWS's SDKs find them.
	AccessKey, SecretKey, SessionToken string
}

// A Notifier publishes to topics.
type Notifier struct {
	client *sns.Client
}

// New returns a notifier. It asks nothing of the SNS yet.
func New(ctx context.Context, c Config) (*Notifier, error) {
	options := []func(*config.LoadOptions) error{config.WithRegion(c.Region)}
	if c.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, c.SessionToken)))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	return &Notifier{sns.NewFromConfig(cfg, func(o *sns.Options) { o.BaseEndpoint = aws.String(c.Endpoint) })}, nil
}

// Notify publishes a notification. A FIFO topic gets each one once, and in no
// order, since invocations end in none.
func (n *Notifier) Notify(ctx context.Context, m deferd.Notification) error {
	in := &sns.PublishInput{TopicArn: &m.Target, Message: &m.Message}
	if m.Subject != "" {
		in.Subject = &m.Subject
	}
	if strings.HasSuffix(m.Target, ".fifo") {
		in.MessageGroupId, in.MessageDeduplicationId = &m.ID, &m.ID
	}
	for name, a := range m.Attributes {
		value, err := attribute(a)
		if err != nil {
			return &deferd.Error{Code: deferd.Invalid, Msg: "the attribute " + name + " is not in base64", Err: err}
		}
		if in.MessageAttributes == nil {
			in.MessageAttributes = map[string]types.MessageAttributeValue{}
		}
		in.MessageAttributes[name] = value
	}
	_, err := n.client.Publish(ctx, in)
	return translate(m.Target, err)
}

func attribute(a deferd.MessageAttribute) (types.MessageAttributeValue, error) {
	v := types.MessageAttributeValue{DataType: &a.Type}
	if kind, _, _ := strings.Cut(a.Type, "."); kind != "Binary" {
		v.StringValue = &a.Value
		return v, nil
	}
	b, err := base64.StdEncoding.DecodeString(a.Value)
	v.BinaryValue = b
	return v, err
}

// translate gives an error of the client a code of ours. It is nil for nil.
func translate(topic string, err error) error {
	if err == nil {
		return nil
	}
	name, status := "", 0
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		name = api.ErrorCode()
	}
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = r.HTTPStatusCode()
	}
	return &deferd.Error{Code: codeOf(name, status), Msg: name, Err: fmt.Errorf("publish to %s: %w", topic, err)}
}

// codeOf says what the caller can do about SNS's code and status. What may be
// mended while the notification waits is to be tried again: a topic's policy,
// an expired key.
func codeOf(name string, status int) deferd.Code {
	switch name {
	case "NotFound", "NotFoundException":
		return deferd.NotFound
	case "InvalidParameter", "InvalidParameterException", "ParameterValueInvalid", "ValidationError", "ValidationException":
		return deferd.Invalid
	}
	if status == http.StatusNotFound {
		return deferd.NotFound
	}
	return deferd.Unavailable
}
