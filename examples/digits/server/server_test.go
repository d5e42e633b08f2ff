package server

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/deferd/deferd/examples/digits/dataset"
	"github.com/deferd/deferd/examples/digits/network"
)

// asProgram makes this test's binary run Main instead of the tests.
const asProgram = "DIGITS_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestInvocations(t *testing.T) {
	csv := dataset.HeldOut()[0].CSV()
	for _, test := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"csv", "text/csv", csv, 200},
		{"csv with charset and newline", "text/csv; charset=utf-8", csv + "\r\n", 200},
		{"json", "application/json", `{"pixels":[` + csv + `]}`, 200},
		{"csv, too few", "text/csv", "1,2,3", 400},
		{"csv, empty", "text/csv", "", 400},
		{"csv, no number", "text/csv", strings.Replace(csv, ",", ",x", 1), 400},
		{"csv, NaN", "text/csv", "NaN" + csv[1:], 400},
		{"json, too many", "application/json", `{"pixels":[` + csv + `,1]}`, 400},
		{"json, broken", "application/json", `{"pixels":[`, 400},
		{"json, null", "application/json", `null`, 400},
		{"other type", "image/png", csv, 415},
		{"no type", "", csv, 415},
		{"far too long", "text/csv", strings.Repeat("1,", maxBody), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, test.contentType, test.body)
			if got, want := w.Code, test.status; got != want {
				t.Fatalf("status %d, want %d: %s", got, want, w.Body)
			}
			if got, want := w.Header().Get("Content-Type"), "application/json"; got != want {
				t.Errorf("content type %q, want %q", got, want)
			}
			checkAnswer(t, w)
		})
	}
}

// checkAnswer checks that a good answer is the image's digit, and that a
// refusal says why.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	var body struct {
		network.Prediction
		Message string `json:"message"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != 200 {
		if body.Message == "" {
			t.Error("the refusal does not say why")
		}
		return
	}
	if got, want := body.Digit, dataset.HeldOut()[0].Label; got != want {
		t.Errorf("digit %d, want %d", got, want)
	}
	if got, want := len(body.Probabilities), 10; got != want {
		t.Errorf("%d probabilities, want %d", got, want)
	}
}

func TestRoutes(t *testing.T) {
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/ping", 200},
		{"GET", "/invocations", 405},
		{"POST", "/ping", 405},
		{"GET", "/", 404},
	} {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler(t).ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if got, want := w.Code, test.status; got != want {
				t.Errorf("status %d, want %d", got, want)
			}
		})
	}
}

// TestModelDirectory deploys weights that take every image for a 3.
func TestModelDirectory(t *testing.T) {
	dir := t.TempDir()
	row := make([]float64, network.Inputs)
	rows, bias := make([][]float64, network.Classes), make([]float64, network.Classes)
	for i := range rows {
		rows[i] = row
	}
	bias[3] = 1
	weights, err := json.Marshal(map[string]any{
		"scale":  16,
		"layers": []any{map[string]any{"weights": rows, "bias": bias}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, weights)

	n, err := load(dir)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Predict(row)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := p.Digit, 3; got != want {
		t.Errorf("digit %d, want %d", got, want)
	}
}

func TestModelDirectoryWithoutWeights(t *testing.T) {
	if _, err := load(t.TempDir()); err != nil {
		t.Errorf("the built-in weights were not used: %v", err)
	}
}

func TestModelDirectoryWithBrokenWeights(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, []byte("{"))
	if _, err := load(dir); err == nil {
		t.Error("broken weights were taken")
	}
}

// TestProgram runs the server as the platform does: with serve, a port in the
// environment, and SIGTERM at the end.
func TestProgram(t *testing.T) {
	cmd := program(t, "serve")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewReader(stderr)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).FindString(first)
	resp, err := http.Get("http://" + address + "/ping")
	if err != nil {
		t.Fatalf("after %q: %v", first, err)
	}
	resp.Body.Close()
	if got, want := resp.StatusCode, 200; got != want {
		t.Errorf("ping: status %d, want %d", got, want)
	}

	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, rest)
	}
}

func TestProgramWithoutServe(t *testing.T) {
	err := program(t, "train").Run()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != 2 {
		t.Errorf("got %v, want exit status 2", err)
	}
}

func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "SAGEMAKER_BIND_TO_PORT=0")
	return cmd
}

func post(t *testing.T, contentType, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("POST", "/invocations", strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	handler(t).ServeHTTP(w, r)
	return w
}

func handler(t *testing.T) http.Handler {
	t.Helper()
	n, err := network.Trained()
	if err != nil {
		t.Fatal(err)
	}
	return Handler(n)
}

func write(t *testing.T, dir string, weights []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "weights.json"), weights, 0o644); err != nil {
		t.Fatal(err)
	}
}
