package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/google/go-cmp/cmp"
)

// What the program's exit statuses mean.
const (
	exitFailed = 1 + iota
	exitUsage
	exitNotFound
	exitDenied
	exitUnavailable
	exitInterrupted = 130
)

// A person types commands where a server keeps its data, with nothing else set.
type person struct {
	t *testing.T
	s *server
}

// person returns somebody whose server also has an image that does not start,
// and one that never answers.
func (s *server) person() *person {
	s.t.Helper()
	f, err := os.OpenFile(s.imagesFile(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString("  local/broken:1:\n    command: [no-such-program]\n  local/mute:1:\n    command: [sh, -c, exec sleep 600]\n")
	if err := errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
	return &person{s.t, s}
}

func (p *person) with(t *testing.T) *person { return &person{t, p.s} }

// A said is what a command printed, and how it ended.
type said struct {
	out, err string
	code     int
}

func (p *person) cmd(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	p.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, deferdProgram, args...)
	cmd.Dir = p.s.dir
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "AWS_") && !strings.HasPrefix(e, "DEFERD_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	// HOME is elsewhere, so that nobody's AWS configuration has a say.
	cmd.Env = append(cmd.Env, "HOME="+p.s.dir, "DEFERD_DATA=data", "DEFERD_IMAGES=images.yaml", "AWS_EC2_METADATA_DISABLED=true")
	return cmd
}

// run runs a command that gets input.
func (p *person) run(input string, args ...string) said {
	p.t.Helper()
	cmd := p.cmd(args...)
	cmd.Stdin = strings.NewReader(input)
	return p.finish(cmd)
}

func (p *person) finish(cmd *exec.Cmd) said {
	p.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		p.t.Fatalf("%q: %v", cmd.Args, err)
	}
	return said{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// do runs a command that has to work, and returns what it printed.
func (p *person) do(args ...string) string {
	p.t.Helper()
	got := p.run("", args...)
	if got.code != 0 {
		p.t.Fatalf("deferd %s: exit status %d\n%s", strings.Join(args, " "), got.code, got.err)
	}
	return got.out
}

// fails runs a command that has to end with a status, and say something.
func (p *person) fails(code int, say string, args ...string) {
	p.t.Helper()
	got := p.run("", args...)
	if got.code != code || !strings.Contains(got.err, say) {
		p.t.Errorf("deferd %s: exit status %d, want %d; it says %q, want %q in it", strings.Join(args, " "), got.code, code, got.err, say)
	}
}

// json runs a command with --output json and reads the document.
func (p *person) json(v any, args ...string) {
	p.t.Helper()
	text := p.do(append(args, "--output", "json")...)
	if err := json.Unmarshal([]byte(text), v); err != nil {
		p.t.Fatalf("deferd %s prints no JSON: %v\n%s", strings.Join(args, " "), err, text)
	}
}

func (p *person) write(name, content string) {
	p.t.Helper()
	path := filepath.Join(p.s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) read(name string) string {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.s.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// left names what SageMaker's lists list.
func (p *person) left() (names []string) {
	p.t.Helper()
	c := p.s.client().with(p.t)
	endpoints, err := c.control.ListEndpoints(p.t.Context(), &sagemaker.ListEndpointsInput{})
	c.must("list endpoints", err)
	for _, e := range endpoints.Endpoints {
		names = append(names, "endpoint "+*e.EndpointName)
	}
	configs, err := c.control.ListEndpointConfigs(p.t.Context(), &sagemaker.ListEndpointConfigsInput{})
	c.must("list configurations", err)
	for _, e := range configs.EndpointConfigs {
		names = append(names, "configuration "+*e.EndpointConfigName)
	}
	models, err := c.control.ListModels(p.t.Context(), &sagemaker.ListModelsInput{})
	c.must("list models", err)
	for _, m := range models.Models {
		names = append(names, "model "+*m.ModelName)
	}
	return names
}

// base is where an endpoint's objects are unless something else is said.
const base = "s3://sagemaker-us-east-1-000000000000/echo/"

// A deployed is what deploy prints.
type deployed struct {
	Endpoint, Status, Model, EndpointConfig, ModelData, Output, Failure string
	Updated                                                             bool
}

// An invoked is what invoke prints for each input.
type invoked struct {
	Input, State, InferenceID, OutputLocation, FailureLocation, ContentType, File, Body, Error, Reason string
}

// TestPeople walks through the life of an endpoint by commands.
func TestPeople(t *testing.T) {
	t.Parallel()
	p := startServer(t).person()
	p.write("md/weights.json", "[1,2,3]")
	p.write("md/code/run.py", "pass")

	var d deployed
	p.json(&d, "deploy", "echo", "--image", image, "--model-data", "md", "--env", "A=b=c", "--concurrency", "2")
	if diff := cmp.Diff(deployed{"echo", "InService", "echo", "echo", base + "model/echo/model.tar.gz", base + "output", base + "failure", false}, d); diff != "" {
		t.Errorf("deployed (-want +got):\n%s", diff)
	}
	t.Run("invoke", func(t *testing.T) { invokeAllForms(t, p.with(t)) })

	report := p.run("x", "invoke", "echo", "--body", "-", "--custom-attributes", "report=1", "--wait")
	if !strings.Contains(report.out, `"weights.json":"[1,2,3]"`) || !strings.Contains(report.out, `"code/run.py":"pass"`) {
		t.Errorf("the model's report has not the model data: %s%s", report.out, report.err)
	}

	var again deployed
	p.json(&again, "deploy", "echo", "--image", image, "--output", "s3://own/results", "--failure", "s3://own-failures/x")
	if !again.Updated || !strings.HasPrefix(again.Model, "echo-") || again.Output != "s3://own/results" || again.Failure != "s3://own-failures/x" {
		t.Errorf("deployed again: %+v", again)
	}
	want := []string{"endpoint echo", "configuration " + again.EndpointConfig, "model " + again.Model}
	if diff := cmp.Diff(want, p.left()); diff != "" {
		t.Errorf("after the update (-want +got):\n%s", diff)
	}
	if got := p.run("again", "invoke", "echo", "--body", "-", "--wait").out; got != "again" {
		t.Errorf("after the update the result is %q, want again", got)
	}
	p.fails(exitFailed, "serves "+again.Model+" as before", "deploy", "echo", "--image", "local/broken:1")
	if diff := cmp.Diff(want, p.left()); diff != "" {
		t.Errorf("after an update that failed (-want +got):\n%s", diff)
	}

	p.fails(exitUsage, "--yes", "delete", "echo")
	p.do("delete", "echo", "--yes")
	if left := p.left(); left != nil {
		t.Errorf("after the deletion there are still %q", left)
	}
	p.fails(exitNotFound, "Could not find", "delete", "echo", "--yes")
}

func invokeAllForms(t *testing.T, p *person) {
	large := strings.Repeat("large ", 50_000)
	p.write("hello.json", "hello")
	p.write("large.txt", large)
	p.write("list", "hello.json\n\nin/1.txt\n")
	for n := range 3 {
		p.write(fmt.Sprintf("in/%d.txt", n), fmt.Sprint("input ", n))
	}
	p.do("s3", "cp", "hello.json", base+"put/")

	if got := p.run("from stdin", "invoke", "echo", "--body", "-", "--content-type", "text/plain", "--wait").out; got != "from stdin" {
		t.Errorf("from standard input: %q", got)
	}
	if got := p.run(large, "invoke", "echo", "--body", "-", "--wait").out; got != large {
		t.Errorf("from a long standard input: %d bytes, want %d", len(got), len(large))
	}
	if got := p.do("invoke", "echo", "large.txt", "--wait"); got != large {
		t.Errorf("a large file: %d bytes, want %d", len(got), len(large))
	}
	if got := p.do("invoke", "echo", base+"put/hello.json", "--wait"); got != "hello" {
		t.Errorf("an object: %q", got)
	}

	var one []invoked
	p.json(&one, "invoke", "echo", "--body", "hello.json", "--wait", "--inference-id", "mine", "--filename", "name.txt", "--extension", "sub/")
	if len(one) != 1 || one[0].State != "Completed" || one[0].Body != "hello" || one[0].InferenceID != "mine" ||
		one[0].ContentType != "application/json" || !strings.HasSuffix(one[0].OutputLocation, "/output/sub/name.txt") {
		t.Errorf("one: %+v", one)
	}
	p.json(&one, "invoke", "echo", "hello.json", "--ttl", "10m", "--timeout", "1m")
	if len(one) != 1 || one[0].State != "Accepted" || one[0].InferenceID == "" {
		t.Errorf("one without waiting: %+v", one)
	}

	p.do("invoke", "echo", "in/*.txt", "--out", "results", "--parallel", "2")
	for n := range 3 {
		if got, want := p.read(fmt.Sprintf("results/%d.txt.out", n)), fmt.Sprint("input ", n); got != want {
			t.Errorf("result %d is %q, want %q", n, got, want)
		}
	}
	p.do("invoke", "echo", "--inputs-from", "list", "--wait")
	if got := p.read("hello.json.out") + p.read("in/1.txt.out"); got != "helloinput 1" {
		t.Errorf("beside the inputs: %q", got)
	}

	failed := p.run("", "invoke", "echo", "in/0.txt", "in/1.txt", "--custom-attributes", "status=418", "--wait", "--output", "json")
	var both []invoked
	if err := json.Unmarshal([]byte(failed.out), &both); err != nil {
		t.Fatal(err)
	}
	if failed.code != exitFailed || len(both) != 2 || both[1].State != "Failed" || both[1].Error != "input 1" || both[1].Reason != "model_client_error" {
		t.Errorf("failures: exit status %d, %+v, %s", failed.code, both, failed.err)
	}
	p.fails(exitUnavailable, "no end after", "invoke", "echo", "hello.json", "--custom-attributes", "delay=2s", "--wait-timeout", "300ms")
}

// TestDeployThatFails deploys what cannot run: nothing stays, unless it is to.
func TestDeployThatFails(t *testing.T) {
	t.Parallel()
	p := startServer(t).person()
	p.fails(exitFailed, "no-such-program", "deploy", "broken", "--image", "local/broken:1", "--output", "s3://made-for-it/out")
	p.fails(exitFailed, "is not listed", "deploy", "unknown", "--image", "local/unknown:1")
	if left := p.left(); left != nil {
		t.Errorf("there are still %q", left)
	}
	if list := p.do("s3", "ls"); strings.Contains(list, "made-for-it") {
		t.Errorf("a bucket stays:\n%s", list)
	}
	p.fails(exitFailed, "kept: model broken", "deploy", "broken", "--image", "local/broken:1", "--keep")
	p.fails(exitFailed, "deferd delete broken", "deploy", "broken", "--image", image)
	p.do("delete", "broken", "--yes", "--keep-model")
	if diff := cmp.Diff([]string{"configuration broken", "model broken"}, p.left()); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	var d deployed
	p.json(&d, "deploy", "broken", "--image", image)
	if !strings.HasPrefix(d.Model, "broken-") {
		t.Errorf("the model is %s, want another than the one that is there", d.Model)
	}
}

// TestDeployInterrupted interrupts the waiting for an endpoint, which goes on.
func TestDeployInterrupted(t *testing.T) {
	t.Parallel()
	p := startServer(t).person()
	cmd := p.cmd("deploy", "mute", "--image", "local/mute:1")
	said := &interrupting{cmd: cmd, at: "mute: Creating"}
	cmd.Stderr = said
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != exitInterrupted {
		t.Fatalf("it ended with %v, want exit status %d", err, exitInterrupted)
	}
	if got, want := said.text.String(), "deferd delete mute"; !strings.Contains(got, want) {
		t.Errorf("it says %q, want %q in it", got, want)
	}
	var e struct{ Status string }
	p.json(&e, "endpoints", "mute")
	if e.Status != "Creating" {
		t.Errorf("the endpoint is %s, want Creating", e.Status)
	}
	p.do("delete", "mute", "--yes")
}

// An interrupting writer interrupts a command when it has said something.
type interrupting struct {
	text bytes.Buffer
	cmd  *exec.Cmd
	at   string
}

func (i *interrupting) Write(b []byte) (int, error) {
	before := strings.Contains(i.text.String(), i.at)
	n, err := i.text.Write(b)
	if !before && strings.Contains(i.text.String(), i.at) {
		err = errors.Join(err, i.cmd.Process.Signal(syscall.SIGINT))
	}
	return n, err
}

// TestCredentials makes keys, uses them, and takes them back.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := s.person()
	type key struct {
		AccessKeyID, SecretAccessKey string
		Current                      bool
	}
	var made key
	p.json(&made, "credentials", "create")
	list := func() (ids []string) {
		var keys []key
		p.json(&keys, "credentials", "list")
		for _, k := range keys {
			ids = append(ids, k.AccessKeyID)
		}
		return ids
	}
	first := slices.DeleteFunc(list(), func(id string) bool { return id == made.AccessKeyID })
	if len(first) != 1 {
		t.Fatalf("besides the new key there are %q, want one", first)
	}
	client := s3.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &s.url,
		Credentials: credentials.NewStaticCredentialsProvider(made.AccessKeyID, made.SecretAccessKey, ""),
	})
	if _, err := client.ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	p.do("credentials", "create", "--file", "alice")
	info, err := os.Stat(filepath.Join(s.dir, "alice"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the credentials file: %v %v", info, err)
	}
	cmd := p.cmd("endpoints")
	cmd.Env = append(cmd.Env, "AWS_SHARED_CREDENTIALS_FILE=alice", "AWS_ENDPOINT_URL="+s.url)
	if got := p.finish(cmd); got.code != 0 {
		t.Errorf("with the credentials file: %d %s", got.code, got.err)
	}

	p.do("credentials", "revoke", made.AccessKeyID, "--yes")
	_, err = client.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	checkAPIError(t, err, "InvalidAccessKeyId", "")
	cmd = p.cmd("endpoints")
	cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL="+s.url, "AWS_ACCESS_KEY_ID="+made.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+made.SecretAccessKey)
	if got := p.finish(cmd); got.code != exitDenied {
		t.Errorf("with the revoked key: exit status %d, want %d: %s", got.code, exitDenied, got.err)
	}
	p.fails(exitNotFound, "cannot be found", "credentials", "revoke", made.AccessKeyID, "--yes")
	p.fails(exitUsage, "--yes", "credentials", "revoke", first[0])

	// Of those that are left, the first may go, and the other may not.
	for _, id := range list() {
		if id != first[0] {
			p.do("credentials", "revoke", id, "--yes")
		}
	}
	p.fails(exitFailed, "last access key", "credentials", "revoke", first[0], "--yes")
}

// TestRevokedFirstKey revokes the key that deferd env hands out: the next start
// makes another.
func TestRevokedFirstKey(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := s.person()
	var keys []struct{ AccessKeyID string }
	p.json(&keys, "credentials", "list")
	p.do("credentials", "create")
	p.do("credentials", "revoke", keys[0].AccessKeyID, "--yes")
	p.fails(exitUsage, "", "endpoints") // it went from the data directory with the key
	s.stop()
	s.start()
	p.do("endpoints")
}

// TestObjects moves 20 MB in and out by each way.
func TestObjects(t *testing.T) {
	t.Parallel()
	p := startServer(t).person()
	data := make([]byte, 20_000_000)
	rand.Read(data)
	p.write("big.bin", string(data))
	p.write("tree/a.txt", "a")
	p.write("tree/deep/b.json", "{}")

	p.do("s3", "mb", "s3://work")
	p.do("s3", "cp", "big.bin", "s3://work/file/")
	if got := p.run(string(data), "s3", "cp", "-", "s3://work/stream"); got.code != 0 {
		t.Fatal(got.err)
	}
	p.do("s3", "cp", "s3://work/file/big.bin", "s3://work/copy")
	for _, key := range []string{"file/big.bin", "stream", "copy"} {
		if got := p.do("s3", "cat", "s3://work/"+key); got != string(data) {
			t.Errorf("%s has %d bytes, want the same %d", key, len(got), len(data))
		}
	}
	p.do("s3", "cp", "s3://work/stream", "back.bin")
	if p.read("back.bin") != string(data) {
		t.Error("the downloaded file differs")
	}
	p.do("s3", "cp", "tree", "s3://work/tree", "--recursive")
	p.do("s3", "cp", "s3://work/tree/", "s3://work/tree2", "--recursive")
	p.do("s3", "cp", "s3://work/tree2", "out/tree", "--recursive")
	if got := p.read("out/tree/a.txt") + p.read("out/tree/deep/b.json"); got != "a{}" {
		t.Errorf("the tree came back as %q", got)
	}

	type entry struct {
		Key  string
		Size int64
	}
	var top, all []entry
	p.json(&top, "s3", "ls", "s3://work/")
	p.json(&all, "s3", "ls", "s3://work/tree", "--recursive")
	if diff := cmp.Diff([]entry{{"file/", 0}, {"tree/", 0}, {"tree2/", 0}, {"copy", 20_000_000}, {"stream", 20_000_000}}, top); diff != "" {
		t.Errorf("ls (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]entry{{"tree/a.txt", 1}, {"tree/deep/b.json", 2}, {"tree2/a.txt", 1}, {"tree2/deep/b.json", 2}}, all); diff != "" {
		t.Errorf("ls --recursive (-want +got):\n%s", diff)
	}
	if got := p.do("s3", "ls", "s3://work/"); !strings.Contains(got, "20.0 MB  copy") {
		t.Errorf("ls shows no size for people:\n%s", got)
	}

	p.fails(exitNotFound, "does not exist", "s3", "cat", "s3://work/nothing")
	p.fails(exitNotFound, "does not exist", "s3", "ls", "s3://nowhere/")
	p.fails(exitUsage, "--recursive", "s3", "cp", "tree", "s3://work/")
	p.fails(exitUsage, "--yes", "s3", "rm", "s3://work/", "--recursive")
	p.fails(exitFailed, "not empty", "s3", "rb", "s3://work")
	p.do("s3", "rm", "s3://work/copy")
	p.do("s3", "rm", "s3://work/", "--recursive", "--yes")
	p.do("s3", "rb", "s3://work")
}

// TestCommandLines asks commands for documents, scripts, and what is wrong.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	p := startServer(t).person()
	p.do("deploy", "echo", "--image", image)
	p.do("invoke", "echo", "images.yaml", "--wait")
	for _, args := range [][]string{
		{"version"}, {"env"}, {"config"}, {"endpoints"}, {"endpoints", "echo"}, {"top"}, {"invocations", "echo"}, {"s3", "ls"}, {"credentials", "list"},
	} {
		var document any
		p.json(&document, args...)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := p.do("completion", shell); !strings.Contains(script, "deferd") {
			t.Errorf("the completion script for %s: %q", shell, script)
		}
	}
	for _, test := range []struct{ name, want string }{
		{"deploy x --image local/m", image + "\n"},
		{"invoke e", "echo\n"},
		{"delete ", "echo\n"},
		{"s3 ls s3://sage", "s3://sagemaker-us-east-1-000000000000/\n"},
	} {
		args := append([]string{"__complete"}, strings.Split(test.name, " ")...)
		if got := p.do(args...); !strings.HasPrefix(got, test.want) {
			t.Errorf("completing %q: %q, want %q first", test.name, got, test.want)
		}
	}
	broken := p.run("", "images", "--output", "json")
	if broken.code != exitFailed || !strings.Contains(broken.out, "no-such-program is not in PATH") {
		t.Errorf("images: exit status %d\n%s", broken.code, broken.out)
	}
	p.fails(exitUsage, "unknown command", "deplyo")
	p.fails(exitUsage, "unknown flag", "deploy", "x", "--imgae", "y")
	p.fails(exitUsage, "--image", "deploy", "x")
	p.fails(exitUsage, "NAME=VALUE", "deploy", "x", "--image", image, "--env", "nothing")
	p.fails(exitUsage, "no input", "invoke", "echo")
	p.fails(exitUsage, "replace the one before", "invoke", "echo", "images.yaml", "images.yaml", "--filename", "same")
	p.fails(exitNotFound, "no such file", "invoke", "echo", "nothing.txt")
	p.fails(exitNotFound, "not found", "invoke", "nothing", "images.yaml")
	p.fails(exitUsage, "neither text nor json", "endpoints", "--output", "xml")
	p.s.stop()
	p.fails(exitUnavailable, "is `deferd serve` running?", "endpoints")
	p.fails(exitUnavailable, "is `deferd serve` running?", "s3", "ls")
	p.fails(exitUnavailable, "is `deferd serve` running?", "invoke", "echo", "images.yaml")
}

// TestInvokeOverRestart restarts the server while a command waits.
func TestInvokeOverRestart(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.args = []string{"--stop-limit", "0s"}
	s.start()
	s.args = append(s.args, "--listen", strings.TrimPrefix(s.url, "http://")) // the same address again
	p := s.person()
	p.do("deploy", "echo", "--image", image)
	p.write("in.txt", "patience")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := p.cmd("invoke", "echo", "in.txt", "--custom-attributes", "hang=first", "--wait")
	done := make(chan said, 1)
	go func() { done <- p.finish(cmd) }()
	await(t, "the model to be asked", func() bool { return len(s.starts()) > 0 })
	s.kill()
	s.start()
	select {
	case got := <-done:
		if got.out != "patience" || got.code != 0 {
			t.Errorf("exit status %d, %q %s", got.code, got.out, got.err)
		}
	case <-ctx.Done():
		t.Fatal("the command did not end")
	}
}

// TestPeopleOverTLS trusts a server's own certificate by AWS_CA_BUNDLE.
func TestPeopleOverTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	certFile, keyFile, _ := makeCertificate(t)
	s.args = []string{"--tls-cert", certFile, "--tls-key", keyFile}
	s.start()
	p := s.person()
	p.fails(exitUnavailable, "certificate", "endpoints")
	data := strings.Repeat("over TLS ", 1<<20)
	for _, args := range [][]string{
		{"deploy", "echo", "--image", image}, {"invoke", "echo", "--body", "-", "--wait"}, {"invocations", "echo"}, {"s3", "cp", "-", base + "stream"},
	} {
		cmd := p.cmd(args...)
		cmd.Env = append(cmd.Env, "AWS_CA_BUNDLE="+certFile)
		cmd.Stdin = strings.NewReader(data)
		if got := p.finish(cmd); got.code != 0 || args[0] == "invoke" && got.out != data {
			t.Errorf("deferd %s: exit status %d, %d bytes, %s", strings.Join(args, " "), got.code, len(got.out), got.err)
		}
	}
}
