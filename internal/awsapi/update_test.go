package awsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// updatable is a site with an endpoint in service and configurations that it
// can be updated to.
func updatable(t *testing.T) *site {
	t.Helper()
	s := open(t, func(c *Config) {
		c.Status = func(_ deferd.EndpointID, fleet int) map[deferd.VariantName]VariantStatus {
			if fleet == 0 {
				return map[deferd.VariantName]VariantStatus{"v": {Instances: 3}}
			}
			return map[deferd.VariantName]VariantStatus{"v": {Instances: 1}}
		}
	})
	s.serve("e")
	const async = `"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out"}}`
	s.must("CreateModel", `{"ModelName":"m2","PrimaryContainer":{"Image":"i:2"}}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"next","ProductionVariants":[{"VariantName":"v","ModelName":"m2","InstanceType":"ml.big","InitialInstanceCount":4,"InitialVariantWeight":0.5}],`+async+`}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"real-time","ProductionVariants":[{"VariantName":"v","ModelName":"m"}]}`)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"capturing","ProductionVariants":[{"VariantName":"v","ModelName":"m"}],`+async+`,
		"DataCaptureConfig":{"EnableCapture":true,"InitialSamplingPercentage":7,"DestinationS3Uri":"s3://b/captured","CaptureOptions":[{"CaptureMode":"Input"}]}}`)
	return s
}

func (s *site) endpoint(name deferd.EndpointName) deferd.Endpoint {
	s.t.Helper()
	e, err := s.store.Endpoint(s.t.Context(), account, name)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

// deployed lets the deployment of e come to its end.
func (s *site) deployed() {
	s.t.Helper()
	_, err := s.store.ChangeEndpoint(s.t.Context(), s.endpoint("e").ID, func(e *deferd.Endpoint) error { e.Deployed(); return nil })
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestUpdateEndpoint(t *testing.T) {
	s := updatable(t)
	before := s.endpoint("e")
	s.changed = nil
	s.must("UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next"}`).check(t, 200, `{"EndpointArn":"`+arnHead+`endpoint/e"}`)
	if !slices.Equal(s.changed, []deferd.EndpointID{before.ID}) {
		t.Errorf("told of the changes %v, want of the endpoint's", s.changed)
	}
	e := s.endpoint("e")
	if want := []deferd.EndpointVariant{{Name: "v", Desired: 4, Weight: 0.5}}; e.Status != deferd.EndpointUpdating || e.ConfigID != before.ConfigID ||
		e.Deployment.Fleet != 1 || !slices.Equal(e.Deployment.Variants, want) || e.Deployment.Limit != 0 {
		t.Errorf("the endpoint is %+v with %+v", e, e.Deployment)
	}
	var described struct {
		EndpointConfigName, EndpointStatus string
		ProductionVariants                 []map[string]any
		PendingDeploymentSummary           struct {
			EndpointConfigName string
			StartTime          float64
			ProductionVariants []map[string]any
		}
	}
	s.must("DescribeEndpoint", `{"EndpointName":"e"}`).decode(t, &described)
	pending := described.PendingDeploymentSummary
	if described.EndpointConfigName != "c" || described.EndpointStatus != "Updating" || pending.EndpointConfigName != "next" || pending.StartTime < 1.7e9 {
		t.Errorf("described as %+v", described)
	}
	if v := described.ProductionVariants[0]; v["CurrentInstanceCount"] != 3.0 || v["DesiredInstanceCount"] != 1.0 {
		t.Errorf("the variant that serves is %v", v)
	}
	v := pending.ProductionVariants[0]
	if v["CurrentInstanceCount"] != 1.0 || v["DesiredInstanceCount"] != 4.0 || v["DesiredWeight"] != 0.5 || v["InstanceType"] != "ml.big" ||
		fmt.Sprint(v["DeployedImages"]) != "[map[SpecifiedImage:i:2]]" {
		t.Errorf("the pending variant is %v", v)
	}
	s.invoke("e", "body").check(t, 202, `{"InferenceId":"<uuid>"}`)

	s.deployed()
	var after map[string]any
	s.must("DescribeEndpoint", `{"EndpointName":"e"}`).decode(t, &after)
	if after["EndpointConfigName"] != "next" || after["EndpointStatus"] != "InService" || after["PendingDeploymentSummary"] != nil {
		t.Errorf("afterwards described as %v", after)
	}
}

