package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	image  = "bench-model"
	bucket = "sagemaker-us-east-1-000000000000" // the server makes it at its start

	// startLimit bounds what takes moments: a server's start, an endpoint's.
	startLimit = 60 * time.Second
	tick       = 20 * time.Millisecond
)

// A child is a server that was started here: deferd, or what stands in for it.
type child struct {
	credentials
	console string // URL; "" where there is none
	cmd     *exec.Cmd
	gone    chan error
}

var readyLine = regexp.MustCompile(`listening on (http://\S+)(?: \(console (http://\S+)\))?$`)

// start starts cmd, on these cores only where any are given, and waits until it
// says where it listens. What it logs goes to a file.
func start(ctx context.Context, cmd *exec.Cmd, cores []int, logFile string) (*child, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startOn(cmd, cores); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, gone: make(chan error, 1)}
	ready := make(chan []string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			}
		}
		c.gone <- cmd.Wait()
	}()
	select {
	case m := <-ready:
		c.url, c.console = m[1], m[2]
		return c, nil
	case err := <-c.gone:
		text, _ := os.ReadFile(logFile)
		return nil, fmt.Errorf("%s ended before it was ready: %v\n%s", cmd.Path, err, text)
	case <-time.After(startLimit):
		return nil, errors.Join(fmt.Errorf("%s was not ready after %v", cmd.Path, startLimit), c.stop())
	case <-ctx.Done():
		return nil, errors.Join(context.Cause(ctx), c.stop())
	}
}

// stop ends the child in order.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case err := <-c.gone:
		return err
	case <-time.After(startLimit):
		c.cmd.Process.Kill()
		return errors.Join(fmt.Errorf("%s did not stop", c.cmd.Path), <-c.gone)
	}
}

// A deployment is a deferd server with the bench's model as its one endpoint.
type deployment struct {
	*child
	path    string // that invocations are posted to
	profile string // address of the profiler; "" for none
}

const endpoint = "bench"

// deploy starts a server in dir, on these cores, and an endpoint on it whose
// model waits for the gate, if there is one.
func (p *plan) deploy(ctx context.Context, dir string, cores []int, concurrency int, g *gate) (*deployment, error) {
	env := "{}"
	if g != nil {
		env = fmt.Sprintf("{%s: %q}", gateVariable, g.url)
	}
	images := filepath.Join(dir, "images.yaml")
	text := fmt.Sprintf("images:\n  %s:\n    command: [%q, %s]\n    env: %s\n", image, p.self, modelVerb, env)
	if err := os.WriteFile(images, []byte(text), 0o600); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	cmd := exec.Command(p.program, "serve", "--data", data, "--images", images,
		"--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--stop-limit", "100ms", "--log-format", "text")
	cmd.Env = withoutSettings(os.Environ())
	d := &deployment{path: "/endpoints/" + endpoint + "/async-invocations"}
	if p.profile != "" {
		var err error
		if d.profile, err = freeAddress(); err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "BENCH_PPROF="+d.profile)
	}
	var err error
	if d.child, err = start(ctx, cmd, cores, filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	if err := d.prepare(ctx, p.program, data, concurrency); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// freeAddress is an address that nobody listens at just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// withoutSettings keeps the user's own settings out of what is measured.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "DEFERD_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// prepare learns the keys and makes the endpoint.
func (d *deployment) prepare(ctx context.Context, program, data string, concurrency int) error {
	out, err := exec.CommandContext(ctx, program, "env", "--data", data).Output()
	if err != nil {
		return fmt.Errorf("read the server's keys: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		value = strings.Trim(value, `'"`)
		switch name {
		case "AWS_ACCESS_KEY_ID":
			d.keyID = value
		case "AWS_SECRET_ACCESS_KEY":
			d.secret = value
		case "AWS_REGION":
			d.region = value
		}
	}
	type object = map[string]any
	for _, step := range []struct {
		operation string
		in        object
	}{
		{"CreateModel", object{
			"ModelName": endpoint, "PrimaryContainer": object{"Image": image}, "ExecutionRoleArn": "arn:aws:iam::000000000000:role/bench",
		}},
		{"CreateEndpointConfig", object{
			"EndpointConfigName":   endpoint,
			"ProductionVariants":   []object{{"VariantName": "only", "ModelName": endpoint, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}},
			"AsyncInferenceConfig": object{"ClientConfig": object{"MaxConcurrentInvocationsPerInstance": concurrency}, "OutputConfig": object{"S3OutputPath": "s3://" + bucket + "/out"}},
		}},
		{"CreateEndpoint", object{"EndpointName": endpoint, "EndpointConfigName": endpoint}},
	} {
		if err := d.control(ctx, step.operation, step.in, nil); err != nil {
			return err
		}
	}
	return d.awaitInService(ctx)
}

func (d *deployment) awaitInService(ctx context.Context) error {
	return await(ctx, "the endpoint", func() (bool, error) {
		var e struct{ EndpointStatus, FailureReason string }
		if err := d.control(ctx, "DescribeEndpoint", map[string]any{"EndpointName": endpoint}, &e); err != nil {
			return false, err
		}
		if e.EndpointStatus == "Failed" {
			return false, fmt.Errorf("the endpoint failed: %s", e.FailureReason)
		}
		return e.EndpointStatus == "InService", nil
	})
}

// await looks until done says so.
func await(ctx context.Context, what string, done func() (bool, error)) error {
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-time.After(tick):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}

// control performs an operation of the control plane.
func (d *deployment) control(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	_, answer, err := d.post(ctx, "/", []header{
		{"content-type", "application/x-amz-json-1.1"}, {"x-amz-target", "SageMaker." + operation},
	}, body)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// post sends one signed request on a connection of its own.
func (d *deployment) post(ctx context.Context, path string, headers []header, body []byte) (http.Header, []byte, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.host())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	s := &signer{credentials: d.credentials}
	if _, err := conn.Write(s.request(nil, path, headers, body, time.Now())); err != nil {
		return nil, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return resp.Header, answer, err
}

// metrics reads the server's own counts: series by name, labels included.
func (d *deployment) metrics(ctx context.Context) (map[string]float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.console+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	series := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if v, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "deferd_") {
			series[name] = v
		}
	}
	return series, lines.Err()
}

// Series of the server's store.
const (
	operations = "deferd_store_operations_total"
	commits    = "deferd_store_commits_total"
)

// inState is the name of the series that counts invocations in a state.
func inState(state string) string {
	return fmt.Sprintf("deferd_invocations{endpoint=%q,state=%q}", endpoint, state)
}
