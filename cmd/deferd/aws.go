package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	runtime "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/smithy-go/logging"
	"github.com/deferd/deferd/client"
	"github.com/spf13/cobra"
)

// A site is where the client's verbs act, and as whom: a server of ours, or
// AWS.
type site struct {
	cfg  aws.Config
	data string // the data directory whose key is used; "" where AWS's configuration says all
	one  string // the URL of all services, as --endpoint-url gives it
}

// A service is one of AWS's, as its SDK calls it.
type service struct{ id, scope, host string }

var (
	sageMaker        = service{"SageMaker", "sagemaker", "api.sagemaker"}
	sageMakerRuntime = service{"SageMaker Runtime", "sagemaker", "runtime.sagemaker"}
	objectStorage    = service{"S3", "s3", "s3"}
	identity         = service{"STS", "sts", "sts"}
	cloudWatchLogs   = service{"CloudWatch Logs", "logs", "logs"}
	cloudWatch       = service{"CloudWatch", "monitoring", "monitoring"}
	accessKeys       = service{"IAM", "iam", ""} // one for all regions
)

// addSiteFlags gives a command the flags that say where it acts.
func addSiteFlags(cmd *cobra.Command) {
	cmd.Flags().String("endpoint-url", "", "URL of the server; or AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>")
	cmd.Flags().String("profile", "", "profile of AWS's configuration; or AWS_PROFILE")
	cmd.Flags().String("region", "", "region; or AWS_REGION")
	cmd.Flags().String("data", "", "data directory of a server on this machine, whose key is used (./deferd-data where nothing else is said)")
}

// chosen are the variables with which AWS's clients are told where to act, and
// as whom. Where one is set, no data directory has a say.
var chosen = []string{
	"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME", "AWS_ENDPOINT_URL_S3",
	"AWS_ENDPOINT_URL_CLOUDWATCH", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", "AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING",
	"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
	"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
}

// openSite finds out where a command acts: on the server of a data directory if
// --data names one, else where AWS's flags and variables say, else on the
// server whose data directory is here, else where AWS's files say.
func openSite(cmd *cobra.Command) (*site, error) {
	given := func(flag string) string {
		value, _ := cmd.Flags().GetString(flag)
		return value
	}
	local := given("data") != ""
	if !local && given("endpoint-url") == "" && given("profile") == "" && !anySet(chosen) {
		settings, err := readSettings(cmd)
		if err != nil {
			return nil, usagef("%v", err)
		}
		_, err = os.Stat(filepath.Join(settings.Data, credentialsFile))
		local = err == nil
	}
	if local {
		return localSite(cmd)
	}
	cfg, err := config.LoadDefaultConfig(cmd.Context(),
		config.WithRegion(given("region")), config.WithSharedConfigProfile(given("profile")), config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, usagef("read the AWS configuration: %v", err)
	}
	s := &site{cfg: cfg, one: strings.TrimRight(given("endpoint-url"), "/")}
	if s.cfg.Region == "" && !s.isAWS(sageMaker) {
		s.cfg.Region = defaultRegion
	}
	if s.cfg.Region == "" {
		return nil, usagef("nothing says where to act: run this where `deferd serve` keeps its data, eval \"$(deferd env)\", or set AWS_REGION and AWS_PROFILE")
	}
	if _, err := cfg.Credentials.Retrieve(cmd.Context()); err != nil {
		if cmd.Context().Err() != nil {
			return nil, context.Cause(cmd.Context())
		}
		return nil, usagef("no access key was found: run this where `deferd serve` keeps its data, eval \"$(deferd env)\", or set AWS_PROFILE (%v)", rootCause(err))
	}
	return s, nil
}

// localSite is the server of a data directory on this machine.
func localSite(cmd *cobra.Command) (*site, error) {
	settings, err := readSettings(cmd)
	if err != nil {
		return nil, usagef("%v", err)
	}
	vars, err := environment(settings)
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for _, v := range vars {
		env[v.name] = v.value
	}
	trusting, err := trustingClient(os.Getenv("AWS_CA_BUNDLE"))
	if err != nil {
		return nil, usagef("AWS_CA_BUNDLE: %v", err)
	}
	return &site{data: settings.Data, cfg: aws.Config{
		BaseEndpoint: aws.String(env["AWS_ENDPOINT_URL"]),
		Region:       env["AWS_REGION"],
		Credentials:  credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], ""),
		HTTPClient:   trusting,
	}}, nil
}

// trustingClient trusts the certificates in a file, and the system's own where
// none is named.
func trustingClient(file string) (aws.HTTPClient, error) {
	c := awshttp.NewBuildableClient()
	if file == "" {
		return c, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificates", file)
	}
	return c.WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}), nil
}

