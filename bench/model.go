package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// What a model reads from its environment: the URL that it waits for before it
// answers its first request (without it, it answers at once), and the cores that
// it keeps to, where it is not to share its parent's.
const (
	gateVariable  = "BENCH_GATE"
	coresVariable = "BENCH_CORES"
)

// smallAnswer is the largest input that the model reads whole before it
// answers. Beyond it, it answers while it reads, so that it needs no memory.
const smallAnswer = 128 << 10

// runModel is a model that answers with its input.
func runModel(ctx context.Context) error {
	var own []int
	for c := range strings.SplitSeq(os.Getenv(coresVariable), ",") {
		if n, err := strconv.Atoi(c); err == nil {
			own = append(own, n)
		}
	}
	if err := moveTo(own); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("SAGEMAKER_BIND_TO_PORT"))
	if err != nil {
		return err
	}
	open := make(chan struct{})
	go func() {
		if err := awaitGate(ctx, os.Getenv(gateVariable)); err != nil {
			log.Print("the gate: ", err)
			return
		}
		close(open)
	}()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /invocations", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
			echo(w, r)
		case <-r.Context().Done():
		case <-ctx.Done():
		}
	})
	s := &http.Server{Handler: mux}
	stopped := context.AfterFunc(ctx, func() { s.Close() })
	defer stopped()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// modelEnv is the environment of a model on the load's cores.
func (p *plan) modelEnv(g *gate) map[string]string {
	env := map[string]string{}
	if g != nil {
		env[gateVariable] = g.url
	}
	if len(p.cores.load) > 0 {
		env[coresVariable] = strings.Trim(strings.ReplaceAll(fmt.Sprint(p.cores.load), " ", ","), "[]")
	}
	return env
}

func awaitGate(ctx context.Context, url string) error {
	if url == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func echo(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if r.ContentLength >= 0 {
		h.Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	if 0 <= r.ContentLength && r.ContentLength <= smallAnswer {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Write(body)
		return
	}
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
		panic(http.ErrAbortHandler)
	}
	if _, err := io.Copy(w, r.Body); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// A gate holds models back until it is opened.
type gate struct {
	url    string
	server *http.Server
	opened chan struct{}
}

func newGate() (*gate, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{url: "http://" + listener.Addr().String() + "/", opened: make(chan struct{})}
	g.server = &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-g.opened:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}),
	}
	go g.server.Serve(listener) // ends with close
	return g, nil
}

func (g *gate) open()  { close(g.opened) }
func (g *gate) close() { g.server.Close() }
