package awsapi

import (
	"encoding/xml"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// sts serves the operations with which clients ask who they are, and become
// somebody else.
func (s *Server) sts(c *call) error {
	operations := map[string]queryOperation{
		"GetCallerIdentity": s.getCallerIdentity,
		"AssumeRole":        s.assumeRole,
	}
	if s.Keys.Session == nil {
		delete(operations, "AssumeRole")
	}
	return c.perform(operations, "https://sts.amazonaws.com/doc/", "2011-06-15")
}

func (s *Server) getCallerIdentity(c *call, _ url.Values) (any, error) {
	if err := c.authorize("sts:GetCallerIdentity", "*"); err != nil {
		return nil, err
	}
	id := c.principal.AccessKey
	if role, session, assumed := assumedRole(c.principal.ARN); assumed {
		id = roleID(c.principal.Account, role) + ":" + session
	}
	return struct {
		XMLName              xml.Name `xml:"GetCallerIdentityResult"`
		Arn, UserId, Account string
	}{Arn: c.principal.ARN, UserId: id, Account: string(c.principal.Account)}, nil
}

const (
	// defaultSession is how long a session lasts that asks for nothing else.
	defaultSession = time.Hour

	// chainedSession is the longest that a session may have which another one
	// asks for.
	chainedSession = time.Hour
)

// restrictions are the parameters with which a session may do less than its role,
// or needs more than a key: it would be a session like any other.
var restrictions = []string{
	"Policy", "PolicyArns", "Tags", "TransitiveTagKeys", "SerialNumber", "TokenCode", "SourceIdentity", "ProvidedContexts", "MinimumSessionTokenSize",
}

// assumeRole makes keys that end by themselves. Roles are not kept: whoever may
// act in the account may act as any role of it.
func (s *Server) assumeRole(c *call, values url.Values) (any, error) {
	var in awsmodel.AssumeRoleRequest
	if err := awsmodel.DecodeQuery(values, &in); err != nil {
		return nil, err
	}
	if err := in.Validate(s.Limits); err != nil {
		return nil, err
	}
	if err := refuseParameters(values, restrictions...); err != nil {
		return nil, err
	}
	partition, account, role, ok := parseRole(*in.RoleArn)
	if !ok {
		return nil, deferd.Errorf(deferd.Invalid, "Request ARN is invalid")
	}
	if account != c.principal.Account {
		return nil, deferd.Errorf(deferd.Denied, "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.principal.ARN, *in.RoleArn)
	}
	if err := c.authorize("sts:AssumeRole", *in.RoleArn); err != nil {
		return nil, err
	}
	life := defaultSession
	if in.DurationSeconds != nil {
		life = time.Duration(*in.DurationSeconds) * time.Second
	}
	if _, _, chained := assumedRole(c.principal.ARN); chained && life > chainedSession {
		return nil, deferd.Errorf(deferd.Invalid, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	arn := "arn:" + partition + ":sts::" + string(account) + ":assumed-role/" + role + "/" + *in.RoleSessionName
	k, secret := s.Keys.Session(account, arn)
	k.Expires = k.Created.Add(life).Truncate(time.Second) // as the answer says it
	if err := s.Store.PutKey(c.ctx(), k); err != nil {
		return nil, fmt.Errorf("store the keys of a session: %w", err)
	}
	s.Logger.InfoContext(c.ctx(), "role assumed", "access_key", k.ID, "by", c.principal.AccessKey)
	type credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	type user struct{ AssumedRoleId, Arn string }
	return struct {
		XMLName         xml.Name `xml:"AssumeRoleResult"`
		Credentials     credentials
		AssumedRoleUser user
	}{
		Credentials:     credentials{k.ID, secret, k.Token, iamTime(k.Expires)},
		AssumedRoleUser: user{roleID(account, role) + ":" + *in.RoleSessionName, arn},
	}, nil
}

// refuseParameters refuses a request that has one of the parameters: to leave it
// out would be to do another thing than was asked for.
func refuseParameters(in url.Values, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if name, _, _ := strings.Cut(name, "."); slices.Contains(names, name) {
			return deferd.Errorf(deferd.Invalid, "%s is not supported here.", name)
		}
	}
	return nil
}
