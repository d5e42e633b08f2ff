package awsapi

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/deferd/deferd"
)

const tester = "arn:aws:iam::" + account + ":user/tester"

// A keySite is a site whose access keys are numbered.
type keySite struct {
	*site
	forgotten []string
}

// openKeys starts a server whose store has the caller's own key.
func openKeys(t *testing.T) *keySite {
	t.Helper()
	k := &keySite{}
	made := 0
	k.site = open(t, func(c *Config) {
		c.Keys = AccessKeys{
			Mint: func(a deferd.AccountID, arn string) (deferd.AccessKey, string) {
				made++
				id := "AKIAMADE" + strings.Repeat("0", 11) + string(rune('0'+made))
				return deferd.AccessKey{ID: id, Account: a, ARN: arn, Sealed: []byte("sealed"), Created: time.Unix(1700000000, 0)}, "the secret"
			},
			Forget: func(id string) { k.forgotten = append(k.forgotten, id) },
		}
	})
	k.put(deferd.AccessKey{ID: keyID, ARN: tester})
	return k
}

func (k *keySite) put(key deferd.AccessKey) {
	k.t.Helper()
	key.Account, key.Sealed, key.Created = account, []byte("sealed"), time.Unix(1600000000, 0)
	if err := k.store.PutKey(k.t.Context(), key); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keySite) iam(query string) answer {
	k.t.Helper()
	return k.send("iam", "POST", "/", query+"&Version=2010-05-08", "Content-Type", "application/x-www-form-urlencoded")
}

const (
	iamSpace = ` xmlns="https://iam.amazonaws.com/doc/2010-05-08/">`
	iamEnd   = `<ResponseMetadata><RequestId><uuid></RequestId></ResponseMetadata></`
	made1    = "AKIAMADE000000000001"
)

func TestLifeOfAnAccessKey(t *testing.T) {
	k := openKeys(t)
	k.iam("Action=GetUser").check(t, 200, `<GetUserResponse`+iamSpace+`<GetUserResult><User><Path>/</Path><UserName>tester</UserName><UserId>`+account+
		`</UserId><Arn>`+tester+`</Arn><CreateDate>2020-09-13T12:26:40Z</CreateDate></User></GetUserResult>`+iamEnd+`GetUserResponse>`)
	k.iam("Action=CreateAccessKey").check(t, 200, `<CreateAccessKeyResponse`+iamSpace+`<CreateAccessKeyResult><AccessKey><UserName>tester</UserName><AccessKeyId>`+made1+
		`</AccessKeyId><Status>Active</Status><SecretAccessKey>the secret</SecretAccessKey><CreateDate>2023-11-14T22:13:20Z</CreateDate></AccessKey></CreateAccessKeyResult>`+iamEnd+`CreateAccessKeyResponse>`)
	k.iam("Action=ListAccessKeys&UserName=tester").check(t, 200, `<ListAccessKeysResponse`+iamSpace+`<ListAccessKeysResult><AccessKeyMetadata>`+
		`<member><UserName>tester</UserName><AccessKeyId>`+keyID+`</AccessKeyId><Status>Active</Status><CreateDate>2020-09-13T12:26:40Z</CreateDate></member>`+
		`<member><UserName>tester</UserName><AccessKeyId>`+made1+`</AccessKeyId><Status>Active</Status><CreateDate>2023-11-14T22:13:20Z</CreateDate></member>`+
		`</AccessKeyMetadata><IsTruncated>false</IsTruncated></ListAccessKeysResult>`+iamEnd+`ListAccessKeysResponse>`)
	k.iam("Action=DeleteAccessKey&AccessKeyId="+made1).check(t, 200, `<DeleteAccessKeyResponse`+iamSpace+iamEnd+`DeleteAccessKeyResponse>`)
	if got, want := strings.Join(k.forgotten, " "), made1; got != want {
		t.Errorf("forgotten %q, want %q", got, want)
	}
	if strings.Contains(k.log.String(), "the secret") {
		t.Error("the log has the secret")
	}
	k.iam("Action=DeleteAccessKey&AccessKeyId="+keyID).check(t, 409, iamError("DeleteConflict", "The last access key of the account cannot be deleted: nobody could make another."))
	if _, err := k.store.Key(t.Context(), keyID); err != nil {
		t.Errorf("the last key has gone: %v", err)
	}
}

