package awsmodel

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
)

// One request says the same in each protocol.
func TestProtocolsAgree(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC)
	want := PutMetricDataInput{
		Namespace: new("Mine"),
		MetricData: []MetricDatum{
			{
				MetricName: new("Latency"), Timestamp: Time(at), Values: []float64{1, 2.5}, Counts: []float64{3, 4},
				Dimensions: []Dimension{{Name: new("A"), Value: new("1 & 2")}, {Name: new("B"), Value: new("ä")}}, StorageResolution: new(int32(60)),
			},
			{MetricName: new("Set"), StatisticValues: &StatisticSet{SampleCount: new(2.0), Sum: new(3.0), Minimum: new(-1.0), Maximum: new(4.0)}, Dimensions: []Dimension{}},
		},
		StrictEntityValidation: new(true),
	}
	text := `{"Namespace":"Mine","StrictEntityValidation":true,"MetricData":[
		{"MetricName":"Latency","Timestamp":1767323045.5,"Values":[1,2.5],"Counts":[3,4],
		 "Dimensions":[{"Name":"A","Value":"1 & 2"},{"Name":"B","Value":"ä"}],"StorageResolution":60},
		{"MetricName":"Set","StatisticValues":{"SampleCount":2,"Sum":3,"Minimum":-1,"Maximum":4},"Dimensions":[]}]}`
	form, err := url.ParseQuery(strings.ReplaceAll(`Action=PutMetricData&Version=2010-08-01&Namespace=Mine&StrictEntityValidation=true
		&MetricData.member.1.MetricName=Latency&MetricData.member.1.Timestamp=2026-01-02T03:04:05.500Z
		&MetricData.member.1.Values.member.1=1&MetricData.member.1.Values.member.2=2.5&MetricData.member.1.Counts.member.1=3&MetricData.member.1.Counts.member.2=4
		&MetricData.member.1.Dimensions.member.1.Name=A&MetricData.member.1.Dimensions.member.1.Value=1+%26+2
		&MetricData.member.1.Dimensions.member.2.Name=B&MetricData.member.1.Dimensions.member.2.Value=%C3%A4&MetricData.member.1.StorageResolution=60
		&MetricData.member.2.MetricName=Set&MetricData.member.2.Dimensions=
		&MetricData.member.2.StatisticValues.SampleCount=2&MetricData.member.2.StatisticValues.Sum=3
		&MetricData.member.2.StatisticValues.Minimum=-1&MetricData.member.2.StatisticValues.Maximum=4`, "\n\t\t", ""))
	if err != nil {
		t.Fatal(err)
	}
	binary, err := cbor.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, decode := range map[string]func(any) error{
		"JSON":  func(v any) error { return Decode([]byte(text), v) },
		"query": func(v any) error { return DecodeQuery(form, v) },
		"CBOR":  func(v any) error { return DecodeCBOR(binary, v) },
	} {
		var got PutMetricDataInput
		if err := decode(&got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLongNumbers(t *testing.T) {
	var in FilterLogEventsRequest
	if err := Decode([]byte(`{"logGroupName":"g","startTime":1767323045123}`), &in); err != nil || *in.StartTime != 1767323045123 {
		t.Errorf("startTime is %v, %v", in.StartTime, err)
	}
}

func TestProtocolErrors(t *testing.T) {
	hexed := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	nested, err := url.ParseQuery("Dimensions" + strings.Repeat(".member.1", 20) + "=x")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func() error{
		"CBOR that breaks off":     func() error { return DecodeCBOR(hexed("a1"), new(ListMetricsInput)) },
		"CBOR that is no map":      func() error { return DecodeCBOR(hexed("8101"), new(ListMetricsInput)) },
		"CBOR with a key twice":    func() error { return DecodeCBOR(hexed("a2616101616102"), new(ListMetricsInput)) },
		"CBOR that is nested deep": func() error { return DecodeCBOR([]byte(strings.Repeat("\xa1\x61a", 40)+"\x01"), new(ListMetricsInput)) },
		"CBOR with no number": func() error {
			return DecodeCBOR(hexed("a1695468726573686f6c64fb7ff8000000000000"), new(PutMetricAlarmInput))
		},
		"CBOR with bytes for text":   func() error { return DecodeCBOR(hexed("a1694e616d6573706163654101"), new(ListMetricsInput)) },
		"a form that is nested deep": func() error { return DecodeQuery(nested, new(ListMetricsInput)) },
		"a form without numbers":     func() error { return DecodeQuery(url.Values{"Dimensions.member.x": {"y"}}, new(ListMetricsInput)) },
		"a form with no Boolean":     func() error { return DecodeQuery(url.Values{"ActionsEnabled": {"maybe"}}, new(PutMetricAlarmInput)) },
		"a form with no number":      func() error { return DecodeQuery(url.Values{"Threshold": {"NaN"}}, new(PutMetricAlarmInput)) },
		"a form with no time":        func() error { return DecodeQuery(url.Values{"StartTime": {"today"}}, new(GetMetricDataInput)) },
		"a form with a structure":    func() error { return DecodeQuery(url.Values{"Namespace.x": {"y"}}, new(ListMetricsInput)) },
	}
	for name, decode := range tests {
		if _, ok := errors.AsType[*SerializationError](decode()); !ok {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestEncodeQuery(t *testing.T) {
	out := ListMetricsOutput{
		Metrics:   []Metric{{Namespace: new("A<B"), MetricName: new("M"), Dimensions: []Dimension{}}},
		NextToken: new("t"),
	}
	got := string(EncodeQuery("http://ns/", "ListMetrics", &out, "id"))
	want := `<ListMetricsResponse xmlns="http://ns/"><ListMetricsResult><Metrics><member><Namespace>A&lt;B</Namespace><MetricName>M</MetricName>` +
		`<Dimensions></Dimensions></member></Metrics><NextToken>t</NextToken></ListMetricsResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></ListMetricsResponse>`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	got = string(EncodeQuery("http://ns/", "DeleteAlarms", nil, "id"))
	if want := `<DeleteAlarmsResponse xmlns="http://ns/"><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DeleteAlarmsResponse>`; got != want {
		t.Errorf("an answer without a result is %s, want %s", got, want)
	}
}

func TestEncodeCBOR(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 500e6, time.UTC)
	out, err := EncodeCBOR(&GetMetricStatisticsOutput{Label: new("L"), Datapoints: []Datapoint{{Timestamp: Time(at), Sum: new(1.5)}}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := cbor.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	point := got["Datapoints"].([]any)[0].(map[any]any)
	if got["Label"] != "L" || point["Sum"] != 1.5 || !point["Timestamp"].(time.Time).Equal(at) || len(point) != 2 {
		t.Errorf("the answer says %v", got)
	}
}

// Whatever comes is refused or understood, and what is understood can be said again.
func FuzzDecodeCBOR(f *testing.F) {
	seed, err := cbor.Marshal(PutMetricDataInput{Namespace: new("N"), MetricData: []MetricDatum{{Timestamp: Time(time.Unix(1, 0)), Values: []float64{1}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var in PutMetricDataInput
		if DecodeCBOR(data, &in) != nil {
			return
		}
		if _, err := json.Marshal(&in); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("MetricData.member.1.Values.member.2=1&MetricData.member.1.Timestamp=2026-01-02T03:04:05Z")
	f.Fuzz(func(t *testing.T, form string) {
		values, err := url.ParseQuery(form)
		if err != nil {
			return
		}
		var in PutMetricDataInput
		if DecodeQuery(values, &in) != nil {
			return
		}
		if _, err := json.Marshal(&in); err != nil {
			t.Error(err)
		}
	})
}
