package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/deferd/deferd/client"
)

func TestExitCode(t *testing.T) {
	refused := &url.Error{Op: "Post", URL: "http://127.0.0.1:8780/some/path?query", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	sdk := &smithy.OperationError{ServiceID: "S3", OperationName: "GetObject", Err: &smithy.GenericAPIError{Code: "NoSuchKey", Message: "The specified key does not exist."}}
	for _, test := range []struct {
		name string
		err  error
		code int
		text string
	}{
		{"anything", errors.New("a bug"), exitFailed, "a bug"},
		{"usage", usagef("no %s", "flag"), exitUsage, "no flag"},
		{"unknown command", errors.New(`unknown command "x" for "deferd"`), exitUsage, `unknown command "x" for "deferd"`},
		{"of its own", &exitError{exitDenied, errors.New("no")}, exitDenied, "no"},
		{"said before", &exitError{code: exitFailed}, exitFailed, ""},
		{"refused connection", fmt.Errorf("CreateModel: %w", refused), exitUnavailable, "no server answers at http://127.0.0.1:8780: is `deferd serve` running?"},
		{"late", fmt.Errorf("wait: %w", context.DeadlineExceeded), exitUnavailable, "wait: context deadline exceeded"},
		{"interrupt", fmt.Errorf("wait: %w", context.Canceled), exitInterrupted, "interrupted"},
		{"SDK", fmt.Errorf("read: %w", sdk), exitNotFound, "GetObject: The specified key does not exist."},
		{"no such model", &apiError{operation: "DeleteModel", code: "ValidationException", msg: `Could not find model "x".`, status: 400}, exitNotFound, `DeleteModel: Could not find model "x".`},
		{"invalid", &apiError{operation: "CreateModel", code: "ValidationException", msg: "1 validation error detected: x", status: 400}, exitFailed, "CreateModel: 1 validation error detected: x"},
		{"denied", &apiError{operation: "CreateModel", code: "AccessDeniedException", msg: "no", status: 400}, exitDenied, "CreateModel: no"},
		{"forbidden", &apiError{operation: "CreateModel", code: "Whatever", status: 403}, exitDenied, "CreateModel: Whatever"},
		{"busy", &apiError{operation: "CreateModel", code: "ThrottlingException", msg: "slow", status: 400}, exitUnavailable, "CreateModel: slow"},
		{"down", &apiError{operation: "CreateModel", code: "ServiceUnavailable", msg: "later", status: 503}, exitUnavailable, "CreateModel: later"},
		{"no such invocation", &client.Error{Status: 404, Code: "ResourceNotFound", Message: "none"}, exitNotFound, "ResourceNotFound: none"},
		{"no file", &fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, exitNotFound, "open x: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := exitCode(test.err); got != test.code {
				t.Errorf("exit status %d, want %d", got, test.code)
			}
			if got := explain(test.err); got != test.text {
				t.Errorf("it says %q, want %q", got, test.text)
			}
		})
	}
}
