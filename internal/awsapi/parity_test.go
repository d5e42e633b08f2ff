package awsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// Each operation has a row, and each member of those that are not refused.
func TestParityIsComplete(t *testing.T) {
	d := readParity(t)
	for _, c := range incomplete(d, "SageMaker Runtime", awsmodel.RuntimeOperations(), clientOperations[*sagemakerruntime.Client]()) {
		t.Error(c)
	}
	for _, c := range incomplete(d, "SageMaker", awsmodel.SageMakerOperations(), clientOperations[*sagemaker.Client]()) {
		t.Error(c)
	}
	for _, c := range incomplete(d, "STS", awsmodel.STSOperations(), clientOperations[*sts.Client]()) {
		t.Error(c)
	}
}

// incomplete complains of what is missing in the tables on a service, or too
// much. All are its operations, those without types included.
func incomplete(d parityDoc, service string, typed []awsmodel.Operation, all []string) (complaints []string) {
	rows := d.operations(service)
	complaints = uncovered(service, rows, slices.Concat(operationNames(typed), countOthers(rows)))
	if n, want := countedOthers(rows), len(all)-len(typed); n != want {
		complaints = append(complaints, fmt.Sprintf("%s: %d other operations, want %d", service, n, want))
	}
	known := operationNames(typed)
	for _, table := range d.tables {
		for _, of := range table.of {
			if table.service == service && !slices.Contains(known, of) {
				complaints = append(complaints, fmt.Sprintf("%s: a table is about %s, which is no operation", service, of))
			}
		}
	}
	for _, op := range typed {
		if row, _ := find(rows, op.Name); row.verdict != refused {
			complaints = append(complaints, uncovered(op.Name, d.members(service, op.Name), members(reflect.TypeOf(op.NewInput()).Elem()))...)
		}
	}
	return complaints
}

func operationNames(operations []awsmodel.Operation) (names []string) {
	for _, op := range operations {
		names = append(names, op.Name)
	}
	return names
}

// countOthers returns the names of rows on all other operations.
func countOthers(rows []parityRow) (names []string) {
	for _, row := range rows {
		if others.MatchString(row.names[0]) {
			names = append(names, row.names[0])
		}
	}
	return names
}

// countedOthers is how many operations the rows on all others are about.
func countedOthers(rows []parityRow) (sum int) {
	for _, name := range countOthers(rows) {
		n, _ := strconv.Atoi(others.FindStringSubmatch(name)[1]) // it has digits
		sum += n
	}
	return sum
}

// clientOperations lists the operations of a client of the AWS SDK.
func clientOperations[Client any]() (names []string) {
	c := reflect.TypeFor[Client]()
	for m := range c.Methods() {
		// A method of an operation takes a context, an input and options.
		if m.Type.NumIn() == 4 && m.Type.In(1) == reflect.TypeFor[context.Context]() && m.Type.In(2).Elem().Name() == m.Name+"Input" {
			names = append(names, m.Name)
		}
	}
	return names
}

// The server does what the document says of each member: of each leaf, with
// several values.
func TestParityHolds(t *testing.T) {
	d := readParity(t)
	for _, creation := range creations {
		t.Run(creation.operation, func(t *testing.T) {
			p := newProver(t)
			for _, path := range members(creation.input) {
				row, name := find(d.members("SageMaker", creation.operation), path)
				for _, c := range p.prove(creation, path, row, name) {
					t.Errorf("docs/parity.md: line %d: %s", row.line, c)
				}
			}
		})
	}
}

// A creation is an operation that keeps what it is sent, so that its verdicts
// can be seen.
type creation struct {
	operation string
	input     reflect.Type
	nameOf    string // the member that names what is created
	describe  string
	arnKind   string
	base      func(path string) string // a request that path can be added to

	// want is what Describe says of a request; got is the part of its answer
	// that is about the request.
	want func(request map[string]any) map[string]any
	got  func(described map[string]any) map[string]any
}

