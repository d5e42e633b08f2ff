package sns

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
)

const topic = "arn:aws:sns:us-east-1:000000000000:t"

// answering is an SNS that answers everything so, and what it was asked.
func answering(t *testing.T, status int, body string) (*Notifier, *url.Values) {
	t.Helper()
	asked := &url.Values{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		*asked = r.PostForm
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	n, err := New(t.Context(), Config{Endpoint: server.URL, Region: "us-east-1", AccessKey: "AKIATEST", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	return n, asked
}

const taken = `<PublishResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>m</MessageId></PublishResult>` +
	`<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>`

func TestNotify(t *testing.T) {
	for _, c := range []struct {
		name string
		n    deferd.Notification
		want url.Values
	}{
		{"plain", deferd.Notification{ID: "id", Target: topic, Message: `{"a":"ä&"}`}, url.Values{
			"TopicArn": {topic}, "Message": {`{"a":"ä&"}`},
		}},
		{"whole", deferd.Notification{ID: "id", Target: topic, Message: "m", Subject: "s", Attributes: map[string]deferd.MessageAttribute{
			"b": {Type: "Binary", Value: "AQI="},
		}}, url.Values{
			"TopicArn": {topic}, "Message": {"m"}, "Subject": {"s"}, "MessageAttributes.entry.1.Name": {"b"},
			"MessageAttributes.entry.1.Value.DataType": {"Binary"}, "MessageAttributes.entry.1.Value.BinaryValue": {"AQI="},
		}},
		{"FIFO", deferd.Notification{ID: "id", Target: topic + ".fifo", Message: "m"}, url.Values{
			"TopicArn": {topic + ".fifo"}, "Message": {"m"}, "MessageGroupId": {"id"}, "MessageDeduplicationId": {"id"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, asked := answering(t, http.StatusOK, taken)
			if err := n.Notify(t.Context(), c.n); err != nil {
				t.Fatal(err)
			}
			c.want.Set("Action", "Publish")
			c.want.Set("Version", "2010-03-31")
			if diff := cmp.Diff(c.want, *asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// once is a notifier whose client asks once.
func once(n *Notifier) *Notifier {
	return &Notifier{sns.New(n.client.Options(), func(o *sns.Options) { o.Retryer = aws.NopRetryer{} })}
}

func TestNotifyRefused(t *testing.T) {
	for _, c := range []struct {
		code   string
		status int
		want   deferd.Code
	}{
		{"NotFound", 404, deferd.NotFound},
		{"InvalidParameter", 400, deferd.Invalid},
		{"AuthorizationError", 403, deferd.Unavailable},
		{"ExpiredToken", 403, deferd.Unavailable},
		{"Throttling", 400, deferd.Unavailable},
		{"InternalError", 500, deferd.Unavailable},
	} {
		t.Run(c.code, func(t *testing.T) {
			n, _ := answering(t, c.status, `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>`+c.code+
				`</Code><Message>no</Message></Error><RequestId>r</RequestId></ErrorResponse>`)
			err := once(n).Notify(t.Context(), deferd.Notification{Target: topic, Message: "m"})
			if err == nil || deferd.CodeOf(err) != c.want {
				t.Errorf("error %v, want code %q", err, c.want)
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	n, err := New(t.Context(), Config{Endpoint: "http://127.0.0.1:1", Region: "us-east-1", AccessKey: "AKIATEST", SecretKey: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	if err := once(n).Notify(t.Context(), deferd.Notification{Target: topic, Message: "m"}); deferd.CodeOf(err) != deferd.Unavailable {
		t.Errorf("error %v, want it unavailable", err)
	}
}
