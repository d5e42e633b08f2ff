package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

const (
	sessionID   = "ASIAMADE000000000001"
	sessionRole = "arn:aws:iam::" + account + ":role/service-role/Some.Role"
)

// openSessions starts a server that makes the keys of one session.
func openSessions(t *testing.T) *site {
	t.Helper()
	return open(t, func(c *Config) {
		c.Keys.Session = func(a deferd.AccountID, arn string) (deferd.AccessKey, string) {
			return deferd.AccessKey{ID: sessionID, Account: a, ARN: arn, Sealed: []byte("sealed"), Token: "the token", Created: time.Unix(1700000000, 5)}, "the secret"
		}
	})
}

func (s *site) assume(members ...string) answer {
	s.t.Helper()
	in := url.Values{"Action": {"AssumeRole"}, "Version": {"2011-06-15"}, "RoleArn": {sessionRole}, "RoleSessionName": {"me@work"}}
	for i := 0; i < len(members); i += 2 {
		in.Set(members[i], members[i+1])
	}
	return s.send("sts", "POST", "/", in.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func TestAssumeRole(t *testing.T) {
	s := openSessions(t)
	const arn = "arn:aws:sts::" + account + ":assumed-role/Some.Role/me@work"
	s.assume("DurationSeconds", "900", "ExternalId", "anything").check(t, 200, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>`+
		`<Credentials><AccessKeyId>`+sessionID+`</AccessKeyId><SecretAccessKey>the secret</SecretAccessKey><SessionToken>the token</SessionToken>`+
		`<Expiration>2023-11-14T22:28:20Z</Expiration></Credentials><AssumedRoleUser><AssumedRoleId>`+roleID(account, "Some.Role")+`:me@work</AssumedRoleId><Arn>`+arn+
		`</Arn></AssumedRoleUser></AssumeRoleResult><ResponseMetadata><RequestId><uuid></RequestId></ResponseMetadata></AssumeRoleResponse>`)
	k, err := s.store.Key(t.Context(), sessionID)
	if err != nil {
		t.Fatal(err)
	}
	if k.ARN != arn || k.Token != "the token" || k.Service != "" || !k.Expires.Equal(time.Unix(1700000900, 0)) {
		t.Errorf("the key is %+v", k)
	}
	if got, want := s.asked[len(s.asked)-1], "sts:AssumeRole "+sessionRole; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	if log := s.log.String(); strings.Contains(log, "the secret") || strings.Contains(log, "the token") {
		t.Error("the log has the secret or the token")
	}
}

func TestAssumeRoleLastsAnHour(t *testing.T) {
	s := openSessions(t)
	var out struct {
		Expiration string `xml:"AssumeRoleResult>Credentials>Expiration"`
	}
	if err := xml.Unmarshal([]byte(s.assume().body), &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.Expiration, "2023-11-14T23:13:20Z"; got != want {
		t.Errorf("the session expires %s, want %s", got, want)
	}
}

func TestAssumeRoleRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		members []string
		status  int
		code    string
		msg     string // part of it
	}{
		{"another account's role", []string{"RoleArn", "arn:aws:iam::999999999999:role/r"}, 403, "AccessDenied", "sts:AssumeRole on resource: arn:aws:iam::999999999999:role/r"},
		{"a user", []string{"RoleArn", tester}, 400, "ValidationError", "Request ARN is invalid"},
		{"no role", []string{"RoleArn", "arn:aws:iam::" + account + ":role/"}, 400, "ValidationError", "Request ARN is invalid"},
		{"a bad session name", []string{"RoleSessionName", "me/you"}, 400, "ValidationError", "roleSessionName"},
		{"a short session", []string{"DurationSeconds", "899"}, 400, "ValidationError", "greater than or equal to 900"},
		{"a long session", []string{"DurationSeconds", "43201"}, 400, "ValidationError", "less than or equal to 43200"},
		{"a policy", []string{"Policy", "{}"}, 400, "ValidationError", "Policy is not supported here."},
		{"policies", []string{"PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/ReadOnly"}, 400, "ValidationError", "PolicyArns is not supported here."},
		{"tags", []string{"Tags.member.1.Key", "a", "Tags.member.1.Value", "b"}, 400, "ValidationError", "Tags is not supported here."},
		{"a second factor", []string{"SerialNumber", "arn:aws:iam::1:mfa/x", "TokenCode", "123456"}, 400, "ValidationError", "SerialNumber is not supported here."},
		{"a source identity", []string{"SourceIdentity", "alice"}, 400, "ValidationError", "SourceIdentity is not supported here."},
		{"contexts", []string{"ProvidedContexts.member.1.ProviderArn", "arn:aws:iam::aws:contextProvider/x"}, 400, "ValidationError", "ProvidedContexts is not supported here."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := openSessions(t)
			a := s.assume(tt.members...)
			if a.status != tt.status || !strings.Contains(a.body, "<Code>"+tt.code+"</Code>") || !strings.Contains(a.body, tt.msg) {
				t.Errorf("%d %s, want %d %s: …%s…", a.status, a.body, tt.status, tt.code, tt.msg)
			}
			if _, err := s.store.Key(t.Context(), sessionID); deferd.CodeOf(err) != deferd.NotFound {
				t.Errorf("there are keys: %v", err)
			}
		})
	}
	t.Run("not authorized", func(t *testing.T) {
		s := openSessions(t)
		s.refusing = "sts:AssumeRole"
		if a := s.assume(); a.status != http.StatusForbidden {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// What a session knows of itself, and how long a session of its own may last.
func TestSessionOfASession(t *testing.T) {
	s := openSessions(t)
	s.caller = "arn:aws:sts::" + account + ":assumed-role/First/me"
	a := s.send("sts", "POST", "/", "Action=GetCallerIdentity", "Content-Type", "application/x-www-form-urlencoded")
	if want := `<Arn>` + s.caller + `</Arn><UserId>` + roleID(account, "First") + `:me</UserId>`; !strings.Contains(a.body, want) {
		t.Errorf("got %s, want %s", a.body, want)
	}
	if a := s.assume("DurationSeconds", "3600"); a.status != http.StatusOK {
		t.Errorf("an hour: %d %s", a.status, a.body)
	}
	if a := s.assume("DurationSeconds", "3601"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "role chaining") {
		t.Errorf("more than an hour: %d %s", a.status, a.body)
	}
}
