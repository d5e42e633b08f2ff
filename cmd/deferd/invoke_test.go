package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A foreign server is SageMaker and S3 as AWS has them: nobody can ask it where
// an invocation stands.
type foreign struct {
	mu     sync.Mutex     // guards the rest
	looks  map[string]int // how often each object was looked for
	bodies []string
	most   int // requests at a time
	now    int
}

// ready is how often an object is looked for until it is there.
const ready = 3

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.now--; f.mu.Unlock() }()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/endpoints/echo/async-invocations":
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		f.bodies = append(f.bodies, string(body))
		n := len(f.bodies)
		f.mu.Unlock()
		kind := "out"
		if strings.HasPrefix(string(body), "bad") {
			kind = "none"
		}
		w.Header().Set("X-Amzn-SageMaker-OutputLocation", fmt.Sprintf("s3://b/%s/%d", kind, n))
		w.Header().Set("X-Amzn-SageMaker-FailureLocation", fmt.Sprintf("s3://b/fail/%s/%d", kind, n))
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"InferenceId":"id-%d"}`, n)
	case strings.HasPrefix(r.URL.Path, "/endpoints/"):
		w.Header().Set("x-amzn-ErrorType", "UnknownOperationException")
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"message":"unknown"}`)
	case strings.HasPrefix(r.URL.Path, "/b/"):
		f.serveObject(w, r.URL.Path)
	}
}

func (f *foreign) serveObject(w http.ResponseWriter, path string) {
	f.mu.Lock()
	f.looks[path]++
	there := f.looks[path] >= ready
	f.mu.Unlock()
	switch {
	case there && strings.HasPrefix(path, "/b/out/"):
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "result ", filepath.Base(path))
	case there && strings.HasPrefix(path, "/b/fail/none/"):
		fmt.Fprint(w, "the model said no")
	default:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `<Error><Code>NoSuchKey</Code><Message>none</Message></Error>`)
	}
}

// command runs a command against a server, and returns how it ended.
func command(t *testing.T, url string, args ...string) (out, errs string, err error) {
	t.Helper()
	t.Setenv("AWS_ENDPOINT_URL", url)
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIA1")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	var o, e bytes.Buffer
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(&o)
	root.SetErr(&e)
	err = root.ExecuteContext(t.Context())
	return o.String(), e.String(), err
}

