package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deferd/deferd"
)

// TestObjectsWhileStarting asks for an object before the server is ready: the
// answer has S3's shape, and its clients try again.
func TestObjectsWhileStarting(t *testing.T) {
	srv := &server{}
	srv.state.Store(&isStarting)
	w := httptest.NewRecorder()
	objectHandler{starting: srv.starting}.Serve(w, httptest.NewRequest(http.MethodGet, "/bucket/key", nil), deferd.Principal{}, nil)
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "<Code>ServiceUnavailable</Code>") {
		t.Errorf("answered %d %s, want 503 in S3's shape", w.Code, w.Body)
	}
	srv.becomeReady()
	if srv.starting() || srv.ready() != nil {
		t.Error("it is still starting")
	}
	srv.refuseWork()
	if srv.starting() || srv.ready() == nil {
		t.Error("while it stops, S3 goes on and work is refused; got something else")
	}
}

func TestConsolePassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	srv := &server{settings: Settings{ConsolePasswordFile: path}}
	guarded := srv.guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ask := func(user, password string) int {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.SetBasicAuth(user, password)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		return w.Code
	}
	if got := ask("deferd", ""); got != http.StatusUnauthorized {
		t.Errorf("without the file: %d, want 401", got)
	}
	if err := os.WriteFile(path, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		want           int
	}{{"deferd", "open sesame", 200}, {"deferd", "open", 401}, {"admin", "open sesame", 401}} {
		if got := ask(c.user, c.password); got != c.want {
			t.Errorf("%s with %q: %d, want %d", c.user, c.password, got, c.want)
		}
	}
}
