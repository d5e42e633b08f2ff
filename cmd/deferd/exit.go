package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

// What the program's exit status says to scripts.
const (
	exitFailed      = 1 // it was tried and did not work: a model's failure, a file, a bug
	exitUsage       = 2 // the command line makes no sense, or nothing says where to act
	exitNotFound    = 3 // what was named is not there
	exitDenied      = 4 // the keys are wrong, or may not do it
	exitUnavailable = 5 // nobody answers, not now, or not in time
	exitInterrupted = 130
)

// A usageError says what is wrong with the command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// An exitError ends the program with a status of its own.
type exitError struct {
	code int
	err  error // nil: everything has been said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// An apiError is a refusal by a service, in its own terms.
type apiError struct {
	operation string
	code      string // such as ValidationException
	msg       string
	status    int // of HTTP

	// again says that an earlier try failed on the server's side, and may have
	// been carried out.
	again bool
}

func (e *apiError) Error() string {
	if e.msg == "" {
		return e.operation + ": " + e.code
	}
	return e.operation + ": " + e.msg
}

// missing reports whether the refusal is for want of what was named.
func (e *apiError) missing() bool {
	switch e.code {
	case "NoSuchKey", "NoSuchBucket", "NotFound", "NoSuchEntity", "ResourceNotFound", "ResourceNotFoundException":
		return true
	case "ValidationException", "ValidationError":
		return strings.Contains(e.msg, "Could not find") || strings.Contains(e.msg, "not found")
	}
	return e.status == http.StatusNotFound
}

func (e *apiError) denied() bool {
	switch e.code {
	case "AccessDenied", "AccessDeniedException", "InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException",
		"SignatureDoesNotMatch", "InvalidSignatureException", "ExpiredToken", "ExpiredTokenException":
		return true
	}
	return e.status == http.StatusUnauthorized || e.status == http.StatusForbidden
}

func (e *apiError) passing() bool {
	return e.status >= http.StatusInternalServerError || e.status == http.StatusTooManyRequests || strings.HasPrefix(e.code, "Throttling")
}

// asAPIError finds the refusal in an error of any client.
func asAPIError(err error) (*apiError, bool) {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e, true
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		return &apiError{operation: "invocations", code: e.Code, msg: e.Message, status: e.Status}, true
	}
	refusal, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return nil, false
	}
	e := &apiError{code: refusal.ErrorCode(), msg: refusal.ErrorMessage()}
	if o, ok := errors.AsType[*smithy.OperationError](err); ok {
		e.operation = o.OperationName
	}
	if r, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		e.status = r.HTTPStatusCode()
	}
	return e, true
}

// isMissing reports whether an error says that what was named is not there.
func isMissing(err error) bool {
	e, ok := asAPIError(err)
	return ok && e.missing()
}

// exitCode is what the program ends with after an error.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*usageError](err); ok || isCobraUsage(err) {
		return exitUsage
	}
	if e, ok := asAPIError(err); ok {
		switch {
		case e.missing():
			return exitNotFound
		case e.denied():
			return exitDenied
		case e.passing():
			return exitUnavailable
		}
		return exitFailed
	}
	switch {
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, context.DeadlineExceeded), isNetwork(err):
		return exitUnavailable
	case errors.Is(err, os.ErrNotExist):
		return exitNotFound
	}
	return exitFailed
}

// isCobraUsage recognizes what cobra itself says about a command line.
func isCobraUsage(err error) bool {
	return strings.HasPrefix(err.Error(), "unknown command ")
}

// isNetwork reports whether an error is that somebody else did not answer; an
// address that cannot be listened on is a mistake of ours.
func isNetwork(err error) bool {
	op, failed := errors.AsType[*net.OpError](err)
	failed = failed && op.Op != "listen"
	_, sent := errors.AsType[*url.Error](err)
	return failed || sent
}

// explain is what the program says about an error: who did not answer, or what
// was refused, without the ways that it took through a client.
func explain(err error) string {
	if told, ok := errors.AsType[*exitError](err); ok && told.err == nil {
		return ""
	}
	if at, ok := errors.AsType[*url.Error](err); ok && isNetwork(err) {
		where := at.URL
		if u, err := url.Parse(at.URL); err == nil {
			where = u.Scheme + "://" + u.Host
		}
		switch {
		case errors.Is(err, context.Canceled):
			return "interrupted"
		case errors.Is(err, context.DeadlineExceeded):
			return "no answer from " + where + " in time"
		case errors.Is(err, syscall.ECONNREFUSED):
			return "no server answers at " + where + ": is `deferd serve` running?"
		}
		return "no answer from " + where + ": " + at.Err.Error()
	}
	if _, wrapped := errors.AsType[*smithy.OperationError](err); wrapped {
		if e, ok := asAPIError(err); ok {
			return e.Error()
		}
	}
	if errors.Is(err, context.Canceled) && strings.HasSuffix(err.Error(), context.Canceled.Error()) {
		return "interrupted"
	}
	return err.Error()
}

// arguments makes what is wrong with a command's arguments an error of usage.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%v\nUsage: %s", err, cmd.UseLine())
		}
		return nil
	}
}
