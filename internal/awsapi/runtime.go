package awsapi

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// endpointPath finds the operation of a request to /endpoints/….
func (s *Server) endpointPath(c *call) error {
	parts := strings.Split(strings.TrimPrefix(c.r.URL.EscapedPath(), "/endpoints/"), "/")
	post, get := c.r.Method == http.MethodPost, c.r.Method == http.MethodGet
	switch {
	case post && len(parts) == 2 && parts[1] == "async-invocations":
		return s.invokeEndpointAsync(c)
	case post && len(parts) == 2 && parts[1] == "invocations":
		return s.invokeEndpoint(c)
	case post && len(parts) == 2 && parts[1] == "invocations-response-stream":
		return s.invokeEndpointWithResponseStream(c)
	case get && len(parts) == 2 && parts[1] == "async-invocations":
		return s.listInvocations(c, parts[0])
	case get && len(parts) == 3 && parts[1] == "async-invocations":
		return s.describeInvocation(c, parts[0], parts[2])
	}
	return unknownOperation("There is no operation " + c.r.Method + " " + c.r.URL.Path + ".")
}

// invokeEndpointAsync accepts an invocation: the 202 goes out when the store
// has made it durable, and not before.
func (s *Server) invokeEndpointAsync(c *call) error {
	in, err := awsmodel.DecodeInvokeEndpointAsync(c.r, c.body)
	if err != nil {
		return err
	}
	if err := in.Validate(s.Limits); err != nil {
		return err
	}
	input, err := s.inputLocation(in)
	if err != nil {
		return err
	}
	if err := c.authorizeInvoke(*in.EndpointName, input); err != nil {
		return err
	}
	e, config, err := s.invokable(c, *in.EndpointName)
	if err != nil {
		return err
	}
	if config.Async == nil {
		return wrongInferenceType(c, e.Name)
	}
	n, err := newInvocation(c, in, input, e, config)
	if err != nil {
		return err
	}
	inv, _, err := s.Store.Accept(c.ctx(), n)
	if deferd.CodeOf(err) == deferd.NotFound {
		return noSuchEndpoint(c, *in.EndpointName)
	}
	if err != nil {
		return fmt.Errorf("accept invocation for endpoint %s: %w", e.Name, err)
	}
	return c.respondAccepted(inv)
}

// inputLocation reads where the input is; zero for an inline body or nothing.
func (s *Server) inputLocation(in *awsmodel.InvokeEndpointAsyncInput) (deferd.Location, error) {
	if in.InputLocation == nil {
		return deferd.Location{}, nil
	}
	l, err := s.S3.locate(*in.InputLocation)
	if err == nil && l.Key == "" {
		err = deferd.Errorf(deferd.Invalid, "location %q names no object", *in.InputLocation)
	}
	return l, err
}

// authorizeInvoke asks for the invocation, and for the object that it would
// have the platform read.
func (c *call) authorizeInvoke(endpoint string, input deferd.Location) error {
	if err := c.authorize("sagemaker:InvokeEndpointAsync", c.arn("endpoint", endpoint)); err != nil {
		return err
	}
	if input.IsZero() {
		return nil
	}
	return c.authorize("s3:GetObject", "arn:aws:s3:::"+input.Bucket+"/"+input.Key)
}

// invokable returns an endpoint that takes invocations, with its configuration.
// The case of the name counts, as it does on SageMaker.
func (s *Server) invokable(c *call, name string) (e deferd.Endpoint, config deferd.Config, err error) {
	e, err = s.Store.Endpoint(c.ctx(), c.principal.Account, deferd.EndpointName(name))
	if deferd.CodeOf(err) == deferd.NotFound || err == nil && (!e.Status.Accepts() || string(e.Name) != name) {
		return e, config, noSuchEndpoint(c, name)
	}
	if err != nil {
		return e, config, fmt.Errorf("find endpoint %s: %w", name, err)
	}
	config, err = s.configs.get(c.ctx(), e.ConfigID)
	if err != nil {
		return e, config, fmt.Errorf("find configuration of endpoint %s: %w", name, err)
	}
	return e, config, nil
}

func noSuchEndpoint(c *call, name string) error {
	return &failure{
		status: http.StatusBadRequest,
		detail: "NO_SUCH_ENDPOINT",
		msg:    fmt.Sprintf("Endpoint %s of account %s not found.", name, c.principal.Account),
	}
}

func wrongInferenceType(c *call, name deferd.EndpointName) error {
	return deferd.Errorf(deferd.Invalid, "Endpoint %s of account %s does not support this inference type.", name, c.principal.Account)
}