var creations = []creation{
	{
		operation: "CreateModel", input: reflect.TypeFor[awsmodel.CreateModelInput](), nameOf: "ModelName", describe: "DescribeModel", arnKind: "model",
		base: func(path string) string {
			if strings.HasPrefix(path, "Containers[]") {
				return `{"Containers":[{"Image":"image:1"}]}`
			}
			return `{"PrimaryContainer":{"Image":"image:1"}}`
		},
		want: func(request map[string]any) map[string]any {
			want := without(request, "Tags")
			if want["EnableNetworkIsolation"] == nil {
				want["EnableNetworkIsolation"] = false
			}
			return want
		},
		got: func(described map[string]any) map[string]any { return without(described, "ModelArn", "CreationTime") },
	},
	{
		operation: "CreateEndpointConfig", input: reflect.TypeFor[awsmodel.CreateEndpointConfigInput](), nameOf: "EndpointConfigName", describe: "DescribeEndpointConfig", arnKind: "endpoint-config",
		base: func(string) string {
			return `{"ProductionVariants":[{"VariantName":"v","ModelName":"m"}],"AsyncInferenceConfig":{"OutputConfig":{"S3OutputPath":"s3://b/out"}}}`
		},
		want: func(request map[string]any) map[string]any { return without(request, "Tags") },
		got: func(described map[string]any) map[string]any {
			return without(described, "EndpointConfigArn", "CreationTime")
		},
	},
	{
		operation: "CreateEndpoint", input: reflect.TypeFor[awsmodel.CreateEndpointInput](), nameOf: "EndpointName", describe: "DescribeEndpoint", arnKind: "endpoint",
		base: func(string) string { return `{"EndpointConfigName":"c"}` },
		want: func(request map[string]any) map[string]any {
			want := without(request, "Tags", "DeploymentConfig")
			if c := request["DeploymentConfig"]; c != nil {
				want["LastDeploymentConfig"] = c
			}
			return want
		},
		got: func(described map[string]any) map[string]any {
			return without(described, "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus", "ProductionVariants", "AsyncInferenceConfig")
		},
	},
}

// without is a document without some of its members.
func without(document map[string]any, names ...string) map[string]any {
	rest := maps.Clone(document)
	for _, name := range names {
		delete(rest, name)
	}
	return rest
}

// A prover holds a server against verdicts.
type prover struct {
	s     *site
	model *serviceModel
	n     int // things named so far
}

// newProver starts a server that has a model m, a configuration c and an
// endpoint e.
func newProver(t *testing.T) *prover {
	p := &prover{s: open(t, nil), model: readModel(t, "sagemaker")}
	p.s.serve("e")
	return p
}

func (p *prover) name() string {
	p.n++
	return fmt.Sprintf("n-%d", p.n)
}

// prove complains of what the server does with a member against its row, whose
// name covers it.
func (p *prover) prove(c creation, path string, row parityRow, name string) (complaints []string) {
	if path == c.nameOf {
		return p.try(c, path, nil, row.verdict, row, name)
	}
	for _, v := range p.values(c.operation, path) {
		complaints = append(complaints, p.try(c, path, v, row.on(v), row, name)...)
	}
	return complaints
}

// values are values of a member that are valid beyond its shape's constraints:
// names of what exists.
func (p *prover) values(operation, path string) []any {
	switch path {
	case "ProductionVariants[].ModelName":
		return []any{"m"}
	case "EndpointConfigName":
		return []any{"c"}
	}
	return p.model.values(p.model.leaf(operation, path))
}

// try sends a request in which a member has a value.
func (p *prover) try(c creation, path string, v any, want verdict, row parityRow, name string) (complaints []string) {
	request := p.request(c.operation, c.base(path), path, v)
	request[c.nameOf] = p.name()
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Sprintf("%s %s=%v is not %s: ", c.operation, path, v, want)+fmt.Sprintf(format, args...))
	}
	a := p.s.call(c.operation, mustMarshal(request))
	refusedHere := want == refused && !row.atEndpoint()
	if why := unlike(a, refusedHere, name); why != "" {
		complain("%s", why)
		return complaints
	}
	if refusedHere {
		return nil
	}
	if diff := p.echo(c, request); diff != "" {
		complain("described (-want +got):\n%s", diff)
	}
	if c.operation == "CreateEndpointConfig" {
		a := p.s.call("CreateEndpoint", fmt.Sprintf(`{"EndpointName":%q,"EndpointConfigName":%q}`, p.name(), request[c.nameOf]))
		if why := unlike(a, want == refused, name); why != "" {
			complain("CreateEndpoint: %s", why)
		}
	}
	return complaints
}

// request is a request in which a member has a value; nil for what it has
// anyway.
func (p *prover) request(operation, base, path string, v any) map[string]any {
	request := map[string]any{}
	if err := json.Unmarshal([]byte(base), &request); err != nil {
		p.s.t.Fatal(err)
	}
	if v != nil {
		p.model.set(request, operation, path, v)
	}
	return request
}

// unlike says how an answer is not what it should be, or "": a refusal that
// names a member, or a success.
func unlike(a answer, refusal bool, name string) string {
	last := name[strings.LastIndexByte(strings.TrimSuffix(name, ".*"), '.')+1:]
	last = strings.TrimSuffix(strings.TrimSuffix(last, ".*"), "[]")
	switch {
	case !refusal && a.status != http.StatusOK:
		return fmt.Sprintf("answer %d %s", a.status, a.body)
	case refusal && (a.status != http.StatusBadRequest || !strings.Contains(a.body, last)):
		return fmt.Sprintf("answer %d %s, want a refusal that names %s", a.status, a.body, last)
	}
	return ""
}

