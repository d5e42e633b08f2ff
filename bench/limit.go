package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsapi"
	"github.com/deferd/deferd/internal/sigv4"
)

// limitKey signs the requests to the accept limit. It opens nothing else.
var limitKey = credentials{keyID: "AKIDBENCHLIMIT", secret: "the-secret-of-a-server-that-keeps-nothing", region: "us-east-1"}

// A forgetful store accepts everything for its one endpoint and keeps nothing.
// What it does not define is never asked for.
type forgetful struct {
	deferd.Store
	endpoint deferd.Endpoint
	config   deferd.Config
}

func (f *forgetful) Endpoint(context.Context, deferd.AccountID, deferd.EndpointName) (deferd.Endpoint, error) {
	return f.endpoint, nil
}

func (f *forgetful) ConfigByID(context.Context, deferd.ConfigID) (deferd.Config, error) {
	return f.config, nil
}

func (f *forgetful) Accept(_ context.Context, n deferd.NewInvocation) (deferd.Invocation, bool, error) {
	inv := deferd.Invocation{NewInvocation: n, InlineSize: int64(len(n.Inline)), Accepted: time.Now()}
	inv.Inline = nil
	return inv, false, nil
}

// runAcceptLimit serves deferd's own handler, signatures and validation
// included, over a store that keeps nothing, until ctx ends.
func runAcceptLimit(ctx context.Context, out io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	key := sigv4.Key{ID: limitKey.keyID, Secret: limitKey.secret, Principal: deferd.Principal{
		Account: account, ARN: "arn:aws:iam::" + account + ":root", AccessKey: limitKey.keyID,
	}}
	lookUp := func(_ context.Context, id string) (sigv4.Key, error) {
		if id != key.ID {
			return sigv4.Key{}, deferd.Errorf(deferd.NotFound, "no such key")
		}
		return key, nil
	}
	api := awsapi.New(awsapi.Config{
		Store: &forgetful{
			endpoint: deferd.Endpoint{ID: "endpoint", Account: account, Name: endpoint, ConfigID: "config", Status: deferd.EndpointInService},
			config: deferd.Config{ID: "config", Account: account, Async: &deferd.AsyncConfig{
				Concurrency: 1, OutputPath: deferd.Location{Bucket: bucket, Key: "out"},
			}},
		},
		Region:    limitKey.region,
		Verifier:  sigv4.New(lookUp, sigv4.Options{}),
		Authorize: deferd.WithinAccount,
		S3:        awsapi.S3{Hosts: []string{"localhost", "127.0.0.1"}},
		Logger:    slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	// The settings of deferd's own listener.
	s := &http.Server{Handler: api.Handler(), ReadHeaderTimeout: 20 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	fmt.Fprintf(out, "bench: listening on http://%s\n", listener.Addr())
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
