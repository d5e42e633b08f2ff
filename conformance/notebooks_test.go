package conformance

import (
	"context"
	"testing"
)

// notebooks are programs that go the ways of AWS's own notebooks, from the first
// upload to the last deletion, and end with status 1 where one is blocked.
var notebooks = []struct {
	name string
	walk
}{
	{"walk-through", walk{"boto3", pythonWalk("notebook_boto3.py", "DEFERD_BOTO3_PYTHON", "boto3")}},
	{"inline", walk{"boto3", pythonWalk("notebook_inline.py", "DEFERD_BOTO3_PYTHON", "boto3")}},
	{"SDK", walk{"sagemaker", pythonWalk("notebook_sdk.py", "DEFERD_SAGEMAKER_PYTHON", "sagemaker<3")}},
	{"SDK 3", walk{"sagemaker3", pythonWalk("notebook_sdk3.py", "DEFERD_SAGEMAKER3_PYTHON", "sagemaker>=3")}},
}

// TestNotebooks runs each against a server of its own, whose scaling periods
// are short.
func TestNotebooks(t *testing.T) {
	t.Parallel()
	for _, w := range notebooks {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			command, env := w.ready(t)
			s := newServer(t)
			s.args = []string{"--scaling-period", "300ms"}
			s.start()
			ctx, cancel := context.WithTimeout(t.Context(), walkTime)
			defer cancel()
			if out, err := w.on(ctx, s, command, env).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			s.awaitNoModels()
		})
	}
}
