package runtimetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// A Behaviour is how a model of the suite behaves.
type Behaviour string

const (
	Serves   Behaviour = "serves"   // listens, and ends on SIGTERM
	Stubborn Behaviour = "stubborn" // listens, and ignores SIGTERM
	Silent   Behaviour = "silent"   // never listens, and ends on SIGTERM
	Crashes  Behaviour = "crashes"  // prints CrashLine and exits with code 3
)

// CrashLine is what a model that crashes prints last.
const CrashLine = "the weights are all wrong"

// Started is the first line that every model prints.
const Started = "model started"

// Behaviours are all that a Runtime under test must have an image of.
func Behaviours() []Behaviour { return []Behaviour{Serves, Stubborn, Silent, Crashes} }

// Model is the main function of a model that behaves so. Its server answers
// GET /ping with 200, and GET /env?name=NAME with that variable of its
// environment.
func Model(b Behaviour) (exitCode int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Println(Started)
	switch b {
	case Crashes:
		fmt.Println(CrashLine)
		return 3
	case Silent:
		<-ctx.Done()
		return 0
	case Stubborn:
		ctx = context.Background()
	}
	return Serve(ctx, os.Getenv("SAGEMAKER_BIND_TO_PORT"))
}

// Serve is the server of a model, on the given port of any address.
func Serve(ctx context.Context, port string) (exitCode int) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, os.Getenv(r.FormValue("name")))
	})
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		return 1
	}
	return 0
}
