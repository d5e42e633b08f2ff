package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// deployOptions are what "deferd deploy" is told.
type deployOptions struct {
	image, modelData, failure, role, instanceType string
	env                                           []string
	concurrency, instances                        int
	startup, limit                                time.Duration
	noWait, keep, keepPrevious                    bool
	output                                        deployOutput
}

// A deployOutput is both meanings of deploy's --output: how to print, as
// everywhere, and where in S3 results go.
type deployOutput struct {
	format  format
	results string
}

// String, Set and Type make it the value of a flag.
func (o *deployOutput) String() string { return o.format.String() }

func (o *deployOutput) Set(value string) error {
	if isLocation(value) {
		o.results = value
		return nil
	}
	if err := o.format.Set(value); err != nil {
		return fmt.Errorf("%q is neither text nor json nor a location such as s3://bucket/prefix", value)
	}
	return nil
}

func (o *deployOutput) Type() string { return "s3://...|text|json" }

func deployCommand() *cobra.Command {
	o := deployOptions{output: deployOutput{format: textFormat}}
	cmd := &cobra.Command{
		Use:   "deploy NAME --image IMAGE",
		Short: "Create an endpoint, or move one to a new model, in one step",
		Long: `Create an endpoint, or move one to a new model, in one step.

The model, the configuration and the endpoint are all called NAME. Where the
endpoint is there already it is updated: to a new model and configuration,
called NAME and the time; those before are deleted when the new ones serve.
What is not said has its default each time, not the value from before.

Where a step fails, everything that was made is removed again. An interrupt
while the endpoint starts leaves it to start.

--output is where results go, where its value begins with s3://, and else how
this command prints; it may be given for both.`,
		Example: `  deferd deploy shout --image local/shout:1
  deferd deploy digits --image local/digits:1 --model-data ./model --env LOG_LEVEL=debug --concurrency 8
  deferd deploy digits --image local/digits:2 --output s3://work/out --failure s3://work/failed --output json`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(args[0]); err != nil {
				return err
			}
			s, err := openSite(cmd)
			if err != nil {
				return err
			}
			d := &deployment{site: s, objects: s.objects(), name: args[0], o: o, status: newStatusLine(cmd.ErrOrStderr()), errors: cmd.ErrOrStderr()}
			return d.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", "image that the model runs, as images.yaml lists it")
	f.StringVar(&o.modelData, "model-data", "", "s3://..., or a file or directory that is uploaded first")
	f.StringArrayVar(&o.env, "env", nil, "variable for the model, as NAME=VALUE; repeatable")
	f.IntVar(&o.concurrency, "concurrency", 0, "requests that an instance gets at a time (4)")
	f.IntVar(&o.instances, "instances", 1, "how many instances")
	f.VarP(&o.output, "output", "o", "where results go (s3://sagemaker-REGION-ACCOUNT/NAME/output), or text or json")
	f.StringVar(&o.failure, "failure", "", "where failures go (beside the results)")
	f.StringVar(&o.role, "role", "", "ARN of the execution role; needed on AWS")
	f.StringVar(&o.instanceType, "instance-type", "ml.m5.large", "kind of instance, for AWS")
	f.DurationVar(&o.startup, "startup-timeout", 0, "how long an instance may take until it answers /ping (8m)")
	f.DurationVar(&o.limit, "wait-timeout", 0, "how long to wait for the endpoint; it goes on afterwards (for ever)")
	f.BoolVar(&o.noWait, "no-wait", false, "do not wait until the endpoint serves")
	f.BoolVar(&o.keep, "keep", false, "keep what was made when a step fails")
	f.BoolVar(&o.keepPrevious, "keep-previous", false, "keep the model and configuration from before an update")
	addSiteFlags(cmd)
	completeFlag(cmd, "image", completeImages)
	completeFlag(cmd, "output", func(*cobra.Command, string) []string { return []string{"text", "json", "s3://"} })
	cmd.ValidArgsFunction = completeEndpoints
	return cmd
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}$`)

// check refuses what cannot work before anything is made.
func (o *deployOptions) check(name string) error {
	switch {
	case !namePattern.MatchString(name):
		return usagef("%q is no name: letters, digits and hyphens between them, at most 63", name)
	case o.image == "":
		return usagef("--image is missing")
	case o.concurrency < 0 || o.concurrency > 1000:
		return usagef("--concurrency %d is not between 1 and 1000", o.concurrency)
	case o.instances < 1:
		return usagef("--instances %d is not at least 1", o.instances)
	case o.startup != 0 && (o.startup < time.Minute || o.startup > time.Hour):
		return usagef("--startup-timeout %v is not between 1m and 1h", o.startup)
	case o.failure != "" && !isLocation(o.failure):
		return usagef("--failure %q is no location such as s3://bucket/prefix", o.failure)
	}
	for _, variable := range o.env {
		if key, _, ok := strings.Cut(variable, "="); !ok || key == "" {
			return usagef("--env %q is not NAME=VALUE", variable)
		}
	}
	for _, location := range []string{o.output.results, o.failure} {
		if location == "" {
			continue
		}
		if _, _, err := splitLocation(location); err != nil {
			return usagef("%v", err)
		}
	}
	return nil
}

// A deployment is one run of "deferd deploy".
type deployment struct {
	site    *site
	objects *objects
	name    string
	o       deployOptions
	status  *statusLine
	errors  io.Writer

	part     string // the name of the model and the configuration
	update   bool   // the endpoint is there
	previous string // its configuration before
	data     string // where the model data is
	made     []made
}

// A made thing can be undone while the deployment is not complete.
type made struct {
	what string
	undo func(context.Context) error
}

// undoLimit bounds how long it may take to remove what a failed deployment has
// made.
const undoLimit = 2 * time.Minute

// run deploys, and leaves nothing half done.
func (d *deployment) run(ctx context.Context, out io.Writer) error {
	begun := time.Now()
	err := d.steps(ctx)
	d.status.clear()
	if err == nil {
		return d.print(out, time.Since(begun))
	}
	if left, ok := errors.AsType[*leftAlone](err); ok {
		return &exitError{left.code, fmt.Errorf("%s goes on by itself (%s): `deferd endpoints %s` shows how it is, `deferd delete %s` ends it", d.name, left.why, d.name, d.name)}
	}
	return d.takeBack(ctx, err)
}

// takeBack removes what was made before err, the last first, unless it is to be
// kept, and says so.
func (d *deployment) takeBack(ctx context.Context, err error) error {
	if len(d.made) == 0 {
		return err
	}
	var names []string
	for _, m := range d.made {
		names = append(names, m.what)
	}
	if d.o.keep {
		fmt.Fprintf(d.errors, "kept: %s\n", strings.Join(names, ", "))
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	fmt.Fprintf(d.errors, "removing what was made: %s\n", strings.Join(names, ", "))
	for _, m := range slices.Backward(d.made) {
		if undone := m.undo(ctx); undone != nil && !isMissing(undone) {
			fmt.Fprintf(d.errors, "%s stays: %s\n", m.what, explain(undone))
		}
	}
	return err
}

// steps makes one thing after the other.
func (d *deployment) steps(ctx context.Context) error {
	if d.o.role == "" && d.site.isAWS(sageMaker) {
		return usagef("--role is missing: AWS runs models with an execution role")
	}
	if err := d.look(ctx); err != nil {
		return err
	}
	if err := d.prepareObjects(ctx); err != nil {
		return err
	}
	if err := d.create(ctx); err != nil || d.o.noWait {
		return err
	}
	if err := d.await(ctx); err != nil {
		return err
	}
	d.removePrevious(ctx)
	return nil
}

// look finds out whether the endpoint is there, and how the parts are called.
func (d *deployment) look(ctx context.Context) error {
	d.part = d.name
	e, err := d.site.describeEndpoint(ctx, d.name)
	switch {
	case isMissing(err):
		_, err := d.site.describeConfig(ctx, d.name)
		if err == nil { // of an endpoint that was deleted, but not it
			d.part = d.dated()
		} else if !isMissing(err) {
			return err
		}
		err = d.site.call(ctx, "DescribeModel", object{"ModelName": d.name}, nil)
		if err == nil {
			d.part = d.dated()
		} else if !isMissing(err) {
			return err
		}
		return nil
	case err != nil:
		return err
	case e.EndpointStatus != "InService":
		hint := "wait until it is InService"
		if e.EndpointStatus == "Failed" || e.EndpointStatus == "UpdateRollbackFailed" {
			hint = "`deferd delete " + d.name + "` removes it"
		}
		return fmt.Errorf("endpoint %s is %s: %s", d.name, e.EndpointStatus, hint)
	}
	d.update, d.previous, d.part = true, e.EndpointConfigName, d.dated()
	return nil
}

// datePattern matches the time in the name of a part, with milliseconds.
var datePattern = regexp.MustCompile(`^[0-9]{8}-[0-9]{9}$`)

const dateLength = len("20060102-150405000")

// dated is the name with the time, which nothing has yet.
func (d *deployment) dated() string {
	return d.stem() + "-" + strings.ReplaceAll(time.Now().UTC().Format("20060102-150405.000"), ".", "")
}

// stem is the name, as much of it as leaves room for the time.
func (d *deployment) stem() string {
	const most = 63 - 1 - dateLength
	if len(d.name) <= most {
		return d.name
	}
	return strings.TrimRight(d.name[:most], "-")
}

// create makes the model, the configuration, and the endpoint or its update.
func (d *deployment) create(ctx context.Context) error {
	d.status.show(d.name+": creating", "")
	container := object{"Image": d.o.image}
	switch {
	case d.data == "":
	case strings.HasSuffix(d.data, ".tar.gz") || strings.HasSuffix(d.data, ".tgz"):
		container["ModelDataUrl"] = d.data
	default:
		kind := "S3Object"
		if strings.HasSuffix(d.data, "/") {
			kind = "S3Prefix"
		}
		container["ModelDataSource"] = object{"S3DataSource": object{"S3Uri": d.data, "S3DataType": kind, "CompressionType": "None"}}
	}
	if len(d.o.env) > 0 {
		env := map[string]string{}
		for _, variable := range d.o.env {
			key, value, _ := strings.Cut(variable, "=")
			env[key] = value
		}
		container["Environment"] = env
	}
	model := object{"ModelName": d.part, "PrimaryContainer": container}
	if d.o.role != "" {
		model["ExecutionRoleArn"] = d.o.role
	}
	variant := object{"VariantName": "AllTraffic", "ModelName": d.part, "InstanceType": d.o.instanceType, "InitialInstanceCount": d.o.instances}
	if d.o.startup > 0 {
		variant["ContainerStartupHealthCheckTimeoutInSeconds"] = int(d.o.startup.Seconds())
	}
	async := object{"OutputConfig": object{"S3OutputPath": d.o.output.results, "S3FailurePath": d.o.failure}}
	if d.o.concurrency > 0 {
		async["ClientConfig"] = object{"MaxConcurrentInvocationsPerInstance": d.o.concurrency}
	}
	config := object{"EndpointConfigName": d.part, "ProductionVariants": []object{variant}, "AsyncInferenceConfig": async}

	err := d.make(ctx, "model "+d.part, "CreateModel", model, d.deleting("DeleteModel", object{"ModelName": d.part}))
	if err != nil {
		return err
	}
	err = d.make(ctx, "configuration "+d.part, "CreateEndpointConfig", config, d.deleting("DeleteEndpointConfig", object{"EndpointConfigName": d.part}))
	if err != nil {
		return err
	}
	endpoint := object{"EndpointName": d.name, "EndpointConfigName": d.part}
	if d.update {
		err = d.site.call(ctx, "UpdateEndpoint", endpoint, nil)
		e, refused := asAPIError(err)
		switch {
		case refused && e.again && strings.Contains(e.msg, "in-progress"):
			return nil // the try before began it
		case uncertain(err):
			return &leftAlone{exitCode(err), explain(err)}
		}
		return err
	}
	return d.make(ctx, "endpoint "+d.name, "CreateEndpoint", endpoint, func(ctx context.Context) error {
		return d.site.removeEndpoint(ctx, d.name, nil)
	})
}

// uncertain reports whether an operation that failed may have been done all the
// same: its first try was not refused.
func uncertain(err error) bool {
	e, refused := asAPIError(err)
	return err != nil && (!refused || e.passing() || e.again)
}

// make creates a thing that was not there, and remembers how it is deleted.
func (d *deployment) make(ctx context.Context, what, operation string, in object, undo func(context.Context) error) error {
	err := d.site.call(ctx, operation, in, nil)
	if e, refused := asAPIError(err); refused && e.again && strings.Contains(e.msg, "already existing") {
		err = nil // the try before made it
	}
	if err == nil || uncertain(err) {
		d.made = append(d.made, made{what, undo})
	}
	return err
}

// deleting is how a thing is undone in one call.
func (d *deployment) deleting(operation string, in object) func(context.Context) error {
	return func(ctx context.Context) error { return d.site.call(ctx, operation, in, nil) }
}

// leftAlone ends the waiting for an endpoint that goes on by itself.
type leftAlone struct {
	code int
	why  string
}

func (l *leftAlone) Error() string { return l.why }

// await waits until the endpoint serves what was deployed.
func (d *deployment) await(ctx context.Context) error {
	waiting := ctx
	if d.o.limit > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, d.o.limit)
		defer cancel()
	}
	begun := time.Now()
	var while tolerance
	for pause := newBackoff(); ; {
		e, err := d.site.describeEndpoint(waiting, d.name)
		if while.bears(waiting, err) {
			d.status.show(d.name+": no answer", "")
			err = pause.wait(waiting)
		} else if err == nil {
			d.status.show(d.name+": "+e.EndpointStatus, fmt.Sprintf("  %ds", int(time.Since(begun).Seconds())))
			var done bool
			if done, err = d.judge(e); done || err != nil {
				return err
			}
			err = pause.wait(waiting)
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return &leftAlone{exitInterrupted, "interrupted"}
		case waiting.Err() != nil:
			return &leftAlone{exitUnavailable, fmt.Sprintf("not InService after %v", d.o.limit)}
		case isMissing(err):
			return fmt.Errorf("endpoint %s was deleted meanwhile", d.name)
		default:
			return &leftAlone{exitCode(err), explain(err)} // nobody knows how it went on
		}
	}
}

// judge says whether an endpoint has come to its end, and which.
func (d *deployment) judge(e endpointDescription) (done bool, err error) {
	reason := cmp.Or(e.FailureReason, "no reason is given")
	switch e.EndpointStatus {
	case "InService":
		if e.EndpointConfigName != d.part {
			return true, fmt.Errorf("the update of endpoint %s failed, and it serves %s as before: %s", d.name, e.EndpointConfigName, reason)
		}
		return true, nil
	case "Failed", "UpdateRollbackFailed":
		if d.update {
			d.made = nil // what it serves, or should serve, must stay
		}
		return true, fmt.Errorf("endpoint %s failed: %s", d.name, reason)
	}
	return false, nil
}

// removePrevious deletes what an endpoint served before an update, if it was
// made here. What cannot be deleted does no harm.
func (d *deployment) removePrevious(ctx context.Context) {
	if !d.update || d.o.keepPrevious || !d.ours(d.previous) || d.previous == d.part {
		return
	}
	before, err := d.site.describeConfig(ctx, d.previous)
	if err == nil {
		err = d.site.call(ctx, "DeleteEndpointConfig", object{"EndpointConfigName": d.previous}, nil)
	}
	for _, model := range before.models() {
		if err == nil && d.ours(model) {
			err = d.site.call(ctx, "DeleteModel", object{"ModelName": model}, nil)
		}
	}
	if err != nil && !isMissing(err) {
		d.status.clear()
		fmt.Fprintf(d.errors, "the configuration from before, %s, stays: %s\n", d.previous, explain(err))
	}
}

// ours reports whether a part was made for this endpoint.
func (d *deployment) ours(part string) bool {
	date, dated := strings.CutPrefix(part, d.stem()+"-")
	return part == d.name || dated && datePattern.MatchString(date)
}

// print says what was deployed.
func (d *deployment) print(out io.Writer, took time.Duration) error {
	status := "InService"
	if d.o.noWait {
		status = "Creating"
		if d.update {
			status = "Updating"
		}
	}
	if d.o.output.format == jsonFormat {
		return printJSON(out, struct {
			Endpoint  string  `json:"endpoint"`
			Status    string  `json:"status"`
			Updated   bool    `json:"updated"`
			Model     string  `json:"model"`
			Config    string  `json:"endpointConfig"`
			Image     string  `json:"image"`
			ModelData string  `json:"modelData,omitempty"`
			Output    string  `json:"output"`
			Failure   string  `json:"failure"`
			Seconds   float64 `json:"seconds"`
		}{d.name, status, d.update, d.part, d.part, d.o.image, d.data, d.o.output.results, d.o.failure, took.Seconds()})
	}
	err := printRows(out, [][2]string{
		{"endpoint", fmt.Sprintf("%s, %s after %v", d.name, status, took.Round(10*time.Millisecond))},
		{"model", d.part}, {"image", d.o.image}, {"model data", d.data},
		{"results", d.o.output.results}, {"failures", d.o.failure},
	})
	if err == nil {
		_, err = fmt.Fprintf(out, "\nNow: deferd invoke %s --body FILE --wait\n", d.name)
	}
	return err
}