// echo compares what is described, and its tags, with what was sent.
func (p *prover) echo(c creation, request map[string]any) string {
	var described, tagged map[string]any
	p.s.must(c.describe, mustMarshal(map[string]any{c.nameOf: request[c.nameOf]})).decode(p.s.t, &described)
	arn := arnHead + c.arnKind + "/" + request[c.nameOf].(string)
	p.s.must("ListTags", mustMarshal(map[string]any{"ResourceArn": arn})).decode(p.s.t, &tagged)
	want, got := c.want(request), c.got(described)
	want["Tags"], got["Tags"] = []any{}, tagged["Tags"]
	if tags := request["Tags"]; tags != nil {
		want["Tags"] = tags
	}
	return cmp.Diff(want, got)
}

func mustMarshal(v any) string { return string(mustJSON(v)) }

// The other operations take each of their members, and what is stored of them
// is described.
func TestParityOfOtherOperations(t *testing.T) {
	d := readParity(t)
	p := newProver(t)
	arn := arnHead + "model/m"
	tests := []struct{ operation, base string }{
		{"DescribeModel", `{"ModelName":"m"}`},
		{"DescribeEndpointConfig", `{"EndpointConfigName":"c"}`},
		{"DescribeEndpoint", `{"EndpointName":"e"}`},
		{"ListModels", `{}`},
		{"ListEndpointConfigs", `{}`},
		{"ListEndpoints", `{}`},
		{"AddTags", `{"ResourceArn":"` + arn + `","Tags":[{"Key":"k","Value":"v"}]}`},
		{"ListTags", `{"ResourceArn":"` + arn + `"}`},
		{"DeleteTags", `{"ResourceArn":"` + arn + `","TagKeys":["k"]}`},
		{"UpdateEndpoint", `{"EndpointName":"e","EndpointConfigName":"c"}`},
		{"UpdateEndpointWeightsAndCapacities", `{"EndpointName":"e","DesiredWeightsAndCapacities":[{"VariantName":"v"}]}`},
		{"DeleteEndpoint", `{"EndpointName":"e"}`},
		{"DeleteEndpointConfig", `{"EndpointConfigName":"c"}`},
		{"DeleteModel", `{"ModelName":"m"}`},
	}
	for _, test := range tests {
		t.Run(test.operation, func(t *testing.T) {
			p.s.t = t
			for _, path := range members(inputOf(test.operation)) {
				row, name := find(d.members("SageMaker", test.operation), path)
				for _, v := range p.valuesOf(test.operation, path) {
					p.s.become("e", deferd.EndpointInService)
					request := p.request(test.operation, test.base, path, v)
					why := unlike(p.s.call(test.operation, mustMarshal(request)), row.on(v) == refused, name)
					if why == "" && row.on(v) != refused {
						why = p.echoOfUpdate(request)
					}
					if why != "" {
						t.Errorf("docs/parity.md: line %d: %s=%v is not %s: %s", row.line, path, v, row.on(v), why)
					}
				}
			}
		})
	}
}

func inputOf(operation string) reflect.Type {
	operations := awsmodel.SageMakerOperations()
	i := slices.IndexFunc(operations, func(o awsmodel.Operation) bool { return o.Name == operation })
	return reflect.TypeOf(operations[i].NewInput()).Elem()
}

// echoOfUpdate compares what is described of endpoint e with a request, where
// that updates it.
func (p *prover) echoOfUpdate(request map[string]any) string {
	var described struct {
		LastDeploymentConfig any
		ProductionVariants   []struct{ DesiredWeight, DesiredInstanceCount any }
	}
	p.s.must("DescribeEndpoint", `{"EndpointName":"e"}`).decode(p.s.t, &described)
	diff := ""
	if c := request["DeploymentConfig"]; c != nil {
		diff = cmp.Diff(c, described.LastDeploymentConfig)
	}
	if list, ok := request["DesiredWeightsAndCapacities"].([]any); ok {
		asked, v := list[0].(map[string]any), described.ProductionVariants[0]
		for name, got := range map[string]any{"DesiredWeight": v.DesiredWeight, "DesiredInstanceCount": v.DesiredInstanceCount} {
			if asked[name] != nil {
				diff += cmp.Diff(asked[name], got)
			}
		}
	}
	if diff != "" {
		return "described (-want +got):\n" + diff
	}
	return ""
}

// valuesOf are values of a member of an operation on what the prover has.
func (p *prover) valuesOf(operation, path string) []any {
	switch path {
	case "ModelName":
		return []any{"m"}
	case "EndpointConfigName":
		return []any{"c"}
	case "EndpointName":
		return []any{"e"}
	case "DesiredWeightsAndCapacities[].VariantName":
		return []any{"v"}
	}
	if path == "NextToken" && operation != "ListTags" {
		return []any{p.token(operation)}
	}
	return p.model.values(p.model.leaf(operation, path))
}

