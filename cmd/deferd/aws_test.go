package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/spf13/cobra"
)

// clearAWS keeps the environment of whoever runs the tests out of them.
func clearAWS(t *testing.T) (home string) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") || strings.HasPrefix(name, "DEFERD_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Chdir(home)
	return home
}

// siteOf opens the site of a command with these flags.
func siteOf(t *testing.T, flags ...string) (*site, error) {
	t.Helper()
	cmd := &cobra.Command{}
	cmd.SetContext(t.Context())
	addSiteFlags(cmd)
	if err := cmd.ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	return openSite(cmd)
}

func writeData(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeCredentials(filepath.Join(dir, credentialsFile), "AKIALOCAL", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, addressFile), "http://127.0.0.1:4321\n", 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSite(t *testing.T) {
	const local = "http://127.0.0.1:4321"
	keys := []string{"AWS_ACCESS_KEY_ID=AKIAENV", "AWS_SECRET_ACCESS_KEY=s"}
	for _, test := range []struct {
		name   string
		data   bool // whether ./deferd-data is there
		env    []string
		flags  []string
		key    string
		region string
		urls   [4]string // of SageMaker, its runtime, S3 and IAM
	}{
		{"data directory", true, nil, nil, "AKIALOCAL", "us-east-1", [4]string{local, local, local, local}},
		{"data directory and region", true, nil, []string{"--region", "eu-west-1"}, "AKIALOCAL", "eu-west-1", [4]string{local, local, local, local}},
		{"variables before the data directory", true, append(keys, "AWS_ENDPOINT_URL=http://env:1/"), nil, "AKIAENV", "us-east-1",
			[4]string{"http://env:1", "http://env:1", "http://env:1", "http://env:1"}},
		{"--data before variables", true, append(keys, "AWS_ENDPOINT_URL=http://env:1"), []string{"--data", "deferd-data"}, "AKIALOCAL", "us-east-1",
			[4]string{local, local, local, local}},
		{"variables of services", false, append(keys, "AWS_ENDPOINT_URL=http://env:1", "AWS_ENDPOINT_URL_SAGEMAKER=http://sm:2",
			"AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME=http://rt:3", "AWS_ENDPOINT_URL_S3=http://s3:4"), nil, "AKIAENV", "us-east-1",
			[4]string{"http://sm:2", "http://rt:3", "http://s3:4", "http://env:1"}},
		{"--endpoint-url before all", true, append(keys, "AWS_ENDPOINT_URL_S3=http://s3:4"), []string{"--endpoint-url", "http://flag:5"}, "AKIAENV", "us-east-1",
			[4]string{"http://flag:5", "http://flag:5", "http://flag:5", "http://flag:5"}},
		{"AWS", false, append(keys, "AWS_REGION=eu-central-1"), nil, "AKIAENV", "eu-central-1", [4]string{
			"https://api.sagemaker.eu-central-1.amazonaws.com", "https://runtime.sagemaker.eu-central-1.amazonaws.com",
			"https://s3.eu-central-1.amazonaws.com", "https://iam.amazonaws.com"}},
		{"AWS with configured URLs ignored", false, append(keys, "AWS_REGION=cn-north-1", "AWS_ENDPOINT_URL=http://env:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"),
			nil, "AKIAENV", "cn-north-1", [4]string{
				"https://api.sagemaker.cn-north-1.amazonaws.com.cn", "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn",
				"https://s3.cn-north-1.amazonaws.com.cn", "https://iam.amazonaws.com.cn"}},
		{"profile", true, []string{"AWS_CONFIG_FILE=.aws/config"}, []string{"--profile", "lab"}, "AKIALAB", "us-west-2",
			[4]string{"http://lab:6", "http://lab:6", "http://labs3:7", "http://lab:6"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := clearAWS(t)
			if test.data {
				writeData(t, filepath.Join(home, "deferd-data"))
			}
			if err := os.MkdirAll(filepath.Join(home, ".aws"), 0o700); err != nil {
				t.Fatal(err)
			}
			profile := "[profile lab]\nregion = us-west-2\naws_access_key_id = AKIALAB\naws_secret_access_key = s\nendpoint_url = http://lab:6\nservices = lab\n[services lab]\ns3 =\n  endpoint_url = http://labs3:7\n"
			if err := os.WriteFile(filepath.Join(home, ".aws", "config"), []byte(profile), 0o600); err != nil {
				t.Fatal(err)
			}
			if len(test.env) > 0 { // AWS's files are found before HOME is changed here
				t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config"))
				t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "none"))
			}
			for _, e := range test.env {
				name, value, _ := strings.Cut(e, "=")
				t.Setenv(name, value)
			}
			s, err := siteOf(t, test.flags...)
			if err != nil {
				t.Fatal(err)
			}
			own, err := s.cfg.Credentials.Retrieve(t.Context())
			if err != nil || own.AccessKeyID != test.key || s.cfg.Region != test.region {
				t.Errorf("key %s, region %s, %v; want %s, %s", own.AccessKeyID, s.cfg.Region, err, test.key, test.region)
			}
			got := [4]string{s.url(sageMaker), s.url(sageMakerRuntime), s.url(objectStorage), s.url(accessKeys)}
			if got != test.urls {
				t.Errorf("URLs %q, want %q", got, test.urls)
			}
			aws := strings.Contains(test.urls[1], ".amazonaws.com")
			if (s.invocations() == nil) != aws || s.isAWS(objectStorage) != aws {
				t.Errorf("AWS is taken for ours, or the other way round")
			}
		})
	}
}

