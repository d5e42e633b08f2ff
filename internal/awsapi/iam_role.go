package awsapi

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"time"

	"github.com/deferd/deferd"
)

// Roles are not kept: each that is named is there, and whoever may act in the
// account may act as it, or have a model act as it.

// longestSession is the longest that anybody may act as a role at a time.
const longestSession = 12 * time.Hour

var (
	roleNameParameter = parameter{name: "RoleName", at: "roleName", required: true, min: 1, max: 64, pattern: `[\w+=,.@-]+`}

	roleARN    = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::([0-9]{12}):role/(?:[!-~]*/)?([\w+=,.@-]{1,64})$`)
	sessionARN = regexp.MustCompile(`^arn:aws[a-z-]*:sts::[0-9]{12}:assumed-role/([^/]+)/([^/]+)$`)
)

// parseRole takes the ARN of a role apart. Its path is no part of the name.
func parseRole(arn string) (partition string, account deferd.AccountID, name string, ok bool) {
	m := roleARN.FindStringSubmatch(arn)
	if m == nil {
		return "", "", "", false
	}
	return m[1], deferd.AccountID(m[2]), m[3], true
}

// assumedRole reports whether a principal is a session of a role, and of which.
func assumedRole(arn string) (role, session string, ok bool) {
	m := sessionARN.FindStringSubmatch(arn)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// roleID is the ID of a role, the same at all times.
func roleID(account deferd.AccountID, name string) string {
	sum := sha256.Sum256([]byte("role " + string(account) + "/" + name))
	return "AROA" + base32.StdEncoding.EncodeToString(sum[:])[:17]
}

// getRole answers with a role, and with what holds for every one. It was made
// with the account's first key, as far as anybody knows.
func (s *Server) getRole(c *call, in url.Values) (any, error) {
	if err := checkParameters(in, roleNameParameter); err != nil {
		return nil, err
	}
	account, name := c.principal.Account, in.Get("RoleName")
	arn := "arn:aws:iam::" + string(account) + ":role/" + name
	if err := c.authorize("iam:GetRole", arn); err != nil {
		return nil, err
	}
	keys, err := s.Store.AccessKeys(c.ctx(), account)
	if err != nil {
		return nil, fmt.Errorf("list access keys: %w", err)
	}
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + string(account) +
		`:root","Service":"sagemaker.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	type role struct {
		Path, RoleName, RoleId, Arn, CreateDate, AssumeRolePolicyDocument string
		MaxSessionDuration                                                int
	}
	return struct {
		XMLName xml.Name `xml:"GetRoleResult"`
		Role    role
	}{Role: role{
		Path: "/", RoleName: name, RoleId: roleID(account, name), Arn: arn, CreateDate: iamTime(firstKey(keys)),
		AssumeRolePolicyDocument: url.PathEscape(trust), MaxSessionDuration: int(longestSession.Seconds()),
	}}, nil
}

// firstKey is when the first of some keys was made.
func firstKey(keys []deferd.AccessKey) (first time.Time) {
	for _, k := range keys {
		if first.IsZero() || k.Created.Before(first) {
			first = k.Created
		}
	}
	return first
}
