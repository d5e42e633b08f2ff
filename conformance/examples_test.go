package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestExamples does what the examples' own READMEs say.
func TestExamples(t *testing.T) {
	t.Parallel()
	python := boto3Python(t)
	for _, example := range []string{"python-model", "notebook"} {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, python)
			r.clone()
			r.follow(filepath.Join("..", "examples", example, "README.md"))
		})
	}
	t.Run("python-model-alone", func(t *testing.T) {
		t.Parallel()
		m := startPythonModel(t, python)
		m.checkAnswers()
		m.checkStop()
	})
}

// A pythonModel is examples/python-model without deferd.
type pythonModel struct {
	t       *testing.T
	address string
	cmd     *exec.Cmd
	gone    chan error
}

func startPythonModel(t *testing.T, python string) *pythonModel {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples", "python-model"))); err != nil {
		t.Fatal(err)
	}
	train := exec.CommandContext(t.Context(), "sh", "-c", `"$0" train.py && tar -xzf model.tar.gz`, python)
	train.Dir = dir
	if out, err := train.CombinedOutput(); err != nil {
		t.Fatalf("train: %v\n%s", err, out)
	}
	// Free a moment ago: the model cannot say which port it took.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	m := &pythonModel{t: t, address: l.Addr().String(), gone: make(chan error, 1)}
	_, port, _ := net.SplitHostPort(m.address)
	m.cmd = exec.Command(python, "model.py", "serve")
	m.cmd.Dir, m.cmd.Env = dir, append(os.Environ(), "SAGEMAKER_BIND_TO_PORT="+port, "SM_MODEL_DIR="+dir)
	var log strings.Builder
	m.cmd.Stderr = &log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.gone <- m.cmd.Wait()
	}()
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the model's log:\n%s", log.String())
		}
	})
	await(t, "the model to listen", func() bool { return m.listens() })
	return m
}

func (m *pythonModel) listens() bool {
	c, err := net.Dial("tcp", m.address)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// checkAnswers sends what it knows, and what it has to refuse.
func (m *pythonModel) checkAnswers() {
	for _, test := range []struct {
		name, path, contentType, body string
		want                          int
		language                      string
	}{
		{"plain", "/invocations", "text/plain", "Where have all the flowers gone?", 200, "en"},
		{"another charset", "/invocations", "text/plain; charset=latin-1", "l\xe0 c\xf4t\xe9 de la for\xeat", 200, "fr"},
		{"JSON", "/invocations", "application/json; charset=utf-8", `{"text": "Sag mir, wo die Blumen sind"}`, 200, "de"},
		{"no UTF-8", "/invocations", "text/plain", "\xff\xfe", 400, ""},
		{"unknown charset", "/invocations", "text/plain; charset=none", "x", 400, ""},
		{"nothing", "/invocations", "text/plain", " \n", 400, ""},
		{"broken JSON", "/invocations", "application/json", `{"text": `, 400, ""},
		{"deep JSON", "/invocations", "application/json", strings.Repeat("[", 1<<17), 400, ""},
		{"other JSON", "/invocations", "application/json", `[1]`, 400, ""},
		{"no text", "/invocations", "application/json", `{"text": 1}`, 400, ""},
		{"another type", "/invocations", "text/csv", "a,b", 415, ""},
		{"too long", "/invocations", "text/plain", strings.Repeat("x", 5<<20), 413, ""},
		{"another path", "/other", "text/plain", "x", 404, ""},
	} {
		resp, err := http.Post("http://"+m.address+test.path, test.contentType, strings.NewReader(test.body))
		if err != nil {
			m.t.Errorf("%s: %v", test.name, err)
			continue
		}
		var answer struct{ Language, Message string }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.want || answer.Language != test.language || (answer.Message == "") != (test.want == 200) {
			m.t.Errorf("%s: %d %+v %v, want %d, language %q", test.name, resp.StatusCode, answer, err, test.want, test.language)
		}
	}
}

// checkStop sends SIGTERM during a request, which must still be answered.
func (m *pythonModel) checkStop() {
	c, err := net.Dial("tcp", m.address)
	if err != nil {
		m.t.Fatal(err)
	}
	defer c.Close()
	const text = "where are you?"
	fmt.Fprintf(c, "POST /invocations HTTP/1.1\r\nHost: model\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(text), text[:5])
	// Once the next connection is answered, the model has that one too.
	resp, err := http.Get("http://" + m.address + "/ping")
	if err != nil {
		m.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Fatalf("GET /ping: status %d, want 200", resp.StatusCode)
	}
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	await(m.t, "the model to stop listening", func() bool { return !m.listens() })
	io.WriteString(c, text[5:])
	resp, err = http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		m.t.Fatalf("the request that was under way: %v", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		m.t.Errorf("the request that was under way: status %d, want 200", resp.StatusCode)
	}
	select {
	case err := <-m.gone:
		if err != nil {
			m.t.Errorf("after SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(patience):
		m.t.Errorf("the model did not end within %v of SIGTERM", patience)
	}
}
