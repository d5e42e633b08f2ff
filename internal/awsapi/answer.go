package awsapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
	"github.com/deferd/deferd/internal/sigv4"
)

// A protocol is one of AWS's ways of writing answers.
type protocol int

const (
	s3XML    protocol = iota
	restJSON          // of the runtime and of our own operations
	json11            // of the control plane
	query             // of STS and IAM
	json10            // of CloudWatch, one of three
	rpcCBOR           // another one
)

// dialects are what differs between the protocols besides the form of errors.
var dialects = [...]struct {
	contentType     string
	requestIDHeader string
	signature       sigv4.Protocol
	validation      string // the name of the error that says that a request is wrong
	denied          string
}{
	s3XML:    {"application/xml", "x-amz-request-id", sigv4.S3, "InvalidRequest", "AccessDenied"},
	restJSON: {"application/json", "x-amzn-RequestId", sigv4.JSON, "ValidationError", "AccessDeniedException"},
	json11:   {"application/x-amz-json-1.1", "x-amzn-RequestId", sigv4.JSON, "ValidationException", "AccessDeniedException"},
	query:    {"text/xml", "x-amzn-RequestId", sigv4.Query, "ValidationError", "AccessDenied"},
	json10:   {"application/x-amz-json-1.0", "x-amzn-RequestId", sigv4.JSON, "ValidationError", "AccessDenied"},
	rpcCBOR:  {"application/cbor", "x-amzn-RequestId", sigv4.JSON, "ValidationError", "AccessDenied"},
}

func (p protocol) contentType() string     { return dialects[p].contentType }
func (p protocol) requestIDHeader() string { return dialects[p].requestIDHeader }

// A failure is an error as AWS names it.
type failure struct {
	status int
	code   string // AWS's name of the error; "" for the protocol's validation error
	detail string // ErrorCode of the runtime; "" for none
	msg    string

	// common errors are those that no service models; REST-JSON spells their
	// member "message".
	common bool
}

func (f *failure) Error() string { return f.msg }

var (
	internalFailure = &failure{status: http.StatusInternalServerError, code: "InternalFailure", msg: "The request failed because of an internal error."}
	tooLarge        = &failure{status: http.StatusRequestEntityTooLarge, code: "RequestEntityTooLargeException", msg: "The body of the request is too large.", common: true}
	tooSlow         = &failure{status: http.StatusRequestTimeout, code: "RequestTimeoutException", msg: "The body of the request came too slowly.", common: true}
	requestAborted  = &failure{status: http.StatusBadRequest, code: "RequestAbortedException", msg: "The body of the request did not arrive whole.", common: true}
)

func unknownOperation(msg string) error {
	return &failure{status: http.StatusNotFound, code: "UnknownOperationException", msg: msg, common: true}
}

// answer writes the answer to what a handler returned. An error that somebody
// must look at is logged here, once.
func (c *call) answer(err error) {
	if err == nil {
		return
	}
	f := failureOf(err, c.protocol)
	switch {
	case c.ctx().Err() != nil && errors.Is(err, context.Canceled):
		// The client has gone; there is nobody to tell and nothing wrong.
	case f == internalFailure:
		c.server.Logger.ErrorContext(c.ctx(), "request failed", "request_id", c.id, "err", err)
	case f.status == http.StatusServiceUnavailable:
		c.server.Logger.WarnContext(c.ctx(), "request refused for now", "request_id", c.id, "err", err)
	}
	if c.w.started {
		panic(http.ErrAbortHandler) // an answer that broke off must look broken
	}
	c.write(f)
}

// failureOf translates an error. It is the only place that does.
func failureOf(err error, p protocol) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*awsmodel.ValidationError](err); ok {
		return &failure{status: http.StatusBadRequest, msg: e.Error()}
	}
	if e, ok := errors.AsType[*awsmodel.SerializationError](err); ok {
		return &failure{status: http.StatusBadRequest, code: "SerializationException", msg: e.Error(), common: true}
	}
	if e, ok := errors.AsType[*sigv4.Error](err); ok {
		signature := dialects[p].signature
		return &failure{status: e.Status(signature), code: e.Code(signature), msg: e.Message, common: true}
	}
	msg := "The request failed."
	if e, ok := errors.AsType[*deferd.Error](err); ok {
		msg = cmp.Or(e.Msg, msg)
	}
	switch deferd.CodeOf(err) {
	case deferd.Invalid, deferd.NotFound, deferd.Exists, deferd.Busy, deferd.TooLarge:
		return &failure{status: http.StatusBadRequest, msg: msg}
	case deferd.Denied:
		return &failure{status: http.StatusForbidden, code: dialects[p].denied, msg: msg}
	case deferd.Unavailable:
		return &failure{status: http.StatusServiceUnavailable, code: "ServiceUnavailable", msg: "The service cannot answer now. Try again."}
	}
	return internalFailure
}

// write sends a failure in the call's protocol.
func (c *call) write(f *failure) {
	code := cmp.Or(f.code, dialects[c.protocol].validation)
	var body []byte
	switch c.protocol {
	case restJSON:
		c.w.Header().Set("x-amzn-ErrorType", code+":http://internal.amazon.com/coral/com.amazon.sagemaker/")
		body = restJSONError(f)
	case json11:
		c.w.Header().Set("x-amzn-ErrorType", code)
		body = mustJSON(struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}{code, f.msg})
	case query:
		body = queryError(f, code, c.id)
	case json10, rpcCBOR:
		body = c.cloudWatchError(f, code)
	default:
		body = s3Error(f, code, c.r.URL.Path, c.id)
	}
	if c.r.Method == http.MethodHead {
		body = nil
	}
	c.respond(f.status, c.protocol.contentType(), body)
}

func restJSONError(f *failure) []byte {
	if f.common {
		return mustJSON(struct {
			Message string `json:"message"`
		}{f.msg})
	}
	return mustJSON(struct {
		ErrorCode string `json:",omitempty"`
		Message   string
	}{f.detail, f.msg})
}

func queryError(f *failure, code, id string) []byte {
	type fault struct{ Type, Code, Message string }
	e := struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     fault
		RequestId string
	}{Error: fault{"Sender", code, f.msg}, RequestId: id}
	if f.status >= http.StatusInternalServerError {
		e.Error.Type = "Receiver"
	}
	return mustXML(e)
}

func s3Error(f *failure, code, path, id string) []byte {
	return append([]byte(xml.Header), mustXML(struct {
		XMLName                            xml.Name `xml:"Error"`
		Code, Message, Resource, RequestId string
	}{Code: code, Message: f.msg, Resource: path, RequestId: id})...)
}

// marshal writes JSON as AWS does, with <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// mustJSON and mustXML write structures of strings, which cannot fail.
func mustJSON(v any) []byte {
	b, err := marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func mustXML(v any) []byte {
	b, err := xml.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
