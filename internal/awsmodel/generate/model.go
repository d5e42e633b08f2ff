package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A service is one AWS service with the operations that are served.
type service struct {
	name       string // of its files, and prefix of its tables
	title      string // in Go identifiers
	data       string // folder below botocore's data
	operations []string

	// renamed has the Go names of structures that another service has, too.
	renamed map[string]string
}

// services lists everything that is generated; an operation is added here.
var services = []service{
	{"runtime", "Runtime", "sagemaker-runtime/2017-05-13", []string{
		"InvokeEndpoint", "InvokeEndpointAsync", "InvokeEndpointWithResponseStream",
	}, nil},
	{"sagemaker", "SageMaker", "sagemaker/2017-07-24", []string{
		"CreateModel", "DescribeModel", "DeleteModel", "ListModels",
		"CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig", "ListEndpointConfigs",
		"CreateEndpoint", "DescribeEndpoint", "DeleteEndpoint", "ListEndpoints",
		"UpdateEndpoint", "UpdateEndpointWeightsAndCapacities",
		"AddTags", "ListTags", "DeleteTags",
	}, nil},
	{"sts", "STS", "sts/2011-06-15", []string{"GetCallerIdentity", "AssumeRole"}, map[string]string{"Tag": "SessionTag"}},
	{"autoscaling", "AutoScaling", "application-autoscaling/2016-02-06", []string{
		"RegisterScalableTarget", "DeregisterScalableTarget", "DescribeScalableTargets",
		"PutScalingPolicy", "DeleteScalingPolicy", "DescribeScalingPolicies", "DescribeScalingActivities",
		"PutScheduledAction", "DeleteScheduledAction", "DescribeScheduledActions",
		"ListTagsForResource", "TagResource", "UntagResource",
	}, map[string]string{"Alarm": "ScalingAlarm"}},
	{"cloudwatch", "CloudWatch", "cloudwatch/2010-08-01", []string{
		"PutMetricAlarm", "DescribeAlarms", "DescribeAlarmsForMetric", "DeleteAlarms", "SetAlarmState",
		"EnableAlarmActions", "DisableAlarmActions",
		"GetMetricStatistics", "GetMetricData", "ListMetrics", "PutMetricData",
		"ListTagsForResource", "TagResource", "UntagResource",
	}, map[string]string{"Tag": "AlarmTag"}},
	{"logs", "Logs", "logs/2014-03-28", []string{
		"DescribeLogGroups", "DescribeLogStreams", "GetLogEvents", "FilterLogEvents",
	}, nil},
}

// A model is what we read of a service-2.json. Fields that are not here are
// dropped by trim.
type model struct {
	Source     string                `json:"source,omitempty"` // where it was trimmed from
	Metadata   metadata              `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type metadata struct {
	APIVersion   string `json:"apiVersion"`
	Protocol     string `json:"protocol"`
	ServiceID    string `json:"serviceId"`
	SigningName  string `json:"signingName,omitempty"`
	TargetPrefix string `json:"targetPrefix,omitempty"`
}

type operation struct {
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode,omitempty"`
	} `json:"http"`
	Input  *ref `json:"input,omitempty"`
	Output *ref `json:"output,omitempty"`
}

type ref struct {
	Shape        string `json:"shape"`
	Location     string `json:"location,omitempty"`
	LocationName string `json:"locationName,omitempty"`
}

type shape struct {
	Type        string   `json:"type"`
	Required    []string `json:"required,omitempty"`
	Members     members  `json:"members,omitzero"`
	Payload     string   `json:"payload,omitempty"`
	Member      *ref     `json:"member,omitempty"`
	Key         *ref     `json:"key,omitempty"`
	Value       *ref     `json:"value,omitempty"`
	Enum        []string `json:"enum,omitempty"`
	Min         *float64 `json:"min,omitempty"`
	Max         *float64 `json:"max,omitempty"`
	Pattern     string   `json:"pattern,omitempty"`
	Sensitive   bool     `json:"sensitive,omitempty"`
	EventStream bool     `json:"eventstream,omitempty"`
}

// children are the shapes that s refers to.
func (s *shape) children() []string {
	var names []string
	for _, r := range []*ref{s.Member, s.Key, s.Value} {
		if r != nil {
			names = append(names, r.Shape)
		}
	}
	for _, m := range s.Members {
		names = append(names, m.Shape)
	}
	return names
}

// A member is a named member of a structure.
type member struct {
	Name string
	ref
}

// members keep the order of the model, which violations are reported in.
type members []member

func (m *members) UnmarshalJSON(data []byte) error {
	var byName map[string]ref
	if err := json.Unmarshal(data, &byName); err != nil {
		return err
	}
	names, err := objectKeys(data)
	if err != nil {
		return err
	}
	*m = members{}
	for _, name := range names {
		*m = append(*m, member{name, byName[name]})
	}
	return nil
}

func (m members) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, x := range m {
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(x.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.ref)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

// objectKeys are the keys of a JSON object in their order.
func objectKeys(data []byte) ([]string, error) {
	var keys []string
	d := json.NewDecoder(bytes.NewReader(data))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		keys = append(keys, key.(string))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// trim writes the models of all services, reduced to what is served.
func trim(data, version, out string) error {
	if version == "" {
		return errors.New("-trim needs -version")
	}
	for _, s := range services {
		m, err := readModel(filepath.Join(data, filepath.FromSlash(s.data), "service-2.json"))
		if err != nil {
			return err
		}
		m.Source = "botocore " + version + ", botocore/data/" + s.data + "/service-2.json, without documentation and what is not served"
		if err := m.reduce(s.operations); err != nil {
			return fmt.Errorf("trim %s: %w", s.name, err)
		}
		text, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, s.name+".json"), append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// reduce drops all operations but those named, and the shapes they do not need.
func (m *model) reduce(names []string) error {
	operations := map[string]*operation{}
	needed := map[string]*shape{}
	for _, name := range names {
		op := m.Operations[name]
		if op == nil {
			return fmt.Errorf("no operation %s", name)
		}
		operations[name] = op
		for _, r := range []*ref{op.Input, op.Output} {
			if r == nil {
				continue
			}
			for _, n := range m.reach(r.Shape) {
				needed[n] = m.Shapes[n]
			}
		}
	}
	m.Operations, m.Shapes = operations, needed
	return nil
}

// reach lists root and every shape below it, parents first, each once.
func (m *model) reach(root string) []string {
	seen := map[string]bool{}
	var names []string
	var walk func(string)
	walk = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		names = append(names, name)
		for _, c := range m.Shapes[name].children() {
			walk(c)
		}
	}
	walk(root)
	return names
}

// readModel reads a model, also one that is only there with .gz to its name.
func readModel(path string) (*model, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = readGzip(path + ".gz")
	}
	if err != nil {
		return nil, err
	}
	var m model
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return &m, nil
}

func readGzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return io.ReadAll(z)
}
