package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The modules of AWS's SDK hold snapshots of every operation, as requests with
// every member set and as answers with every member set. They are read where Go
// keeps the modules; nothing of them is copied here.

// snapshots is the directory of that name in a service's module.
func snapshots(t *testing.T, service, name string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/"+service).Output()
	if err != nil {
		t.Fatalf("find the module of %s: %v", service, err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), name)
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("the module of %s has no snapshots: %v", service, err)
	}
	return dir
}

// A snapshot is a request or an answer: its first line, its headers, its body.
type snapshot struct {
	operation string
	first     string
	header    http.Header
	body      []byte
}

// readSnapshots reads all snapshots whose names have the suffix.
func readSnapshots(t *testing.T, dir, suffix string) []snapshot {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("no snapshots *%s in %s: %v", suffix, dir, err)
	}
	var all []snapshot
	for _, file := range files {
		name := filepath.Base(file)
		all = append(all, parseSnapshot(strings.TrimSuffix(name, suffix), readFile(t, dir, name)))
	}
	return all
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func parseSnapshot(operation string, text []byte) snapshot {
	s := snapshot{operation: operation, header: http.Header{}}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	s.first = string(first)
	rest = bytes.TrimPrefix(rest, []byte("\n")) // requests have a blank line there
	for {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		name, value, ok := strings.Cut(string(line), ": ")
		if !ok {
			break
		}
		s.header.Add(name, value)
	}
	s.body = rest
	return s
}

// A signer sends requests of its own making, signed as the SDK does.
type signer struct {
	t     *testing.T
	url   string
	creds aws.Credentials
	cfg   aws.Config
}

func (s *server) signer(t *testing.T) *signer {
	t.Helper()
	cfg := s.awsConfig()
	creds, err := cfg.Credentials.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &signer{t, s.url, creds, cfg}
}

// unsigned stands for a body that S3's signature leaves out.
const unsigned = "UNSIGNED-PAYLOAD"

// sign signs a request whose body is known.
func (s *signer) sign(r *http.Request, service string, body []byte) {
	s.t.Helper()
	sum := sha256.Sum256(body)
	s.signPayload(r, service, hex.EncodeToString(sum[:]))
}

// signPayload signs a request with what stands for its body.
func (s *signer) signPayload(r *http.Request, service, payload string) {
	s.t.Helper()
	if service == "s3" {
		r.Header.Set("X-Amz-Content-Sha256", payload)
	}
	err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = service == "s3" }).
		SignHTTP(s.t.Context(), s.creds, r, payload, service, s.cfg.Region, time.Now())
	if err != nil {
		s.t.Fatal(err)
	}
}

// An answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %.300s", a.status, a.body) }

// send signs and sends a request.
func (s *signer) send(service, method, target string, header http.Header, body []byte) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+target, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header.Clone()
	s.sign(r, service, body)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	return answer{resp.StatusCode, resp.Header, read}
}

// replay sends a request snapshot as it is.
func (s *signer) replay(service string, shot snapshot) answer {
	s.t.Helper()
	method, target, _ := strings.Cut(shot.first, " ")
	return s.send(service, method, target, shot.header, shot.body)
}

// call sends a document to an operation of the control plane.
func (s *signer) call(operation string, document any) answer {
	s.t.Helper()
	body, err := json.Marshal(document)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send("sagemaker", "POST", "/", http.Header{
		"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"SageMaker." + operation},
	}, body)
}

// jsonError reads an error of a JSON protocol.
func (a answer) jsonError() (code, message string) {
	var e struct {
		Type    string `json:"__type"`
		Message string // of either case
	}
	json.Unmarshal(a.body, &e)
	code, _, _ = strings.Cut(a.header.Get("X-Amzn-Errortype"), ":")
	if code == "" {
		code = e.Type
	}
	return code, e.Message
}

// controlOperations are those of the control plane that are served.
var controlOperations = []string{
	"AddTags", "CreateEndpoint", "CreateEndpointConfig", "CreateModel", "DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel",
	"DeleteTags", "DescribeEndpoint", "DescribeEndpointConfig", "DescribeModel", "ListEndpointConfigs", "ListEndpoints", "ListModels",
	"ListTags", "UpdateEndpoint", "UpdateEndpointWeightsAndCapacities",
}

func TestGolden(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	t.Run("control plane", func(t *testing.T) { testGoldenControl(t, s) })
	t.Run("echo", func(t *testing.T) { testGoldenEcho(t, s) })
	t.Run("runtime", func(t *testing.T) { testGoldenRuntime(t, s) })
	t.Run("STS", func(t *testing.T) { testGoldenSTS(t, s) })
	t.Run("S3", func(t *testing.T) { testGoldenS3(t, s) })
	t.Run("answers", func(t *testing.T) { testGoldenAnswers(t, s) })
}

// testGoldenControl replays every operation of SageMaker. Of those that are
// served, every member at every depth must be known: with a value of another
// type in its place the request cannot be read.
func testGoldenControl(t *testing.T, s *server) {
	c := s.signer(t)
	served, members := 0, 0
	for _, shot := range readSnapshots(t, snapshots(t, "sagemaker", "request_snapshot"), ".request.snap") {
		a := c.replay("sagemaker", shot)
		code, message := a.jsonError()
		if !slices.Contains(controlOperations, shot.operation) {
			if a.status != http.StatusNotFound || code != "UnknownOperationException" || !strings.Contains(message, shot.operation) {
				t.Errorf("%s, which is not served: %v", shot.operation, a)
			}
			continue
		}
		served++
		if a.status != http.StatusBadRequest || code != "ValidationException" || !strings.Contains(message, "alue '__") && !strings.Contains(message, "not find") {
			t.Errorf("%s: %v, want a validation error that names a member", shot.operation, a)
		}
		var tree any
		if err := json.Unmarshal(shot.body, &tree); err != nil {
			t.Fatalf("%s: %v", shot.operation, err)
		}
		for path, wrong := range mistyped(tree) {
			members++
			a := c.call(shot.operation, wrong)
			if code, _ := a.jsonError(); code != "SerializationException" {
				t.Errorf("%s does not know the member %s: %v", shot.operation, path, a)
			}
		}
	}
	if served != len(controlOperations) {
		t.Errorf("%d operations had a snapshot, want %d", served, len(controlOperations))
	}
	t.Logf("replayed %d operations that are served, and each of their %d members", served, members)
}

// mistyped yields a document once for each of its members, with a value of
// another type in that member's place.
func mistyped(tree any) func(yield func(path string, document any) bool) {
	return func(yield func(string, any) bool) {
		var walk func(at any, path string) bool
		walk = func(at any, path string) bool {
			switch at := at.(type) {
			case map[string]any:
				for _, name := range slices.Sorted(maps.Keys(at)) {
					value := at[name]
					at[name] = []any{[]any{}}
					if _, list := value.([]any); list {
						at[name] = "text"
					}
					ok := yield(path+"."+name, tree)
					at[name] = value
					if !ok || !walk(value, path+"."+name) {
						return false
					}
				}
			case []any:
				return len(at) == 0 || walk(at[0], path+"[]")
			}
			return true
		}
		walk(tree, "")
	}
}
