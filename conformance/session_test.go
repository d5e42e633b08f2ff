package conformance

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// TestAssumedRole works with the keys that a role gives, also after a restart,
// and until they expire.
func TestAssumedRole(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	s.client().deploy()
	out, err := sts.NewFromConfig(s.awsConfig()).AssumeRole(t.Context(), &sts.AssumeRoleInput{
		RoleArn: aws.String(role), RoleSessionName: aws.String("tester"), DurationSeconds: aws.Int32(900),
	})
	if err != nil {
		t.Fatal(err)
	}
	keys := out.Credentials
	if left := time.Until(*keys.Expiration); left < 890*time.Second || left > 900*time.Second {
		t.Errorf("the keys expire in %v, want 900 s", left)
	}
	if !strings.HasPrefix(*keys.AccessKeyId, "ASIA") {
		t.Errorf("the key is %s", *keys.AccessKeyId)
	}
	s.work(t, keys.SessionToken, *keys.AccessKeyId, *keys.SecretAccessKey)

	s.stop()
	s.start()
	s.work(t, keys.SessionToken, *keys.AccessKeyId, *keys.SecretAccessKey)
	for name, token := range map[string]*string{"no token": aws.String(""), "another token": aws.String("x" + (*keys.SessionToken)[1:])} {
		t.Run(name, func(t *testing.T) {
			s.refuses(t, token, *keys.AccessKeyId, *keys.SecretAccessKey, "InvalidToken", "UnrecognizedClientException")
		})
	}

	s.stop()
	s.expire(*keys.AccessKeyId)
	s.start()
	s.refuses(t, keys.SessionToken, *keys.AccessKeyId, *keys.SecretAccessKey, "ExpiredToken", "ExpiredTokenException")
}

// sessionConfig is the configuration of somebody who has such keys.
func (s *server) sessionConfig(token *string, id, secret string) aws.Config {
	cfg := s.awsConfig()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, *token)
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	return cfg
}

// work says who somebody with such keys is, and has them invoke the endpoint and
// fetch the result.
func (s *server) work(t *testing.T, token *string, id, secret string) {
	t.Helper()
	cfg := s.sessionConfig(token, id, secret)
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := *who.Arn, "arn:aws:sts::000000000000:assumed-role/conformance/tester"; got != want {
		t.Errorf("the caller is %s, want %s", got, want)
	}
	c := &client{t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
	c.awaitInService(endpoint)
	location := c.upload("in/session", "text/plain", []byte("by a session"))
	result := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location})
	if got := c.awaitObject(*result.OutputLocation); string(got.data) != "by a session" {
		t.Errorf("the result is %q", got.data)
	}
}

// refuses wants such keys to be refused, with the codes of S3 and of the rest.
func (s *server) refuses(t *testing.T, token *string, id, secret, ofS3, ofOthers string) {
	t.Helper()
	cfg := s.sessionConfig(token, id, secret)
	_, err := s3.NewFromConfig(cfg).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("in/session")})
	checkAPIError(t, err, ofS3, "")
	wantStatus(t, "S3", err, http.StatusBadRequest)
	_, err = sagemakerruntime.NewFromConfig(cfg).InvokeEndpointAsync(t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
		EndpointName: aws.String(endpoint), Body: []byte("x"),
	})
	checkAPIError(t, err, ofOthers, "")
}

// expire lets a key of the server, which does not run, expire a second ago: AWS
// has no sessions of less than 15 minutes.
func (s *server) expire(id string) {
	s.t.Helper()
	at := time.Now().Add(-time.Second).UnixMicro()
	query("deferd.db", fmt.Sprintf("UPDATE access_key SET expires = %d WHERE id = '%s'", at, id))(s.t, s.data())
}
