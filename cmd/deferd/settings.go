package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// Settings are all that can be set: by a key in the file, by DEFERD_… in the
// environment, by a flag, each winning over the one before. The comment of a
// field says what goes wrong at its extremes; its usage ends with its default.
type Settings struct {
	// Data is where everything is kept. Two servers cannot share it.
	Data string `yaml:"data" usage:"directory for everything that is kept (./deferd-data)"`
	// Listen is where all AWS services are. Port 0 takes a free one.
	Listen string `yaml:"listen" usage:"address for all AWS services (127.0.0.1:8780)"`
	// Console must not be reachable by strangers: metrics name endpoints.
	Console string `yaml:"console" usage:"address for health and metrics (127.0.0.1:8781)"`
	// ConsolePasswordFile is needed where Console is not on loopback.
	ConsolePasswordFile string `yaml:"console-password-file" usage:"file with the password for the console's user \"deferd\"; needed beyond loopback"`
	Store               string `yaml:"store" usage:"queue and registry: sqlite:FILE (sqlite:DATA/deferd.db)"`
	// S3 other than embedded takes its keys from DEFERD_S3_…, or where the
	// AWS SDK finds them.
	S3      string `yaml:"s3" usage:"object store: embedded, or the URL of an S3 (embedded)"`
	Runtime string `yaml:"runtime" usage:"how model instances run: process (process)"`
	Images  string `yaml:"images" usage:"the images that the process runtime may run (DATA/images.yaml)"`
	// Region, once given, is the only one whose signatures are taken.
	Region  string `yaml:"region" usage:"region in ARNs; signatures of any region are taken unless given (us-east-1)"`
	Account string `yaml:"account" usage:"account in ARNs, 12 digits (000000000000)"`
	// PublicHost is what clients call the server; <bucket>.NAME is then a
	// bucket. Where a proxy in front replaces the Host header, signatures for
	// these names are taken, so the port belongs to it unless it is the
	// scheme's own.
	PublicHost []string `yaml:"public-host" usage:"NAME or NAME:PORT that clients call the server by; repeatable (localhost always)"`
	// PublicURL is in the links of messages that the embedded SNS sends: wrong,
	// and nobody can confirm a subscription.
	PublicURL string `yaml:"public-url" usage:"base URL by which receivers of notifications reach the server (the first PUBLIC-HOST, or LISTEN)"`
	// SNS other than embedded takes its keys from DEFERD_SNS_…, or where the
	// AWS SDK finds them.
	SNS string `yaml:"sns" usage:"topics: embedded, or the URL of an SNS (embedded)"`
	// EgressAllow: each network in it can be reached by whoever may subscribe
	// to a topic or create an endpoint.
	EgressAllow []string `yaml:"egress-allow" usage:"HOST, ADDRESS or NETWORK that notifications may be sent to beyond public addresses; repeatable (loopback if LISTEN is on it)"`
	// WebhookSecrets sign webhooks, each of them; receivers need to know one.
	WebhookSecrets []string `yaml:"webhook-secrets" secret:"true" usage:"secrets that sign webhooks, whsec_…; only in the file or the environment"`
	TLSCert        string   `yaml:"tls-cert" usage:"certificate file; turns TLS on"`
	TLSKey         string   `yaml:"tls-key" usage:"key file of the certificate"`
	// StopLimit: too short, and work is run again after a restart that would
	// have ended; too long, and a supervisor kills the server first.
	StopLimit time.Duration `yaml:"stop-limit" usage:"how long running invocations may finish after SIGTERM (30s)"`
	// History: the longer, the larger the store's file.
	History time.Duration `yaml:"history" usage:"how long ended invocations are kept (168h)"`
	// ClockSkew: the wider, the longer a stolen request can be repeated.
	ClockSkew time.Duration `yaml:"clock-skew" usage:"how far a signature's time may be off; 0 for AWS's limits (0s)"`
	// MaxTimeout and MaxTTL raise the API's maxima.
	MaxTimeout time.Duration `yaml:"max-timeout" usage:"largest InvocationTimeoutSeconds (1h)"`
	MaxTTL     time.Duration `yaml:"max-ttl" usage:"largest RequestTTLSeconds (6h)"`
	// MaxInstances: more than the machine can run starts processes until it
	// cannot, and an endpoint that wishes for them cannot be called back.
	MaxInstances int `yaml:"max-instances" usage:"largest number of instances of a variant (100)"`
	// ScalingPeriod: the shorter, the sooner instances are added, and taken
	// away from work that only pauses.
	ScalingPeriod       time.Duration `yaml:"scaling-period" usage:"how long a data point of autoscaling is; policies wait for 3 of them to scale out, for 15 to scale in (1m)"`
	InstanceCredentials bool          `yaml:"instance-credentials" usage:"give model instances keys for S3 of their own (true)"`
	LogFormat           string        `yaml:"log-format" usage:"of the server's log on standard error: text or json (text)"`
}

