package peer

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// Main is the program of the peer with that name. It does not return.
func Main(name string, open func(context.Context, Settings) (Queue, error)) {
	// A child is killed with the thread that started it, which must not end
	// before the program does.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, name, open, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A command is what the command line asks for.
type command struct {
	listen, dir, model, s3, output string
	concurrency                    int
	workers, group                 bool
}

func readCommand(name string, args []string) (command, error) {
	var c command
	if len(args) == 0 || args[0] != "serve" {
		return c, fmt.Errorf("usage: %s serve [flags]", name)
	}
	flags := flag.NewFlagSet(name+" serve", flag.ContinueOnError)
	flags.StringVar(&c.listen, "listen", "127.0.0.1:0", "`address` of the front")
	flags.StringVar(&c.dir, "dir", "", "`directory` for everything that is kept; made if it is not there")
	flags.StringVar(&c.model, "model", "", "`URL` of the model, without /invocations")
	flags.StringVar(&c.s3, "s3", "", "`URL` of the S3 server; keys and region come from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION")
	flags.StringVar(&c.output, "output", "s3://sagemaker-us-east-1-000000000000/out", "`location` below which outputs are put")
	flags.IntVar(&c.concurrency, "concurrency", 64, "how many invocations are worked on at a time")
	flags.BoolVar(&c.workers, "workers", true, "begin to work at once, and not with POST /workers")
	flags.BoolVar(&c.group, "group", false, "let concurrent accepts share a transaction (not with asynq, where Redis does it)")
	if err := flags.Parse(args[1:]); err != nil {
		return c, err
	}
	if flags.NArg() > 0 || c.dir == "" || c.model == "" || c.s3 == "" || c.concurrency < 1 {
		return c, errors.New("--dir, --model and --s3 are needed, a concurrency of at least 1, and nothing else")
	}
	return c, nil
}

func run(ctx context.Context, name string, open func(context.Context, Settings) (Queue, error), args []string, out io.Writer) (err error) {
	c, err := readCommand(name, args)
	if err != nil {
		return err
	}
	w, err := newWorker(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	q, err := open(ctx, Settings{Dir: c.dir, Group: c.group, Work: w.work, Logger: logger})
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	durability, err := q.Durability(ctx)
	if err != nil {
		return fmt.Errorf("durability: %w", err)
	}
	fmt.Fprintf(out, "%s: durability: %s\n", name, durability)
	f := &front{queue: q, output: w.output, logger: logger}
	if c.workers {
		if err := f.setWorkers(ctx, c.concurrency); err != nil {
			return err
		}
	}
	listener, err := net.Listen("tcp", c.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s: listening on http://%s\n", name, listener.Addr())
	return f.serve(ctx, listener)
}