func TestOpenSiteWithNothing(t *testing.T) {
	home := clearAWS(t)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "none"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "none"))
	_, err := siteOf(t)
	if exitCode(err) != exitUsage || !strings.Contains(explain(err), "deferd env") {
		t.Errorf("without anything: %v", err)
	}
	t.Setenv("AWS_REGION", "us-east-1")
	_, err = siteOf(t)
	if exitCode(err) != exitUsage || !strings.Contains(explain(err), "no access key") {
		t.Errorf("without keys: %v", err)
	}
}

// A canned client gives its answers in order.
type canned struct {
	answers []string // status and body, with a space between them
	asked   []*http.Request
	bodies  []string
}

func (c *canned) Do(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	c.asked, c.bodies = append(c.asked, r), append(c.bodies, string(b))
	if len(c.answers) == 0 {
		return nil, &url.Error{Op: r.Method, URL: r.URL.String(), Err: errors.New("there are no more answers")}
	}
	status, body, _ := strings.Cut(c.answers[0], " ")
	c.answers = c.answers[1:]
	code := map[string]int{"200": 200, "400": 400, "503": 503}[status]
	return &http.Response{StatusCode: code, Status: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (c *canned) site() *site {
	return newSite(aws.Config{
		Region: "us-east-1", BaseEndpoint: aws.String("http://server:1"), HTTPClient: c,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""),
	})
}

// A busy server is asked again, with pauses, and each time whole.
func TestCallTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &canned{answers: []string{"503 busy", `400 {"__type":"com.amazon#ThrottlingException","message":"slow down"}`, `200 {"Account":"1"}`}}
		begun := time.Now()
		var out struct{ Account string }
		if err := c.site().call(t.Context(), "DescribeSomething", object{"A": 1}, &out); err != nil || out.Account != "1" {
			t.Fatalf("%+v %v", out, err)
		}
		if got, want := time.Since(begun), 500*time.Millisecond; got != want {
			t.Errorf("it took %v, want %v", got, want)
		}
		for n, body := range c.bodies {
			if body != `{"A":1}` || c.asked[n].Header.Get("X-Amz-Target") != "SageMaker.DescribeSomething" ||
				!strings.Contains(c.asked[n].Header.Get("Authorization"), "/us-east-1/sagemaker/aws4_request") {
				t.Errorf("request %d: %s %v", n, body, c.asked[n].Header)
			}
		}
	})
}

func TestCallGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &canned{answers: []string{"503 ", "503 ", "503 ", "503 ", "200 {}"}}
		err := c.site().call(t.Context(), "DescribeSomething", object{}, nil)
		if exitCode(err) != exitUnavailable || len(c.bodies) != tries {
			t.Errorf("after %d requests: %v", len(c.bodies), err)
		}
	})
}

func TestQueryErrors(t *testing.T) {
	c := &canned{answers: []string{`400 <ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>none</Message></Error></ErrorResponse>`}}
	err := c.site().query(t.Context(), accessKeys, iamVersion, "DeleteAccessKey", url.Values{"AccessKeyId": {"a+b"}}, nil)
	if exitCode(err) != exitNotFound || explain(err) != "DeleteAccessKey: none" {
		t.Errorf("got %v", err)
	}
	if want := "AccessKeyId=a%2Bb&Action=DeleteAccessKey&Version=2010-05-08"; c.bodies[0] != want {
		t.Errorf("body %s, want %s", c.bodies[0], want)
	}
	if a := c.asked[0].Header.Get("Authorization"); !strings.Contains(a, "/iam/aws4_request") {
		t.Errorf("authorization %q is not for IAM", a)
	}
}

func TestTolerance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var while tolerance
		network := &url.Error{Op: "Get", URL: "http://x", Err: errors.New("reset")}
		if !while.bears(t.Context(), network) {
			t.Error("the first failure is not borne")
		}
		time.Sleep(tolerated - time.Second)
		if !while.bears(t.Context(), network) {
			t.Error("a failure within the time is not borne")
		}
		time.Sleep(time.Second)
		if while.bears(t.Context(), network) {
			t.Error("failures are borne for ever")
		}
		if while.bears(t.Context(), nil); !while.bears(t.Context(), &apiError{status: 503}) {
			t.Error("an answer does not end the while")
		}
		if while.bears(t.Context(), &apiError{status: 403}) {
			t.Error("a denial is borne")
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if while.bears(ctx, network) {
			t.Error("an interrupt is borne")
		}
	})
}

func TestSplitLocation(t *testing.T) {
	for location, want := range map[string][2]string{
		"s3://b": {"b", ""}, "s3://b/": {"b", ""}, "s3://b/k/l": {"b", "k/l"}, "s3://b/k?x=%20": {"b", "k?x=%20"},
	} {
		bucket, key, err := splitLocation(location)
		if err != nil || bucket != want[0] || key != want[1] {
			t.Errorf("%s: %q %q %v", location, bucket, key, err)
		}
	}
	for _, bad := range []string{"", "b/k", "s3://", "s3:///k", "https://b/k"} {
		if _, _, err := splitLocation(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