func defaultSettings() Settings {
	return Settings{
		Data: "./deferd-data", Listen: "127.0.0.1:8780", Console: "127.0.0.1:8781",
		S3: embedded, SNS: embedded, Runtime: "process", Account: "000000000000",
		StopLimit: 30 * time.Second, History: 7 * 24 * time.Hour,
		MaxTimeout: time.Hour, MaxTTL: 6 * time.Hour, MaxInstances: 100, ScalingPeriod: time.Minute,
		InstanceCredentials: true, LogFormat: "text",
	}
}

const (
	defaultRegion = "us-east-1"
	embedded      = "embedded" // of S3 and SNS: our own
)

// A field is one setting: its key, its usage, and where its value is. Secret
// ones have no flag, which everybody on the machine could read, and are not
// printed.
type field struct {
	key, usage string
	secret     bool
	value      reflect.Value
}

func (s *Settings) fields() []field {
	v := reflect.ValueOf(s).Elem()
	fields := make([]field, v.NumField())
	for i := range fields {
		tag := v.Type().Field(i).Tag
		fields[i] = field{tag.Get("yaml"), tag.Get("usage"), tag.Get("secret") == "true", v.Field(i)}
	}
	return fields
}

func (f field) variable() string {
	return "DEFERD_" + strings.ToUpper(strings.ReplaceAll(f.key, "-", "_"))
}

// set reads a value as flags and variables write it.
func (f field) set(text string) error {
	switch v := f.value.Addr().Interface().(type) {
	case *string:
		*v = text
	case *[]string:
		*v = strings.Split(text, ",")
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		*v = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not a number", text)
		}
		*v = n
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration such as 30s", text)
		}
		*v = d
	default:
		return fmt.Errorf("a %T cannot be set", v)
	}
	return nil
}

// addFlags gives a command a flag for each setting.
func addFlags(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "file with these settings, as YAML; or DEFERD_CONFIG")
	var defaults Settings
	for _, f := range defaults.fields() {
		if f.secret {
			continue
		}
		switch f.value.Interface().(type) {
		case []string:
			cmd.Flags().StringSlice(f.key, nil, f.usage)
		case bool:
			cmd.Flags().String(f.key, "", f.usage)
			cmd.Flags().Lookup(f.key).NoOptDefVal = "true"
		default:
			cmd.Flags().String(f.key, "", f.usage)
		}
	}
}

// readSettings puts a command's settings together and validates them whole.
func readSettings(cmd *cobra.Command) (Settings, error) {
	s := defaultSettings()
	path, _ := cmd.Flags().GetString("config")
	if path == "" {
		path = os.Getenv("DEFERD_CONFIG")
	}
	if path != "" {
		if err := s.readFile(path); err != nil {
			return s, fmt.Errorf("configuration file %s: %w", path, err)
		}
	}
	for _, f := range s.fields() {
		if text, ok := os.LookupEnv(f.variable()); ok {
			if err := f.set(text); err != nil {
				return s, fmt.Errorf("%s: %w", f.variable(), err)
			}
		}
		flag := cmd.Flags().Lookup(f.key)
		if flag == nil || !flag.Changed {
			continue
		}
		text := strings.Trim(flag.Value.String(), "[]")
		if flag.Value.Type() == "string" {
			text = flag.Value.String()
		}
		if err := f.set(text); err != nil {
			return s, fmt.Errorf("--%s: %w", f.key, err)
		}
	}
	return s, s.validate()
}