// token is the token of a list's second page.
func (p *prover) token(operation string) string {
	p.s.must("CreateModel", `{"ModelName":"`+p.name()+`","PrimaryContainer":{"Image":"i"}}`)
	p.s.must("CreateEndpointConfig", `{"EndpointConfigName":"`+p.name()+`","ProductionVariants":[{"VariantName":"v","ModelName":"m"}]}`)
	p.s.must("CreateEndpoint", `{"EndpointName":"`+p.name()+`","EndpointConfigName":"c"}`)
	var out struct{ NextToken string }
	p.s.must(operation, `{"MaxResults":1}`).decode(p.s.t, &out)
	return out.NextToken
}

// InvokeEndpointAsync takes each of its members. What they do is the subject of
// TestInvokeEndpointAsync and of the conformance tests.
func TestParityOfInvoking(t *testing.T) {
	d := readParity(t)
	s := open(t, nil)
	s.serve("e")
	m := readModel(t, "runtime")
	const operation = "InvokeEndpointAsync"
	for _, path := range members(reflect.TypeFor[awsmodel.InvokeEndpointAsyncInput]()) {
		if row, _ := find(d.members("SageMaker Runtime", operation), path); row.verdict != honoured {
			t.Errorf("docs/parity.md: line %d: %s is %s", row.line, path, row.verdict)
		}
		member := m.Shapes[m.Operations[operation].Input.Shape].Members[path]
		for _, v := range m.values(member.Shape) {
			body, headers := "payload", []string{member.LocationName, fmt.Sprint(v)}
			switch path {
			case "EndpointName", "Body":
				headers = nil
			case "InputLocation":
				body = ""
			}
			if a := s.invoke("e", body, headers...); a.status != http.StatusAccepted {
				t.Errorf("%s=%v: %d %s", path, v, a.status, a.body)
			}
		}
	}
}

// Operations that are refused say so, in the words that the document quotes.
func TestRefusedOperations(t *testing.T) {
	d := readParity(t)
	s := open(t, nil)
	s.serve("e")
	ask := map[string]func(operation string) answer{
		"SageMaker Runtime": func(operation string) answer {
			path := map[string]string{"InvokeEndpoint": "invocations", "InvokeEndpointWithResponseStream": "invocations-response-stream"}[operation]
			return s.send("sagemaker", "POST", "/endpoints/e/"+path, "body")
		},
		"SageMaker": func(operation string) answer { return s.call(operation, "{}") },
		"STS": func(operation string) answer {
			return s.send("sts", "POST", "/", "Action="+operation, "Content-Type", "application/x-www-form-urlencoded")
		},
	}
	all := map[string][]string{
		"SageMaker Runtime": clientOperations[*sagemakerruntime.Client](),
		"SageMaker":         clientOperations[*sagemaker.Client](),
		"STS":               clientOperations[*sts.Client](),
	}
	for service, operations := range all {
		rows := d.operations(service)
		for _, operation := range operations {
			row, _ := find(rows, operation)
			if row.names == nil && countOthers(rows) != nil {
				row, _ = find(rows, countOthers(rows)[0])
			}
			if row.verdict != refused {
				continue
			}
			a := ask[service](operation)
			words := spansOf(row.note)
			if a.status < 400 || words == "" || !strings.Contains(a.body+a.header.Get("x-amzn-ErrorType"), words) {
				t.Errorf("docs/parity.md: line %d: %s answers %d %s, want %q", row.line, operation, a.status, a.body, words)
			}
		}
	}
}

// spansOf returns what a note quotes, without the ellipses around it.
func spansOf(note string) string {
	m := codeSpan.FindStringSubmatch(note)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], "… ")
}

// Of IAM there is what its table names, and nothing else.
func TestParityOfIAM(t *testing.T) {
	s := open(t, func(c *Config) {
		c.Keys = AccessKeys{Mint: func(deferd.AccountID, string) (k deferd.AccessKey, secret string) { return k, "" }, Forget: func(string) {}}
	})
	ask := func(operation string) answer {
		return s.send("iam", "POST", "/", "Version=2010-05-08&Action="+operation, "Content-Type", "application/x-www-form-urlencoded")
	}
	var named []string
	for _, row := range readParity(t).operations("IAM") {
		named = append(named, row.names...)
		if row.verdict != honoured {
			t.Errorf("docs/parity.md: line %d: IAM's operations are %s", row.line, row.verdict)
		}
	}
	for _, operation := range append(named, "CreateUser") {
		known := !strings.Contains(ask(operation).body, "<Code>InvalidAction</Code>")
		if want := slices.Contains(named, operation); known != want {
			t.Errorf("%s is known: %v, want %v", operation, known, want)
		}
	}
	if len(named) != 6 {
		t.Errorf("the table names %v, want six operations", named)
	}
}
