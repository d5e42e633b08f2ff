package main

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsapi"
	"github.com/deferd/deferd/internal/awsmodel"
	"github.com/deferd/deferd/internal/objectserver"
	"github.com/deferd/deferd/internal/sigv4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// hosts are the names that the server goes by, without ports; below them
// buckets may stand.
func (srv *server) hosts() []string {
	names := []string{"localhost"}
	for _, h := range srv.settings.PublicHost {
		name, _, _ := strings.Cut(h, ":")
		names = append(names, name)
	}
	return names
}

// api is the listener for all AWS services.
func (srv *server) api() http.Handler {
	s := srv.settings
	bucketOf := func(host string) string { return objectserver.HostBucket(host, srv.hosts()) }
	verifier := sigv4.New(srv.key, sigv4.Options{Region: s.Region, Skew: s.ClockSkew, Bucket: bucketOf, Hosts: s.PublicHost})
	objects := awsapi.S3{AWS: srv.embedded == nil && isAWS(s.S3)}
	if srv.embedded != nil {
		objects.Handler = objectHandler{srv.starting, objectserver.NewHandler(srv.embedded, objectserver.HandlerOptions{
			Region: s.region(), Account: s.Account, Hosts: srv.hosts(), Authorize: deferd.WithinAccount, Logger: srv.log,
		})}
		own, err := url.Parse(srv.url)
		if err == nil {
			objects.Hosts = append(srv.hosts(), own.Hostname())
		}
	} else if u, err := url.Parse(s.S3); err == nil {
		objects.Hosts = []string{u.Hostname()}
	}
	return awsapi.New(awsapi.Config{
		Store: srv.queue, Region: s.region(), Verifier: verifier, Authorize: deferd.WithinAccount,
		Limits: awsmodel.Limits{MaxTimeout: s.MaxTimeout, MaxTTL: s.MaxTTL, PlainWebhooks: s.plainWebhooks()}, MaxInstances: s.MaxInstances,
		Logs:    &endpointLogs{deferd.AccountID(s.Account), srv.runtime, srv.logs},
		History: srv.history, AlarmChanged: srv.history.AlarmChanged,
		S3: objects, Keys: awsapi.AccessKeys{Mint: srv.keys.NewKey, Session: srv.sessionKey, Forget: srv.forgetKey}, Topics: srv.snsSurface(), Logger: srv.log, Changed: srv.scheduler.Changed, Status: srv.status, Ready: srv.ready,
	}).Handler()
}

// An objectHandler hands the embedded S3 what was verified. It keeps everybody
// out until what an earlier life had decided is published: what clients see in
// S3 never goes back.
type objectHandler struct {
	starting func() bool
	h        *objectserver.Handler
}

func (o objectHandler) Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body *sigv4.Body) {
	if o.starting() {
		objectserver.WriteError(w, r, http.StatusServiceUnavailable, "ServiceUnavailable", "The server is starting. Please try again.", r.URL.Path)
		return
	}
	o.h.Serve(w, r, p, body)
}

// status says what runs of an endpoint's fleet.
func (srv *server) status(id deferd.EndpointID, fleet int) map[deferd.VariantName]awsapi.VariantStatus {
	out := map[deferd.VariantName]awsapi.VariantStatus{}
	for name, n := range srv.scheduler.Instances(id, fleet) {
		out[name] = awsapi.VariantStatus{Instances: n.Ready}
	}
	return out
}

// consoleHandler is the listener for those who operate the server.
func (srv *server) consoleHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(srv.metrics(), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	guarded := srv.guard(mux)
	outer := http.NewServeMux()
	outer.Handle("/", guarded)
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	outer.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := srv.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return outer
}

// guard asks for the console's password where there is one. The file is read
// at each request, so that a change needs no restart.
func (srv *server) guard(h http.Handler) http.Handler {
	path := srv.settings.ConsolePasswordFile
	if path == "" {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(path)
		want := strings.TrimSpace(string(b))
		user, got, _ := r.BasicAuth()
		if err != nil || want == "" || user != "deferd" || subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="deferd"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