// TestUpdateRetains has updates that keep some of what the variants are now.
func TestUpdateRetains(t *testing.T) {
	tests := []struct {
		name, in string
		want     deferd.EndpointVariant
	}{
		{"nothing", ``, deferd.EndpointVariant{Name: "v", Desired: 4, Weight: 0.5}},
		{"all", `,"RetainAllVariantProperties":true`, deferd.EndpointVariant{Name: "v", Desired: 7, Weight: 2}},
		{"all but counts", `,"RetainAllVariantProperties":true,"ExcludeRetainedVariantProperties":[{"VariantPropertyType":"DesiredInstanceCount"}]`,
			deferd.EndpointVariant{Name: "v", Desired: 4, Weight: 2}},
		{"all but weights and captures", `,"RetainAllVariantProperties":true,"ExcludeRetainedVariantProperties":[{"VariantPropertyType":"DesiredWeight"},{"VariantPropertyType":"DataCaptureConfig"}]`,
			deferd.EndpointVariant{Name: "v", Desired: 7, Weight: 0.5}},
		{"what is not asked for is not excluded", `,"ExcludeRetainedVariantProperties":[{"VariantPropertyType":"DesiredWeight"}]`,
			deferd.EndpointVariant{Name: "v", Desired: 4, Weight: 0.5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := updatable(t)
			s.must("UpdateEndpointWeightsAndCapacities", `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v","DesiredInstanceCount":7,"DesiredWeight":2}]}`)
			s.deployed()
			s.must("UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next"`+tt.in+`}`)
			if got := s.endpoint("e").Deployment.Variants; !slices.Equal(got, []deferd.EndpointVariant{tt.want}) {
				t.Errorf("deploying %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestDeploymentConfig(t *testing.T) {
	s := updatable(t)
	const how = `{"BlueGreenUpdatePolicy":{"MaximumExecutionTimeoutInSeconds":900,"TrafficRoutingConfiguration":{"Type":"ALL_AT_ONCE","WaitIntervalInSeconds":5}}}`
	update := func(more string) (last string, limit time.Duration) {
		t.Helper()
		s.must("UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next"`+more+`}`)
		e := s.endpoint("e")
		limit = e.Deployment.Limit
		s.deployed()
		return string(e.DeploymentConfig), limit
	}
	for _, step := range []struct {
		name, more, last string
		limit            time.Duration
	}{
		{"given", `,"DeploymentConfig":` + how, how, 15 * time.Minute},
		{"kept", `,"RetainDeploymentConfig":true`, how, 15 * time.Minute},
		{"another one wins", `,"RetainDeploymentConfig":true,"DeploymentConfig":{"AutoRollbackConfiguration":{"Alarms":[{"AlarmName":"a"}]}}`, `{"AutoRollbackConfiguration":{"Alarms":[{"AlarmName":"a"}]}}`, 0},
		{"dropped", ``, ``, 0},
	} {
		if last, limit := update(step.more); last != step.last || limit != step.limit {
			t.Errorf("%s: the last is %q with the limit %v, want %q with %v", step.name, last, limit, step.last, step.limit)
		}
	}
}

func TestUpdateCapacities(t *testing.T) {
	s := updatable(t)
	s.must("UpdateEndpointWeightsAndCapacities", `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v","DesiredInstanceCount":0}]}`).
		check(t, 200, `{"EndpointArn":"`+arnHead+`endpoint/e"}`)
	e := s.endpoint("e")
	if e.Status != deferd.EndpointUpdating || e.Deployment.Fleet != e.Fleet || e.Deployment.Variants[0].Desired != 0 || e.Variants[0].Desired != 1 {
		t.Errorf("the endpoint is %+v with %+v", e, e.Deployment)
	}
	var described struct{ ProductionVariants []map[string]any }
	s.must("DescribeEndpoint", `{"EndpointName":"e"}`).decode(t, &described)
	if v := described.ProductionVariants[0]; v["DesiredInstanceCount"] != 0.0 || v["CurrentInstanceCount"] != 3.0 {
		t.Errorf("described as %v", v)
	}
}

// TestCaptureIsToldAsStopped has an endpoint whose configuration asks for what
// is only kept here.
func TestCaptureIsToldAsStopped(t *testing.T) {
	s := updatable(t)
	s.must("CreateEndpoint", `{"EndpointName":"capturing","EndpointConfigName":"capturing"}`)
	var described struct{ DataCaptureConfig map[string]any }
	s.must("DescribeEndpoint", `{"EndpointName":"capturing"}`).decode(t, &described)
	got := described.DataCaptureConfig
	if got["EnableCapture"] != true || got["CaptureStatus"] != "Stopped" || got["CurrentSamplingPercentage"] != 7.0 || got["DestinationS3Uri"] != "s3://b/captured" {
		t.Errorf("described as %v", got)
	}
}

// A lateStore lets something happen before an endpoint is changed, and has
// every change made twice, as the first may not be stored.
type lateStore struct {
	deferd.Store
	before func()
}

func (s lateStore) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, change func(*deferd.Endpoint) error) (deferd.Endpoint, error) {
	s.before()
	return s.Store.ChangeEndpoint(ctx, id, func(e *deferd.Endpoint) error {
		first := *e
		first.DeploymentConfig = json.RawMessage(`{"AutoRollbackConfiguration":{"Alarms":[{"AlarmName":"of the first try"}]}}`)
		_ = change(&first)
		return change(e)
	})
}

