package sigv4

import (
	"strings"
	"testing"
)

// A proxy that replaces the Host header: signatures for the server's own names
// are taken, others are not, and a bucket in the host name is never lost.
func TestReplacedHost(t *testing.T) {
	bucketOf := func(host string) string {
		bucket, ok := strings.CutSuffix(host, ".deferd.test")
		if !ok {
			return ""
		}
		return bucket
	}
	tests := []struct {
		name     string
		hosts    []string
		received string
		taken    bool
	}{
		{"as it was sent", nil, "deferd.test:8780", true},
		{"replaced, and no other name is known", nil, "127.0.0.1:8780", false},
		{"replaced by the address", []string{"other.test", "deferd.test:8780"}, "127.0.0.1:8780", true},
		{"the port counts", []string{"deferd.test"}, "127.0.0.1:8780", false},
		{"another name", []string{"other.test:8780"}, "127.0.0.1:8780", false},
		{"replaced by a bucket", []string{"deferd.test:8780"}, "bucket.deferd.test", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := at(noon, Options{Hosts: tt.hosts, Bucket: bucketOf}, exampleKey)
			r := signed(t, exampleKey, "sagemaker", "us-east-1")
			r.Host = tt.received
			if _, err := v.Verify(r, "sagemaker", nil); (err == nil) != tt.taken {
				t.Errorf("Verify: %v, want taken: %t", err, tt.taken)
			}
			r.Header.Set("X-Amzn-Sagemaker-Accept", "changed")
			if _, err := v.Verify(r, "sagemaker", nil); err == nil || kindOf(t, err) != WrongSignature {
				t.Errorf("a changed request: %v, want WrongSignature", err)
			}
		})
	}
}
