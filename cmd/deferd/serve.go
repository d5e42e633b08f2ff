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
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Example: `  deferd serve
  deferd serve --data /var/lib/deferd --listen 0.0.0.0:8780 --public-host inference.example.org`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readSettings(cmd)
			if err != nil {
				return usagef("%v", err)
			}
			return serve(cmd.Context(), s, newLogger(cmd.ErrOrStderr(), s.LogFormat), cmd.OutOrStdout())
		},
	}
	addFlags(cmd)
	return cmd
}

func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// Limits of the listeners. Bodies have none as a whole: see pace.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeaders    = 64 << 10
	// lastAnswers is how long requests that are being answered may take after
	// everything else has stopped.
	lastAnswers = 5 * time.Second
)

// serve runs a server until ctx ends, and stops it in order: new work is
// refused, what runs may finish, the rest goes back, then everything closes.
func serve(ctx context.Context, s Settings, log *slog.Logger, out io.Writer) (err error) {
	listener, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("%w: name another address with --listen", err)}
	}
	defer listener.Close()
	console, err := net.Listen("tcp", s.Console)
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("%w: name another address with --console", err)}
	}
	defer console.Close()
	url := addressURL(listener, s.TLSCert != "")
	srv, err := build(ctx, s, url, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.close()) }()

	api := newHTTPServer(srv.api(), log)
	operator := newHTTPServer(srv.consoleHandler(), log)
	if s.TLSCert != "" {
		certs, err := loadCertificate(s.TLSCert, s.TLSKey)
		if err != nil {
			return err
		}
		api.TLSConfig = certs.config()
	}
	if err := writeFile(filepath.Join(s.Data, addressFile), url+"\n", 0o644); err != nil {
		return err
	}

	// Work lives in one context, what serves it in another that ends later.
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	var g errgroup.Group
	failed := make(chan struct{}, 1) // has room: a part may fail before anybody looks
	start := func(name string, run func() error) {
		g.Go(func() error {
			if err := run(); err != nil {
				select {
				case failed <- struct{}{}: // the others cannot go on without it
				default:
				}
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	start("store", func() error { return srv.store.Watch(serving) })
	if srv.faults != nil {
		start("faults", func() error { srv.faults.Follow(serving, os.Getenv(faultsVariable), log); return nil })
	}
	start("dispatch", func() error { return srv.dispatch.Run(serving) })
	if srv.topics != nil {
		start("topics", func() error { return srv.topics.Run(serving) })
	}
	start("outbox", func() error { return srv.outbox.Run(serving) })
	start("history", func() error { return srv.history.Run(serving) })
	start("runtime", func() error { return srv.runtime.Run(serving) })
	start("listener", func() error { return serveHTTP(api, listener) })
	start("console", func() error { return serveHTTP(operator, console) })
	scheduled := make(chan struct{})
	start("scheduler", func() error { defer close(scheduled); return srv.scheduler.Run(work) })

	select {
	case <-srv.dispatch.Published():
		srv.becomeReady()
		fmt.Fprintf(out, "deferd: listening on %s (console %s)\n", url, addressURL(console, false))
		select {
		case <-ctx.Done():
		case <-failed:
		}
	case <-ctx.Done():
	case <-failed:
	}
	log.Info("stopping", "limit", s.StopLimit)
	srv.refuseWork()
	stopWork()
	<-scheduled // agents have finished or given back, instances are gone
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	for _, h := range []*http.Server{api, operator} {
		if h.Shutdown(deadline) != nil {
			h.Close()
		}
	}
	stopServing()
	return g.Wait()
}

func newHTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           slowest.keep(h),
		ConnState:         newConnections(maxConnections(), log).changed,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func serveHTTP(h *http.Server, l net.Listener) error {
	var err error
	if h.TLSConfig != nil {
		err = h.ServeTLS(l, "", "")
	} else {
		err = h.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// addressURL is where clients on this machine find a listener.
func addressURL(l net.Listener, tls bool) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return l.Addr().String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	if tls {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// lockData keeps a second server off the data directory.
func lockData(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("the data directory %s is in use by another server: stop that one, or name another directory with --data (%w)", dir, err)
	}
	return f, nil
}