// newInvocation decides everything about an invocation that the store is to
// keep: its IDs, its locations, and its limits.
func newInvocation(c *call, in *awsmodel.InvokeEndpointAsyncInput, input deferd.Location, e deferd.Endpoint, config deferd.Config) (n deferd.NewInvocation, err error) {
	if (in.Body == nil) == (in.InputLocation == nil) {
		return n, deferd.Errorf(deferd.Invalid, "Exactly one of Body and InputLocation is required.")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return n, fmt.Errorf("make an invocation ID: %w", err)
	}
	n = deferd.NewInvocation{
		ID:               deferd.InvocationID(id.String()),
		InferenceID:      value(in.InferenceId),
		Account:          c.principal.Account,
		Endpoint:         e.ID,
		Config:           config.ID,
		AccessKey:        c.principal.AccessKey,
		Input:            input,
		Inline:           in.Body,
		ContentType:      value(in.ContentType),
		Accept:           value(in.Accept),
		CustomAttributes: value(in.CustomAttributes),
		TTL:              seconds(in.RequestTTLSeconds, deferd.DefaultTTL),
		Timeout:          seconds(in.InvocationTimeoutSeconds, deferd.DefaultTimeout),
		RetryToken:       retryToken(c, e.ID, in),
	}
	if n.InferenceID == "" {
		n.InferenceID = string(n.ID)
	}
	n.Output = deferd.OutputLocation(config.Async.OutputPath, value(in.S3OutputPathExtension), value(in.Filename), n.ID)
	n.Failure = deferd.FailureLocation(config.Async.FailurePath, n.ID)
	if n.Output.KeyTooLong() {
		return n, &awsmodel.ValidationError{Violations: []string{fmt.Sprintf(
			"Value '%s' at 's3OutputPathExtension' failed to satisfy constraint: The key of the output object, which has %d bytes with it, must have at most 1024",
			value(in.S3OutputPathExtension), len(n.Output.Key))}}
	}
	return n, nil
}

// retryToken identifies a request among the retries of an SDK, which repeat
// their invocation ID but nothing else that would tell. Everything that makes
// the invocation what it is goes in as well, so that a proxy which repeats the
// ID on other requests loses nothing. Without such an ID there is no token.
func retryToken(c *call, e deferd.EndpointID, in *awsmodel.InvokeEndpointAsyncInput) (token [16]byte) {
	sdkID := c.r.Header.Get("Amz-Sdk-Invocation-Id")
	if sdkID == "" {
		return token
	}
	h := sha256.New()
	var size [8]byte
	put := func(part []byte) { // with its length before it, so that parts cannot run into each other
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	put([]byte(c.principal.AccessKey))
	put([]byte(sdkID))
	put([]byte(e))
	for _, member := range []*string{
		in.EndpointName, in.ContentType, in.Accept, in.CustomAttributes, in.InferenceId,
		in.InputLocation, in.S3OutputPathExtension, in.Filename,
	} {
		put([]byte(value(member)))
	}
	put(fmt.Append(nil, seconds(in.RequestTTLSeconds, 0), seconds(in.InvocationTimeoutSeconds, 0)))
	put(in.Body)
	copy(token[:], h.Sum(nil))
	return token
}

// respondAccepted answers with what the invocation was accepted as, which for a
// repeat is what it was accepted as the first time.
func (c *call) respondAccepted(inv deferd.Invocation) error {
	if !inv.Output.IsZero() {
		c.w.Header().Set("X-Amzn-SageMaker-OutputLocation", inv.Output.String())
	}
	if !inv.Failure.IsZero() {
		c.w.Header().Set("X-Amzn-SageMaker-FailureLocation", inv.Failure.String())
	}
	return c.respondJSON(http.StatusAccepted, awsmodel.InvokeEndpointAsyncOutput{InferenceId: &inv.InferenceID})
}

func (s *Server) invokeEndpoint(c *call) error {
	in, err := awsmodel.DecodeInvokeEndpoint(c.r, c.body)
	err = errors.Join(err, in.Validate(s.Limits))
	return s.refuseSync(c, "sagemaker:InvokeEndpoint", in.EndpointName, err)
}

func (s *Server) invokeEndpointWithResponseStream(c *call) error {
	in, err := awsmodel.DecodeInvokeEndpointWithResponseStream(c.r, c.body)
	err = errors.Join(err, in.Validate(s.Limits))
	return s.refuseSync(c, "sagemaker:InvokeEndpointWithResponseStream", in.EndpointName, err)
}

// refuseSync answers a request for an answer at once, which no endpoint here
// gives; invalid is what is wrong with the request itself.
func (s *Server) refuseSync(c *call, action string, endpoint *string, invalid error) error {
	if invalid != nil {
		return invalid
	}
	if err := c.authorize(action, c.arn("endpoint", *endpoint)); err != nil {
		return err
	}
	e, _, err := s.invokable(c, *endpoint)
	if err != nil {
		return err
	}
	return wrongInferenceType(c, e.Name)
}

// value is what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func seconds(n *int32, otherwise time.Duration) time.Duration {
	if n == nil {
		return otherwise
	}
	return time.Duration(*n) * time.Second
}