// TestInvokeElsewhere waits for objects where nobody says how far they are.
func TestInvokeElsewhere(t *testing.T) {
	home := clearAWS(t)
	f := &foreign{looks: map[string]int{}}
	server := httptest.NewServer(f)
	defer server.Close()
	for n := range 12 {
		text := "good"
		if n == 7 {
			text = "bad"
		}
		if err := os.WriteFile(filepath.Join(home, fmt.Sprintf("%02d.txt", n)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, errs, err := command(t, server.URL, "invoke", "echo", "*.txt", "--out", "results", "--parallel", "3", "-o", "json")
	if got := exitCode(err); got != exitFailed {
		t.Fatalf("exit status %d, want %d: %v %s", got, exitFailed, err, errs)
	}
	var results []result
	if err := json.Unmarshal([]byte(out), &results); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for n, r := range results {
		want := result{Input: fmt.Sprintf("%02d.txt", n), State: "Completed", ContentType: "text/plain", File: fmt.Sprintf("results/%02d.txt.out", n)}
		if n == 7 {
			want = result{Input: "07.txt", State: "Failed", Error: "the model said no"}
		}
		got := result{Input: r.Input, State: r.State, ContentType: r.ContentType, File: r.File, Error: r.Error}
		if got != want {
			t.Errorf("result %d: %+v, want %+v", n, got, want)
		}
		if n == 7 {
			continue
		}
		text, err := os.ReadFile(r.File)
		if want := "result " + filepath.Base(r.Output); err != nil || string(text) != want {
			t.Errorf("%s has %q, want %q; %v", r.File, text, want, err)
		}
	}
	if len(results) != 12 || f.most > 3+1 { // the server may not have seen yet that a request is over
		t.Errorf("%d results, %d requests at a time, want 12 and 3", len(results), f.most)
	}
}

// A refusal ends everything: the other inputs would be refused as well.
func TestInvokeRefused(t *testing.T) {
	home := clearAWS(t)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("x-amzn-ErrorType", "ValidationError")
		w.WriteHeader(http.StatusBadRequest)
		io.WriteString(w, `{"ErrorCode":"NO_SUCH_ENDPOINT","Message":"Endpoint x of account 0 not found."}`)
	}))
	defer server.Close()
	for n := range 50 {
		if err := os.WriteFile(filepath.Join(home, fmt.Sprint(n)), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := command(t, server.URL, "invoke", "x", "*", "--parallel", "1")
	if got, want := exitCode(err), exitNotFound; got != want || asked != 1 {
		t.Errorf("exit status %d after %d requests, want %d after one: %v", got, asked, want, err)
	}
}

func TestInputs(t *testing.T) {
	home := clearAWS(t)
	for _, name := range []string{"a.csv", "b.csv", "sub/a.csv", "odd[1].csv"} {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name string
		o    invokeOptions
		in   string
		want []string // input and where its result goes
	}{
		{"pattern", invokeOptions{inputs: []string{"*.csv"}}, "", []string{"a.csv a.csv.out", "b.csv b.csv.out", "odd[1].csv odd[1].csv.out"}},
		{"name that looks like a pattern", invokeOptions{inputs: []string{"odd[1].csv", "a.csv"}}, "", []string{"odd[1].csv odd[1].csv.out", "a.csv a.csv.out"}},
		{"same name twice", invokeOptions{inputs: []string{"a.csv", "sub/a.csv", "s3://b/k/a.csv"}, out: "res"}, "",
			[]string{"a.csv res/a.csv.out", "sub/a.csv res/a.csv-2.out", "s3://b/k/a.csv res/a.csv-3.out"}},
		{"objects", invokeOptions{inputs: []string{"s3://b/k", "https://s3.example.org/b/k"}}, "", []string{"s3://b/k ", "https://s3.example.org/b/k "}},
		{"single", invokeOptions{inputs: []string{"a.csv"}}, "", []string{"a.csv "}},
		{"standard input", invokeOptions{inputs: []string{"a.csv", "-"}, out: "res"}, "x", []string{"a.csv res/a.csv.out", "- res/stdin.out"}},
		{"single into a file", invokeOptions{inputs: []string{"a.csv"}, out: "x"}, "", []string{"a.csv x"}},
		{"single into a directory", invokeOptions{inputs: []string{"a.csv"}, out: "sub"}, "", []string{"a.csv sub/a.csv.out"}},
		{"list", invokeOptions{inputsFrom: "-"}, "a.csv\n\n s3://b/x \n", []string{"a.csv a.csv.out", "s3://b/x "}},
		{"keys that lead elsewhere", invokeOptions{inputs: []string{"s3://b/..", "s3://b/x/../.."}, out: "res"}, "", []string{"s3://b/.. res/object.out", "s3://b/x/../.. res/object-2.out"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inputs, err := test.o.gather(strings.NewReader(test.in))
			if err != nil {
				t.Fatal(err)
			}
			i := &invoker{o: test.o, inputs: inputs}
			var got []string
			for n, file := range i.files() {
				got = append(got, inputs[n].name+" "+file)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("inputs and files (-want +got):\n%s", diff)
			}
		})
	}
	for name, code := range map[string]int{"nothing": exitNotFound, "*.png": exitNotFound, "sub": exitUsage} {
		o := invokeOptions{inputs: []string{name}}
		if _, err := o.gather(nil); exitCode(err) != code {
			t.Errorf("%s: exit status %d, want %d: %v", name, exitCode(err), code, err)
		}
	}
}

func TestOnceGood(t *testing.T) {
	calls := 0
	f := onceGood(func(context.Context) (string, error) {
		if calls++; calls == 1 {
			return "", os.ErrDeadlineExceeded
		}
		return fmt.Sprint("answer ", calls), nil
	})
	var got []string
	for range 3 {
		answer, err := f(t.Context())
		got = append(got, fmt.Sprint(answer, err))
	}
	if diff := cmp.Diff([]string{os.ErrDeadlineExceeded.Error(), "answer 2<nil>", "answer 2<nil>"}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
}
