package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/deferd/deferd/examples/digits/dataset"
	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Start a server in a temporary directory and send real work through a real model",
		Long: `Start a server in a temporary directory, deploy a small neural network that reads
handwritten digits, and send it every held-out image of its data set, half of
them inline and half by S3. Nothing is left behind.`,
		Example: "  deferd demo",
		Args:    arguments(cobra.NoArgs),
		RunE:    func(cmd *cobra.Command, _ []string) error { return demo(cmd.Context(), cmd.OutOrStdout()) },
	}
}

const (
	demoName   = "digits"
	demoBucket = "demo"
	demoLimit  = 5 * time.Minute // for all of it, should something hang
)

// demo runs the demonstration and cleans up after it, whatever happens.
func demo(ctx context.Context, out io.Writer) (err error) {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	dir, err := os.MkdirTemp("", "deferd-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Fprintln(out, "Starting a server in a temporary directory ...")
	server, err := startDemoServer(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	cfg, err := server.awsConfig()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %s, with its own S3 and its own keys\n", server.url)

	fmt.Fprintln(out, "Deploying a neural network that reads handwritten digits ...")
	begun := time.Now()
	if err := deployDigits(ctx, cfg); err != nil {
		return err
	}
	fmt.Fprintf(out, "  endpoint %q is InService after %v\n", demoName, time.Since(begun).Round(time.Millisecond))

	images := dataset.HeldOut()
	fmt.Fprintf(out, "Sending %d images that it has never seen through InvokeEndpointAsync ...\n", len(images))
	r, err := classifyAll(ctx, cfg, images, newProgress(out, len(images)))
	if err != nil {
		return err
	}
	r.print(out)
	if r.failed > 0 {
		return fmt.Errorf("%d of %d invocations failed", r.failed, len(images))
	}
	printNextSteps(out)
	return nil
}

func printNextSteps(out io.Writer) {
	fmt.Fprint(out, `
Go on with your own model and your own code:

  deferd serve                 # keeps everything in ./deferd-data
  eval "$(deferd env)"         # points boto3, the AWS CLI and every SDK at it
  deferd invocations ENDPOINT  # says where your requests stand

docs/getting-started.md walks through it.
`)
}

// A demoServer is "deferd serve" as a child.
type demoServer struct {
	cmd  *exec.Cmd
	url  string
	data string
	log  string
	done chan error
}

var readyLine = regexp.MustCompile(`^deferd: listening on (\S+) `)

// startDemoServer starts a server on free ports and waits until it is ready.
func startDemoServer(ctx context.Context, dir string) (*demoServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	d := &demoServer{data: filepath.Join(dir, "data"), log: filepath.Join(dir, "log"), done: make(chan error, 1)}
	images := filepath.Join(dir, "images.yaml")
	text := fmt.Sprintf("images:\n  local/digits:1:\n    command: [%q, %s]\n", self, demoModelVerb)
	if err := os.WriteFile(images, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(d.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	d.cmd = exec.Command(self, "serve", "--data", d.data, "--images", images, "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0")
	d.cmd.Env = withoutSettings(os.Environ())
	d.cmd.Stderr = log
	// Its own group: an interrupt at the terminal is for us, who then stop it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if m := readyLine.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m[1]
			}
		}
		d.done <- d.cmd.Wait()
	}()
	select {
	case d.url = <-ready:
		return d, nil
	case err := <-d.done:
		text, _ := os.ReadFile(d.log)
		return nil, fmt.Errorf("the server ended before it was ready: %v\n%s", err, text)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), d.stop())
	}
}

// withoutSettings keeps the user's own settings out of the demonstration.
func withoutSettings(env []string) []string {
	var kept []string
	for _, e := range env {
		if len(e) < 7 || e[:7] != "DEFERD_" {
			kept = append(kept, e)
		}
	}
	return kept
}

// stop ends the server in order and waits for it.
func (d *demoServer) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-d.done; err != nil {
		return fmt.Errorf("stop the server: %w", err)
	}
	return nil
}

// awsConfig is what "deferd env" would tell an AWS SDK.
func (d *demoServer) awsConfig() (aws.Config, error) {
	id, secret, err := readCredentials(filepath.Join(d.data, credentialsFile))
	if err != nil {
		return aws.Config{}, err
	}
	return aws.Config{
		BaseEndpoint: &d.url,
		Region:       defaultRegion,
		Credentials:  credentials.NewStaticCredentialsProvider(id, secret, ""),
	}, nil
}

// deployDigits creates a bucket, a model, a configuration and an endpoint, and
// waits until it serves.
func deployDigits(ctx context.Context, cfg aws.Config) error {
	if _, err := s3.NewFromConfig(cfg).CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(demoBucket)}); err != nil {
		return err
	}
	at := newSite(cfg)
	for _, step := range []struct {
		operation string
		in        object
	}{
		{"CreateModel", object{
			"ModelName":        demoName,
			"PrimaryContainer": object{"Image": "local/digits:1"},
			"ExecutionRoleArn": "arn:aws:iam::000000000000:role/demo",
		}},
		{"CreateEndpointConfig", object{
			"EndpointConfigName": demoName,
			"ProductionVariants": []object{{"VariantName": "AllTraffic", "ModelName": demoName, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}},
			"AsyncInferenceConfig": object{
				"ClientConfig": object{"MaxConcurrentInvocationsPerInstance": 4},
				"OutputConfig": object{"S3OutputPath": "s3://" + demoBucket + "/out", "S3FailurePath": "s3://" + demoBucket + "/failed"},
			},
		}},
		{"CreateEndpoint", object{"EndpointName": demoName, "EndpointConfigName": demoName}},
	} {
		if err := at.call(ctx, step.operation, step.in, nil); err != nil {
			return err
		}
	}
	for {
		e, err := at.describeEndpoint(ctx, demoName)
		if err != nil {
			return err
		}
		switch e.EndpointStatus {
		case "InService":
			return nil
		case "Failed":
			return fmt.Errorf("the endpoint failed: %s", e.FailureReason)
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// pause waits a moment between two looks at something elsewhere.
func pause(ctx context.Context) error {
	select {
	case <-time.After(10 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