func anySet(variables []string) bool {
	for _, v := range variables {
		if os.Getenv(v) != "" {
			return true
		}
	}
	return false
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// configured is the URL that a service was given; "" for AWS's own. As in AWS's
// SDKs, variables come before files, and in each what names the service comes
// before what does not.
func (s *site) configured(of service) string {
	if s.one != "" {
		return s.one
	}
	ctx := context.Background() // nothing is asked for
	for _, source := range s.cfg.ConfigSources {
		if p, ok := source.(config.IgnoreConfiguredEndpointsProvider); ok {
			if ignore, found, err := p.GetIgnoreConfiguredEndpoints(ctx); err == nil && found && ignore {
				return ""
			}
		}
	}
	for _, source := range s.cfg.ConfigSources {
		p, ok := source.(interface {
			GetServiceBaseEndpoint(context.Context, string) (string, bool, error)
		})
		if ok {
			if own, found, err := p.GetServiceBaseEndpoint(ctx, of.id); err == nil && found {
				return strings.TrimRight(own, "/")
			}
		}
		if env, ok := source.(config.EnvConfig); ok && env.BaseEndpoint != "" {
			break
		}
	}
	return strings.TrimRight(aws.ToString(s.cfg.BaseEndpoint), "/")
}

// isAWS reports whether a service is AWS's own.
func (s *site) isAWS(of service) bool {
	own := s.configured(of)
	if own == "" {
		return true
	}
	u, err := url.Parse(own)
	return err == nil && (strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn"))
}

// url is where a service is.
func (s *site) url(of service) string {
	if own := s.configured(of); own != "" {
		return own
	}
	domain := ".amazonaws.com"
	if strings.HasPrefix(s.cfg.Region, "cn-") {
		domain += ".cn"
	}
	if of == accessKeys {
		return "https://iam" + domain
	}
	return "https://" + of.host + "." + s.cfg.Region + domain
}

// signingRegion is the one that a service's signatures name.
func (s *site) signingRegion(of service) string {
	if of == accessKeys && s.isAWS(of) {
		return defaultRegion
	}
	return s.cfg.Region
}

// retryer tries again as AWS's clients do, but not where nobody listens: a
// person would wait for nothing.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		refused := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if errors.Is(err, syscall.ECONNREFUSED) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{refused}, o.Retryables...)
	})
}

func (s *site) objects() *objects {
	return &objects{s3.NewFromConfig(s.cfg, func(o *s3.Options) {
		o.Retryer = retryer()
		if own := s.configured(objectStorage); own != "" {
			o.BaseEndpoint, o.UsePathStyle = &own, !s.isAWS(objectStorage)
		}
	})}
}

func (s *site) runtime() *runtime.Client {
	return runtime.NewFromConfig(s.cfg, func(o *runtime.Options) {
		o.Retryer = retryer()
		if own := s.configured(sageMakerRuntime); own != "" {
			o.BaseEndpoint = &own
		}
	})
}

// invocations asks where invocations stand, which AWS cannot say; nil there.
func (s *site) invocations() *client.Client {
	if s.isAWS(sageMakerRuntime) {
		return nil
	}
	return client.New(client.Config{
		Endpoint: s.url(sageMakerRuntime), Region: s.cfg.Region, Credentials: s.cfg.Credentials,
		HTTPClient: &http.Client{Transport: transport{s.http()}},
	})
}

// http sends requests as the SDK's clients do, with the same certificates.
func (s *site) http() aws.HTTPClient {
	if s.cfg.HTTPClient == nil {
		return http.DefaultClient
	}
	return s.cfg.HTTPClient
}

// A transport is a client of the SDK where one of the standard library is asked
// for.
type transport struct{ client aws.HTTPClient }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t.client.Do(r) }

// account is whose things these are.
func (s *site) account(ctx context.Context) (string, error) {
	var who struct {
		Account string `xml:"GetCallerIdentityResult>Account"`
	}
	if err := s.query(ctx, identity, "2011-06-15", "GetCallerIdentity", nil, &who); err != nil {
		return "", err
	}
	return who.Account, nil
}

// A backoff is how long to wait between looks at something elsewhere: short at
// first, then longer.
type backoff struct{ next, most time.Duration }

func newBackoff() backoff { return backoff{50 * time.Millisecond, 2 * time.Second} }

// wait pauses until the next look.
func (b *backoff) wait(ctx context.Context) error {
	t := time.NewTimer(b.next)
	defer t.Stop()
	b.next = min(b.next*3/2, b.most)
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A tolerance bears with a server that does not answer for a while, such as one
// that is being restarted: what it has accepted is not lost.
type tolerance struct{ since time.Time }

const tolerated = time.Minute

// bears reports whether an error may pass by itself. Nil is the end of a while.
func (t *tolerance) bears(ctx context.Context, err error) bool {
	if err == nil {
		t.since = time.Time{}
		return false
	}
	e, refused := asAPIError(err)
	if ctx.Err() != nil || refused && !e.passing() || !refused && !isNetwork(err) {
		return false
	}
	if t.since.IsZero() {
		t.since = time.Now()
	}
	return time.Since(t.since) < tolerated
}

// splitLocation reads s3://bucket/key; the key may be empty.
func splitLocation(location string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(location, "s3://")
	if bucket, key, _ = strings.Cut(rest, "/"); !ok || bucket == "" {
		return "", "", fmt.Errorf("%q is no location such as s3://bucket/key", location)
	}
	return bucket, key, nil
}

func isLocation(text string) bool { return strings.HasPrefix(text, "s3://") }