func iamError(code, msg string) string {
	return `<ErrorResponse><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + msg + `</Message></Error><RequestId><uuid></RequestId></ErrorResponse>`
}

func TestListAccessKeysPages(t *testing.T) {
	k := openKeys(t)
	k.put(deferd.AccessKey{ID: "AKIAOTHER00000000000", ARN: tester})
	k.put(deferd.AccessKey{ID: "AKIASOMEBODY00000000", ARN: "arn:aws:iam::" + account + ":root"})
	k.put(deferd.AccessKey{ID: "ASIAINSTANCE00000000", ARN: tester, Token: "t", Service: "s3"})
	k.put(deferd.AccessKey{ID: "ASIASESSION000000000", ARN: tester, Token: "t"})
	var got []string
	marker := ""
	for range 5 {
		a := k.iam("Action=ListAccessKeys&MaxItems=1" + marker)
		var page struct {
			Result struct {
				IDs         []string `xml:"AccessKeyMetadata>member>AccessKeyId"`
				IsTruncated bool
				Marker      string
			} `xml:"ListAccessKeysResult"`
		}
		if err := xml.Unmarshal([]byte(a.body), &page); err != nil {
			t.Fatal(err)
		}
		got = append(got, page.Result.IDs...)
		if !page.Result.IsTruncated {
			break
		}
		marker = "&Marker=" + url.QueryEscape(page.Result.Marker)
	}
	if want := []string{keyID, "AKIAOTHER00000000000"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestIAMErrors(t *testing.T) {
	k := openKeys(t)
	k.put(deferd.AccessKey{ID: "AKIASOMEBODY00000000", ARN: "arn:aws:iam::" + account + ":root"})
	k.put(deferd.AccessKey{ID: "ASIASESSION000000000", ARN: tester, Token: "t"})
	for _, tt := range []struct {
		name, query string
		status      int
		code, msg   string
	}{
		{"operation", "Action=CreateUser&UserName=x", 400, "InvalidAction", "Could not find operation CreateUser for version 2010-05-08"},
		{"user", "Action=CreateAccessKey&UserName=nobody", 404, "NoSuchEntity", "The user with name nobody cannot be found."},
		{"key", "Action=DeleteAccessKey&AccessKeyId=AKIANOBODY0000000000", 404, "NoSuchEntity", "The Access Key with id AKIANOBODY0000000000 cannot be found."},
		{"key of another user", "Action=DeleteAccessKey&AccessKeyId=AKIASOMEBODY00000000", 404, "NoSuchEntity", "The Access Key with id AKIASOMEBODY00000000 cannot be found."},
		{"key of a session", "Action=DeleteAccessKey&AccessKeyId=ASIASESSION000000000", 404, "NoSuchEntity", "The Access Key with id ASIASESSION000000000 cannot be found."},
		{"no key", "Action=DeleteAccessKey", 400, "ValidationError", "1 validation error detected: Value null at &#39;accessKeyId&#39; failed to satisfy constraint: Member must not be null"},
		{"short key", "Action=DeleteAccessKey&AccessKeyId=%2B", 400, "ValidationError", "2 validation errors detected: " +
			"Value &#39;+&#39; at &#39;accessKeyId&#39; failed to satisfy constraint: Member must have length greater than or equal to 16; " +
			"Value &#39;+&#39; at &#39;accessKeyId&#39; failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w]+"},
		{"page size", "Action=ListAccessKeys&MaxItems=0", 400, "ValidationError", "1 validation error detected: Value &#39;0&#39; at &#39;maxItems&#39; failed to satisfy constraint: Member must have value greater than or equal to 1"},
	} {
		t.Run(tt.name, func(t *testing.T) { k.iam(tt.query).check(t, tt.status, iamError(tt.code, tt.msg)) })
	}
	k.refusing = "iam:CreateAccessKey"
	k.iam("Action=CreateAccessKey").check(t, 403, iamError("AccessDenied", "User: "+tester+" is not authorized to perform: iam:CreateAccessKey on resource: "+tester))
}

// Credentials that end may not make ones that last.
func TestSessionsHaveNoIAM(t *testing.T) {
	k := openKeys(t)
	k.put(deferd.AccessKey{ID: "AKIASOMEBODY00000000", ARN: tester})
	k.put(deferd.AccessKey{ID: keyID, ARN: tester, Token: "t"}) // what the caller has now
	for _, action := range []string{"CreateAccessKey", "ListAccessKeys", "DeleteAccessKey&AccessKeyId=AKIASOMEBODY00000000", "GetUser"} {
		if a := k.iam("Action=" + action); a.status != http.StatusForbidden || !strings.Contains(a.body, "<Code>AccessDenied</Code>") {
			t.Errorf("%s: %d %s", action, a.status, a.body)
		}
	}
}

func TestGetRole(t *testing.T) {
	k := openKeys(t)
	a := k.iam("Action=GetRole&RoleName=Some.Role")
	trust := "%7B%22Version%22:%222012-10-17%22%2C%22Statement%22:%5B%7B%22Effect%22:%22Allow%22%2C%22Principal%22:%7B%22AWS%22:%22arn:aws:iam::" + account +
		":root%22%2C%22Service%22:%22sagemaker.amazonaws.com%22%7D%2C%22Action%22:%22sts:AssumeRole%22%7D%5D%7D"
	a.check(t, 200, `<GetRoleResponse`+iamSpace+`<GetRoleResult><Role><Path>/</Path><RoleName>Some.Role</RoleName><RoleId>`+roleID(account, "Some.Role")+
		`</RoleId><Arn>arn:aws:iam::`+account+`:role/Some.Role</Arn><CreateDate>2020-09-13T12:26:40Z</CreateDate><AssumeRolePolicyDocument>`+trust+
		`</AssumeRolePolicyDocument><MaxSessionDuration>43200</MaxSessionDuration></Role></GetRoleResult>`+iamEnd+`GetRoleResponse>`)
	if id := roleID(account, "Some.Role"); !regexp.MustCompile(`^AROA[A-Z2-7]{17}$`).MatchString(id) || id == roleID(account, "Other") {
		t.Errorf("the role's ID is %s", id)
	}
	if got, want := k.asked[len(k.asked)-1], "iam:GetRole arn:aws:iam::"+account+":role/Some.Role"; got != want {
		t.Errorf("asked for %q, want %q", got, want)
	}
	k.iam("Action=GetRole").check(t, 400, iamError("ValidationError", "1 validation error detected: Value null at &#39;roleName&#39; failed to satisfy constraint: Member must not be null"))
	k.refusing = "iam:GetRole"
	if a := k.iam("Action=GetRole&RoleName=r"); a.status != http.StatusForbidden {
		t.Errorf("refused: %d %s", a.status, a.body)
	}
}

func TestSimulatePrincipalPolicy(t *testing.T) {
	k := openKeys(t)
	const ask = "Action=SimulatePrincipalPolicy&PolicySourceArn=arn:aws:iam::" + account + ":role/r"
	k.refusing = "s3:PutObject"
	result := func(action, resource, decision string) string {
		return "<member><EvalActionName>" + action + "</EvalActionName><EvalResourceName>" + resource + "</EvalResourceName><EvalDecision>" + decision + "</EvalDecision></member>"
	}
	k.iam(ask+"&ActionNames.member.1=s3:GetObject&ActionNames.member.2=s3:PutObject").check(t, 200, `<SimulatePrincipalPolicyResponse`+iamSpace+
		`<SimulatePrincipalPolicyResult><EvaluationResults>`+result("s3:GetObject", "*", "allowed")+result("s3:PutObject", "*", "implicitDeny")+
		`</EvaluationResults><IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>`+iamEnd+`SimulatePrincipalPolicyResponse>`)
	a := k.iam(ask + "&ActionNames.member.1=s3:GetObject&ResourceArns.member.1=a&ResourceArns.member.2=b")
	if want := result("s3:GetObject", "a", "allowed") + result("s3:GetObject", "b", "allowed"); !strings.Contains(a.body, want) {
		t.Errorf("got %s, want %s", a.body, want)
	}
	for _, tt := range []struct {
		name, query string
		status      int
	}{
		{"no action", ask, 400},
		{"no principal", "Action=SimulatePrincipalPolicy&ActionNames.member.1=s3:GetObject", 400},
		{"no principal's ARN", "Action=SimulatePrincipalPolicy&ActionNames.member.1=s3:GetObject&PolicySourceArn=arn:aws:s3:::some-bucket-or-other", 400},
		{"another account's", "Action=SimulatePrincipalPolicy&ActionNames.member.1=s3:GetObject&PolicySourceArn=arn:aws:iam::999999999999:role/r", 403},
		{"a policy", ask + "&ActionNames.member.1=s3:GetObject&PolicyInputList.member.1=%7B%7D", 400},
	} {
		if a := k.iam(tt.query); a.status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, a.status, a.body, tt.status)
		}
	}
	k.refusing = "iam:SimulatePrincipalPolicy"
	if a := k.iam(ask + "&ActionNames.member.1=s3:GetObject"); a.status != http.StatusForbidden {
		t.Errorf("refused: %d %s", a.status, a.body)
	}
}
