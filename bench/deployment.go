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
	"strconv"
	"strings"
	"time"
)

const (
	image  = "bench-model"
	bucket = "sagemaker-us-east-1-000000000000" // the server makes it at its start
)

// A deployment is a deferd server with the bench's model as its one endpoint.
type deployment struct {
	*child
	path    string        // that invocations are posted to
	profile string        // address of the profiler; "" for none
	ready   time.Duration // from its start until it served
}

const endpoint = "bench"

func invocationsPath(endpoint string) string { return "/endpoints/" + endpoint + "/async-invocations" }

// deploy starts a new server in dir and an endpoint on it whose model waits for
// the gate, if there is one.
func (p *plan) deploy(ctx context.Context, dir string, concurrency int, g *gate) (*deployment, error) {
	d, err := p.serve(ctx, dir, g)
	if err != nil {
		return nil, err
	}
	if err := d.makeEndpoint(ctx, concurrency); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// serve starts a server on what is in dir.
func (p *plan) serve(ctx context.Context, dir string, g *gate) (*deployment, error) {
	env, err := json.Marshal(p.modelEnv(g))
	if err != nil {
		return nil, err
	}
	images := filepath.Join(dir, "images.yaml")
	text := fmt.Sprintf("images:\n  %s:\n    command: [%q, %s]\n    env: %s\n", image, p.self, modelVerb, env)
	if err := os.WriteFile(images, []byte(text), 0o600); err != nil {
		return nil, err
	}
	data := dataDir(dir)
	cmd := exec.Command(p.program, "serve", "--data", data, "--images", images,
		"--listen", "127.0.0.1:0", "--console", "127.0.0.1:0", "--stop-limit", "100ms", "--log-format", "text")
	cmd.Env = withoutSettings(os.Environ())
	d := &deployment{path: invocationsPath(endpoint)}
	if p.profile != "" {
		if d.profile, err = freeAddress(); err != nil {
			return nil, err
		}
		cmd.Env = append(cmd.Env, "BENCH_PPROF="+d.profile)
	}
	begun := time.Now()
	if d.child, err = start(ctx, cmd, p.cores.server, filepath.Join(dir, "log")); err != nil {
		return nil, err
	}
	d.ready = time.Since(begun)
	if err := d.readKeys(ctx, p.program, data); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// dataDir is where a server in dir keeps everything.
func dataDir(dir string) string { return filepath.Join(dir, "data") }

// awaitBusy waits until so many invocations run.
func (d *deployment) awaitBusy(ctx context.Context, n int) error {
	return await(ctx, "the model to be busy", func() (bool, error) {
		m, err := d.metrics(ctx)
		return m[busySlots] >= float64(n), err
	})
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

// readKeys learns the keys.
func (d *deployment) readKeys(ctx context.Context, program, data string) error {
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
	return nil
}

// makeEndpoint makes the endpoint and waits until it is in service.
func (d *deployment) makeEndpoint(ctx context.Context, concurrency int) error {
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
	return awaitEvery(ctx, tick, what, done)
}

// awaitLimit bounds each wait, so that what has failed is said to have.
const awaitLimit = 2 * time.Minute

func awaitEvery(ctx context.Context, tick time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, awaitLimit)
	defer cancel()
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
	busySlots  = `deferd_slots_busy{endpoint="` + endpoint + `"}`
)

// inState is the name of the series that counts invocations in a state.
func inState(state string) string {
	return fmt.Sprintf("deferd_invocations{endpoint=%q,state=%q}", endpoint, state)
}
