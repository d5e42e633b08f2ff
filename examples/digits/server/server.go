// Package server serves the network that reads handwritten digits as SageMaker
// wants a model container to: GET /ping and POST /invocations.
//
// An invocation takes one image, as text/csv (64 numbers) or application/json
// ({"pixels": [64 numbers]}), and answers {"digit": 7, "probabilities": [...]}.
// Whatever it refuses, it refuses with {"message": "why"}.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/deferd/deferd/examples/digits/network"
)

const (
	// drain is how long running invocations may take after SIGTERM. The
	// platform kills after 30 seconds.
	drain = 25 * time.Second

	// headerTimeout bounds how long a connection may stay without a request.
	headerTimeout = 10 * time.Second
)

// Main runs the model server as a program does, with the process's environment
// and signals, and returns its exit status. The only argument is "serve".
//
// SAGEMAKER_BIND_TO_PORT is the port (8080). SM_MODEL_DIR names the directory
// whose weights.json is used; without such a file the built-in weights are.
// DIGITS_BIND_ADDRESS is the address (127.0.0.1; 0.0.0.0 in a container).
func Main(args []string) int {
	if len(args) != 1 || args[0] != "serve" {
		fmt.Fprintln(os.Stderr, "usage: digits serve")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(ctx, log, os.Getenv); err != nil {
		log.Error("model server ended", "err", err)
		return 1
	}
	return 0
}

// run serves until ctx ends, and then until the running invocations have ended.
func run(ctx context.Context, log *slog.Logger, getenv func(string) string) error {
	n, err := load(getenv("SM_MODEL_DIR"))
	if err != nil {
		return err
	}
	address := net.JoinHostPort(
		cmp.Or(getenv("DIGITS_BIND_ADDRESS"), "127.0.0.1"),
		cmp.Or(getenv("SAGEMAKER_BIND_TO_PORT"), "8080"),
	)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	log.Info("listening", "address", listener.Addr().String())

	s := &http.Server{Handler: Handler(n), ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err = s.Shutdown(ctx)
	<-served
	return err
}

// load reads the network of dir, or the built-in one where dir is not named or
// has none.
func load(dir string) (*network.Network, error) {
	if dir == "" {
		return network.Trained()
	}
	f, err := os.Open(filepath.Join(dir, "weights.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return network.Trained()
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return network.Read(f)
}
