package awsmodel

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is decoded and marshalled again says what the caller said.
func TestDecodeRoundTrip(t *testing.T) {
	tests := []struct {
		name, in, want string
		x              any
	}{
		{"model", `{"ModelName":"m","PrimaryContainer":{"Image":"i","Mode":"SingleModel","Environment":{"A":"","B":"1"}},"Tags":[]}`, "", new(CreateModelInput)},
		{"empty structure", `{"ModelName":"m","PrimaryContainer":{},"EnableNetworkIsolation":false}`, "", new(CreateModelInput)},
		{"numbers", `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","InitialInstanceCount":0,"InitialVariantWeight":0.1}]}`, "", new(CreateEndpointConfigInput)},
		{"time", `{"SortBy":"Name","CreationTimeAfter":1700000000.123}`, "", new(ListModelsInput)},
		{"unknown members", `{"ModelName":"m","Unheard":{"a":[1]}}`, `{"ModelName":"m"}`, new(CreateModelInput)},
		{"case matters", `{"modelName":"m"}`, `{}`, new(CreateModelInput)},
		{"null is absent", `{"ModelName":null,"Tags":null}`, `{}`, new(CreateModelInput)},
		{"last of two", `{"ModelName":"a","ModelName":"b"}`, `{"ModelName":"b"}`, new(CreateModelInput)},
		{"empty body", "", `{}`, new(ListModelsInput)},
		{"integer with a fraction of zero", `{"MaxResults":5.0}`, `{"MaxResults":5}`, new(ListModelsInput)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Decode([]byte(tt.in), tt.x); err != nil {
				t.Fatalf("Decode: %v", err)
			}
			out, err := json.Marshal(tt.x)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want == "" {
				want = tt.in
			}
			var a, b any
			if err := errors.Join(json.Unmarshal(out, &a), json.Unmarshal([]byte(want), &b)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b, a); diff != "" {
				t.Errorf("marshalled again (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"no JSON", `{`, "The request is not valid JSON."},
		{"more than one", `{} {}`, "There is more than one JSON value in the request."},
		{"no object", `[]`, "The request is not a JSON object."},
		{"no UTF-8", "{\"EndpointConfigName\":\"\xff\"}", "The request is not valid UTF-8."},
		{"string for a list", `{"ProductionVariants":"x"}`, "STRING_VALUE can not be converted to a List"},
		{"string for a number", `{"ProductionVariants":[{"InitialInstanceCount":"1"}]}`, "STRING_VALUE can not be converted to an Integer"},
		{"number for a string", `{"EndpointConfigName":1}`, "NUMBER_VALUE can not be converted to a String"},
		{"boolean for a string", `{"EndpointConfigName":true}`, "BOOLEAN_VALUE can not be converted to a String"},
		{"fraction", `{"ProductionVariants":[{"InitialInstanceCount":1.5}]}`, "The number 1.5 is not a 32-bit integer."},
		{"too large", `{"ProductionVariants":[{"InitialInstanceCount":2147483648}]}`, "The number 2147483648 is not a 32-bit integer."},
		{"no float", `{"ProductionVariants":[{"InitialVariantWeight":1e99}]}`, "The number 1e99 is out of range."},
		{"object for a string", `{"EndpointConfigName":{}}`, "Start of structure or map found where not expected."},
		{"list for a string", `{"EndpointConfigName":[]}`, "Start of list found where not expected."},
		{"list for a structure", `{"AsyncInferenceConfig":[]}`, "Start of list found where not expected."},
		{"string for a structure", `{"AsyncInferenceConfig":"x"}`, "STRING_VALUE can not be converted to a Structure"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := Decode([]byte(tt.in), new(CreateEndpointConfigInput))
			if _, ok := errors.AsType[*SerializationError](err); !ok {
				t.Fatalf("Decode: %v, want a *SerializationError", err)
			}
			if got := err.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDecodeInvokeEndpointAsync(t *testing.T) {
	r := httptest.NewRequest("POST", "/endpoints/my-ep/async-invocations", nil)
	for name, value := range map[string]string{
		"X-Amzn-SageMaker-Content-Type":             "application/json",
		"x-amzn-sagemaker-accept":                   "",
		"X-Amzn-Sagemaker-Filename":                 "",
		"X-Amzn-SageMaker-RequestTTLSeconds":        "60",
		"X-Amzn-SageMaker-InvocationTimeoutSeconds": "",
		"Content-Type":                              "application/octet-stream",
	} {
		r.Header.Set(name, value)
	}
	got, err := DecodeInvokeEndpointAsync(r, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	want := &InvokeEndpointAsyncInput{
		EndpointName:      new("my-ep"),
		ContentType:       new("application/json"),
		Filename:          new(""), // has a minimal length: empty is a violation
		RequestTTLSeconds: new(int32(60)),
		Body:              []byte("{}"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}

	r.Header.Set("X-Amzn-SageMaker-RequestTTLSeconds", "soon")
	if _, err := DecodeInvokeEndpointAsync(r, nil); err == nil {
		t.Error("a word for a number of seconds was taken")
	}
}

func TestEmptyHeaders(t *testing.T) {
	tests := []struct {
		header  string
		refused bool
	}{
		{"X-Amzn-SageMaker-Inference-Id", true},
		{"X-Amzn-SageMaker-Filename", true},
		{"X-Amzn-SageMaker-S3OutputPathExtension", true},
		{"X-Amzn-SageMaker-InputLocation", true},
		{"X-Amzn-SageMaker-Content-Type", false},
		{"X-Amzn-SageMaker-Accept", false},
		{"X-Amzn-SageMaker-Custom-Attributes", false},
		{"X-Amzn-SageMaker-RequestTTLSeconds", false},
		{"X-Amzn-SageMaker-InvocationTimeoutSeconds", false},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/endpoints/e/async-invocations", nil)
			r.Header.Set(tt.header, "")
			x, err := DecodeInvokeEndpointAsync(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := x.Validate(Limits{}) != nil; got != tt.refused {
				t.Errorf("refused: %t, want %t", got, tt.refused)
			}
		})
	}
}

func TestTimestamp(t *testing.T) {
	for _, want := range []string{"1700000000", "1700000000.123", "0", "-0.5", "-62135596800"} {
		var x ListModelsInput
		if err := Decode([]byte(`{"CreationTimeAfter":`+want+`}`), &x); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(x.CreationTimeAfter)
		if err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	if got, err := json.Marshal(Time(at)); err != nil || string(got) != "1767323045.678" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestOperations(t *testing.T) {
	n := 0
	for _, list := range [][]Operation{RuntimeOperations(), SageMakerOperations(), STSOperations()} {
		for _, op := range list {
			n++
			if op.NewInput() == nil || !strings.HasPrefix(op.URI, "/") {
				t.Errorf("operation %+v is not whole", op)
			}
		}
	}
	if n != 22 {
		t.Errorf("%d operations, want 22", n)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","InitialInstanceCount":1}],"Tags":[{"Key":"k"}]}`))
	f.Add([]byte(`{"PrimaryContainer":{"Environment":{"a":null}},"CreationTimeAfter":1e300,"MaxResults":-1}`))
	f.Add([]byte(`[null]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, op := range SageMakerOperations() {
			x := op.NewInput()
			if err := Decode(data, x); err != nil {
				continue
			}
			_ = x.Validate(Limits{})
			first, err := json.Marshal(x)
			if err != nil {
				t.Fatalf("%s: marshal: %v", op.Name, err)
			}
			again := op.NewInput()
			if err := Decode(first, again); err != nil {
				t.Fatalf("%s: decode what was marshalled, %s: %v", op.Name, first, err)
			}
			second, err := json.Marshal(again)
			if err != nil || string(first) != string(second) {
				t.Errorf("%s: %s became %s, %v", op.Name, first, second, err)
			}
		}
	})
}