// TestUpdateOfDeleted has the endpoint go between the look at it and its change.
func TestUpdateOfDeleted(t *testing.T) {
	for operation, in := range map[string]string{
		"UpdateEndpoint":                     `{"EndpointName":"e","EndpointConfigName":"c"}`,
		"UpdateEndpointWeightsAndCapacities": `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v"}]}`,
	} {
		t.Run(operation, func(t *testing.T) {
			var s *site
			s = open(t, func(c *Config) {
				store := c.Store
				c.Store = lateStore{store, func() {
					id := s.endpoint("e").ID
					_, err := store.ChangeEndpoint(t.Context(), id, func(e *deferd.Endpoint) error { e.Status = deferd.EndpointDeleting; return nil })
					if err := errors.Join(err, store.RemoveEndpoint(t.Context(), id)); err != nil {
						t.Fatal(err)
					}
				}}
			})
			s.serve("e")
			s.call(operation, in).check(t, 400, `{"__type":"ValidationException","message":"Could not find endpoint \"`+arnHead+`endpoint/e\"."}`)
		})
	}
}

// TestUpdateTriedAgain has the store try a change again, of another endpoint
// than at first.
func TestUpdateTriedAgain(t *testing.T) {
	s := open(t, func(c *Config) { c.Store = lateStore{c.Store, func() {}} })
	s.serve("e")
	s.must("UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"c","RetainDeploymentConfig":true}`)
	if got := s.endpoint("e").DeploymentConfig; got != nil {
		t.Errorf("the endpoint is deployed as %s, which it never was before", got)
	}
}

// An unsureStore stores what it cannot say it has stored.
type unsureStore struct{ deferd.Store }

var errUnsure = deferd.Errorf(deferd.Unavailable, "it may or may not be stored")

func (s unsureStore) CreateEndpoint(ctx context.Context, e deferd.Endpoint) error {
	if err := s.Store.CreateEndpoint(ctx, e); err != nil {
		return err
	}
	return errUnsure
}

func (s unsureStore) ChangeEndpoint(ctx context.Context, id deferd.EndpointID, change func(*deferd.Endpoint) error) (deferd.Endpoint, error) {
	e, err := s.Store.ChangeEndpoint(ctx, id, change)
	if err == nil {
		err = errUnsure
	}
	return e, err
}

// TestUnsureChangeIsTold has changes of which nobody knows whether they are
// stored. If they are, the endpoint must not wait for the next start.
func TestUnsureChangeIsTold(t *testing.T) {
	for operation, in := range map[string]string{
		"CreateEndpoint":                     `{"EndpointName":"new","EndpointConfigName":"c"}`,
		"DeleteEndpoint":                     `{"EndpointName":"e"}`,
		"UpdateEndpoint":                     `{"EndpointName":"e","EndpointConfigName":"c"}`,
		"UpdateEndpointWeightsAndCapacities": `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v"}]}`,
	} {
		t.Run(operation, func(t *testing.T) {
			late := &struct{ deferd.Store }{}
			s := open(t, func(c *Config) { late.Store, c.Store = c.Store, late })
			s.serve("e")
			s.changed = nil
			late.Store = unsureStore{late.Store}
			if got := s.call(operation, in).status; got != 503 {
				t.Errorf("answered with status %d, want 503", got)
			}
			if len(s.changed) != 1 {
				t.Errorf("told of %d changes, want one", len(s.changed))
			}
		})
	}
}

func TestUpdateErrors(t *testing.T) {
	const update = `{"EndpointName":"e","EndpointConfigName":"next"}`
	capacities := func(of string) string {
		return `{"EndpointName":"e","DesiredWeightsAndCapacities":[` + of + `]}`
	}
	tests := []struct {
		name      string
		status    deferd.EndpointStatus
		operation string
		in, want  string
	}{
		{"no endpoint", deferd.EndpointInService, "UpdateEndpoint", `{"EndpointName":"no","EndpointConfigName":"next"}`, `Could not find endpoint "` + arnHead + `endpoint/no".`},
		{"no configuration", deferd.EndpointInService, "UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"no"}`, `Could not find endpoint configuration "` + arnHead + `endpoint-config/no".`},
		{"real-time", deferd.EndpointInService, "UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"real-time"}`, `Endpoint configuration "` + arnHead + `endpoint-config/real-time" has no AsyncInferenceConfig; only asynchronous endpoints are served here.`},
		{"two policies", deferd.EndpointInService, "UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next","DeploymentConfig":{"RollingUpdatePolicy":{"MaximumBatchSize":{"Type":"INSTANCE_COUNT","Value":1},"WaitIntervalInSeconds":0},"BlueGreenUpdatePolicy":{"TrafficRoutingConfiguration":{"Type":"ALL_AT_ONCE","WaitIntervalInSeconds":5}}}}`,
			`BlueGreenUpdatePolicy and RollingUpdatePolicy cannot be given together.`},
		{"being created", deferd.EndpointCreating, "UpdateEndpoint", update, `Cannot update in-progress endpoint "` + arnHead + `endpoint/e".`},
		{"being updated", deferd.EndpointUpdating, "UpdateEndpoint", update, `Cannot update in-progress endpoint "` + arnHead + `endpoint/e".`},
		{"being deleted", deferd.EndpointDeleting, "UpdateEndpointWeightsAndCapacities", capacities(`{"VariantName":"v"}`), `Cannot update in-progress endpoint "` + arnHead + `endpoint/e".`},
		{"failed", deferd.EndpointFailed, "UpdateEndpoint", update, `Cannot update failed endpoint "` + arnHead + `endpoint/e". Delete it and create it again.`},
		{"no endpoint to rescale", deferd.EndpointInService, "UpdateEndpointWeightsAndCapacities", `{"EndpointName":"no","DesiredWeightsAndCapacities":[{"VariantName":"v"}]}`, `Could not find endpoint "` + arnHead + `endpoint/no".`},
		{"unknown variant", deferd.EndpointInService, "UpdateEndpointWeightsAndCapacities", capacities(`{"VariantName":"x"},{"VariantName":"v"},{"VariantName":"y"}`), `The variant name(s) "x, y" is/are not present within endpoint configuration "c".`},
		{"variant twice", deferd.EndpointInService, "UpdateEndpointWeightsAndCapacities", capacities(`{"VariantName":"v"},{"VariantName":"v"}`), `The variant name "v" was non-unique within the request.`},
		{"serverless", deferd.EndpointInService, "UpdateEndpointWeightsAndCapacities", capacities(`{"VariantName":"v","ServerlessUpdateConfig":{"MaxConcurrency":1}}`), `ServerlessUpdateConfig is not supported: serverless endpoints are not served here.`},
		{"fewer than none", deferd.EndpointInService, "UpdateEndpointWeightsAndCapacities", capacities(`{"VariantName":"v","DesiredInstanceCount":-1}`), `1 validation error detected: Value '-1' at 'desiredWeightsAndCapacities.1.member.desiredInstanceCount' failed to satisfy constraint: Member must have value greater than or equal to 0`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := updatable(t)
			before := s.become("e", tt.status)
			s.call(tt.operation, tt.in).check(t, 400, fmt.Sprintf(`{"__type":"ValidationException","message":%q}`, tt.want))
			if after := s.endpoint("e"); after.Status != before.Status || after.Deployment != nil || after.Fleets != 0 {
				t.Errorf("the refused update has left %+v", after)
			}
		})
	}
}

// TestDescribeRepeats has an endpoint that says of its variants what their
// configuration does.
func TestDescribeRepeats(t *testing.T) {
	s := updatable(t)
	s.must("CreateEndpointConfig", `{"EndpointConfigName":"routed","AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out"}},"ProductionVariants":[
		{"VariantName":"v","ModelName":"m","RoutingConfig":{"RoutingStrategy":"RANDOM"},"ManagedInstanceScaling":{"Status":"ENABLED","MaxInstanceCount":3}}]}`)
	s.must("CreateEndpoint", `{"EndpointName":"routed","EndpointConfigName":"routed"}`)
	var described struct{ ProductionVariants []map[string]any }
	s.must("DescribeEndpoint", `{"EndpointName":"routed"}`).decode(t, &described)
	want := map[string]any{"RoutingStrategy": "RANDOM"}
	if got := described.ProductionVariants[0]["RoutingConfig"]; !cmp.Equal(got, any(want)) {
		t.Errorf("routing is described as %v, want %v", got, want)
	}
	want = map[string]any{"Status": "ENABLED", "MaxInstanceCount": 3.0}
	if got := described.ProductionVariants[0]["ManagedInstanceScaling"]; !cmp.Equal(got, any(want)) {
		t.Errorf("scaling is described as %v, want %v", got, want)
	}
}

// TestTooManyInstances asks for more than there may be.
func TestTooManyInstances(t *testing.T) {
	s := updatable(t)
	s.server.MaxInstances = 3
	const refusal = `{"__type":"ResourceLimitExceeded","message":"The account-level service limit 'instances of a variant' is 3 Instances, ` +
		`with current utilization of %d Instances and a request delta of %d Instances. The operator can raise it: max-instances."}`
	rescale := func(n int) answer {
		return s.call("UpdateEndpointWeightsAndCapacities", fmt.Sprintf(`{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v","DesiredInstanceCount":%d}]}`, n))
	}
	rescale(4).check(t, 400, fmt.Sprintf(refusal, 1, 3))
	s.call("UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"next"}`).check(t, 400, fmt.Sprintf(refusal, 1, 3))
	s.call("CreateEndpoint", `{"EndpointName":"f","EndpointConfigName":"next"}`).check(t, 400, fmt.Sprintf(refusal, 0, 4))
	rescale(3).check(t, 200, `{"EndpointArn":"`+arnHead+`endpoint/e"}`)
}