func (s *Settings) readFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(s)
	if errors.Is(err, io.EOF) {
		return nil // an empty file says nothing
	}
	return err
}

var (
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	hostPattern    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)
	regionPattern  = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// validate refuses what cannot work before anything starts, and fills in what
// depends on other settings.
func (s *Settings) validate() error {
	if s.Store == "" {
		s.Store = "sqlite:" + filepath.Join(s.Data, "deferd.db")
	}
	if s.Images == "" {
		s.Images = filepath.Join(s.Data, "images.yaml")
	}
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !accountPattern.MatchString(s.Account) {
		refuse("account %q does not have 12 digits", s.Account)
	}
	if s.Region != "" && !regionPattern.MatchString(s.Region) {
		refuse("region %q is not a name such as us-east-1", s.Region)
	}
	for _, h := range s.PublicHost {
		if !hostPattern.MatchString(h) {
			refuse("public-host %q is not a host name, or one with its port", h)
		}
	}
	if strings.HasPrefix(s.Store, "postgres:") || strings.HasPrefix(s.Store, "postgresql:") {
		refuse("store %q: this version keeps its queue in SQLite only", s.Store)
	} else if !strings.HasPrefix(s.Store, "sqlite:") {
		refuse("store %q is not sqlite:FILE", s.Store)
	}
	if s.S3 != embedded && !isURL(s.S3) {
		refuse("s3 %q is neither embedded nor a URL", s.S3)
	}
	if s.SNS != embedded && !isURL(s.SNS) {
		refuse("sns %q is neither embedded nor a URL", s.SNS)
	}
	if s.PublicURL != "" && !isURL(s.PublicURL) {
		refuse("public-url %q is no URL", s.PublicURL)
	}
	if s.Runtime != "process" {
		refuse("runtime %q: this version runs models as processes only", s.Runtime)
	}
	if (s.TLSCert == "") != (s.TLSKey == "") {
		refuse("tls-cert and tls-key go together")
	}
	if s.LogFormat != "text" && s.LogFormat != "json" {
		refuse("log-format %q is neither text nor json", s.LogFormat)
	}
	if s.MaxTimeout < time.Second || s.MaxTTL < time.Minute || s.StopLimit < 0 || s.History < 0 || s.ClockSkew < 0 {
		refuse("a time limit is too small: max-timeout %v, max-ttl %v, stop-limit %v, history %v, clock-skew %v",
			s.MaxTimeout, s.MaxTTL, s.StopLimit, s.History, s.ClockSkew)
	}
	if s.ScalingPeriod < 100*time.Millisecond {
		refuse("scaling-period %v is less than 100ms", s.ScalingPeriod)
	}
	if s.MaxInstances < 1 {
		refuse("max-instances %d is less than 1", s.MaxInstances)
	}
	for _, a := range []string{s.Listen, s.Console} {
		if _, _, err := net.SplitHostPort(a); err != nil {
			refuse("address %q is not host:port", a)
		}
	}
	if s.ConsolePasswordFile == "" && !isLoopback(s.Console) {
		refuse("console %s is not on loopback: that needs console-password-file", s.Console)
	}
	return errors.Join(errs...)
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// region is the one that ARNs name.
func (s *Settings) region() string {
	if s.Region == "" {
		return defaultRegion
	}
	return s.Region
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the configuration that is in effect",
		Example: `  deferd config
  DEFERD_LISTEN=0.0.0.0:8780 deferd config --config deferd.yaml`,
		Args: arguments(cobra.NoArgs),
	}
	format := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := readSettings(cmd)
		if err != nil {
			return usagef("%v", err)
		}
		for _, f := range s.fields() {
			if f.secret {
				f.value.SetZero()
			}
		}
		b, err := yaml.Marshal(s)
		if err == nil && *format == jsonFormat {
			b, err = yaml.YAMLToJSON(b)
		}
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(b)
		return err
	}
	addFlags(cmd)
	return cmd
}
