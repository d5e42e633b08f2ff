package awsapi

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/awsmodel"
)

// AccessKeys is what the server needs to make and end access keys. The zero
// value: IAM is not offered.
type AccessKeys struct {
	// Mint makes a lasting key, its secret sealed in it and in clear beside it.
	// Nothing is stored.
	Mint func(account deferd.AccountID, arn string) (k deferd.AccessKey, secret string)

	// Session makes one with a session token, for all services. Nil: roles
	// cannot be assumed.
	Session func(account deferd.AccountID, arn string) (k deferd.AccessKey, secret string)

	// Forget is told of every key that was deleted, so that it is refused at
	// once.
	Forget func(id string)
}

// A queryOperation reads its parameters and returns what its answer holds; nil
// for nothing.
type queryOperation func(c *call, in url.Values) (result any, err error)

// iam serves the part of IAM with which keys are made and ended, and what is
// asked of roles.
func (s *Server) iam(c *call) error {
	operations := map[string]queryOperation{
		"CreateAccessKey":         s.createAccessKey,
		"ListAccessKeys":          s.listAccessKeys,
		"DeleteAccessKey":         s.deleteAccessKey,
		"GetUser":                 s.getUser,
		"GetRole":                 s.getRole,
		"SimulatePrincipalPolicy": s.simulatePolicy,
	}
	if s.Keys.Mint == nil {
		operations = nil
	}
	return c.perform(operations, "https://iam.amazonaws.com/doc/", "2010-05-08")
}

// perform performs the operation that a request's Action names. Answers are in
// the namespace of the service's version, which stands below space.
func (c *call) perform(operations map[string]queryOperation, space, version string) error {
	in := form(c.r, c.body)
	action := in.Get("Action")
	operation := operations[action]
	if operation == nil {
		return &failure{
			status: http.StatusBadRequest, code: "InvalidAction",
			msg: fmt.Sprintf("Could not find operation %s for version %s", action, version),
		}
	}
	result, err := operation(c, in)
	if err != nil {
		return err
	}
	c.respond(http.StatusOK, query.contentType(), queryAnswer(space+version+"/", action, result, c.id))
	return nil
}

// queryAnswer writes the answer to an operation in its service's namespace.
// Those without a result have metadata only.
func queryAnswer(space, action string, result any, id string) []byte {
	type metadata struct{ RequestId string }
	type answer struct {
		XMLName          xml.Name
		Result           any
		ResponseMetadata metadata
	}
	return mustXML(answer{
		XMLName:          xml.Name{Space: space, Local: action + "Response"},
		Result:           result,
		ResponseMetadata: metadata{id},
	})
}

// A keyOwner is a principal that has keys.
type keyOwner struct {
	arn  string
	keys []deferd.AccessKey // its lasting ones, in the order of their IDs
}

// name is what IAM calls the owner: the last part of its ARN.
func (o keyOwner) name() string { return o.arn[strings.LastIndexAny(o.arn, "/:")+1:] }

// owner finds the principal that a request is about, the caller where it names
// none, and authorizes the action on it. It also returns how many lasting keys
// the account has. Keys that end with a session may not touch lasting ones.
func (s *Server) owner(c *call, in url.Values, action string) (o keyOwner, lasting int, err error) {
	all, err := s.Store.AccessKeys(c.ctx(), c.principal.Account)
	if err != nil {
		return o, 0, fmt.Errorf("list access keys: %w", err)
	}
	o.arn = c.principal.ARN
	byName := in.Get("UserName")
	found := byName == "" || byName == o.name()
	for _, k := range all {
		if k.Token != "" || k.Service != "" {
			if k.ID == c.principal.AccessKey {
				return o, 0, deferd.Errorf(deferd.Denied, "User: %s is not authorized to perform: iam:%s with temporary credentials", c.principal.ARN, action)
			}
			continue
		}
		lasting++
		if other := (keyOwner{arn: k.ARN}); !found && other.name() == byName {
			o.arn, found = k.ARN, true
		}
	}
	resource := o.arn
	if !found {
		resource = "arn:aws:iam::" + string(c.principal.Account) + ":user/" + byName
	}
	if err := c.authorize("iam:"+action, resource); err != nil {
		return o, 0, err
	}
	if !found {
		return o, 0, noSuchEntity("The user with name %s cannot be found.", byName)
	}
	for _, k := range all {
		if k.ARN == o.arn && k.Token == "" && k.Service == "" {
			o.keys = append(o.keys, k)
		}
	}
	return o, lasting, nil
}

func noSuchEntity(format string, args ...any) error {
	return &failure{status: http.StatusNotFound, code: "NoSuchEntity", msg: fmt.Sprintf(format, args...)}
}

func (s *Server) createAccessKey(c *call, in url.Values) (any, error) {
	if err := checkParameters(in, userNameParameter); err != nil {
		return nil, err
	}
	o, _, err := s.owner(c, in, "CreateAccessKey")
	if err != nil {
		return nil, err
	}
	k, secret := s.Keys.Mint(c.principal.Account, o.arn)
	if err := s.Store.PutKey(c.ctx(), k); err != nil {
		return nil, fmt.Errorf("store access key: %w", err)
	}
	s.Logger.InfoContext(c.ctx(), "access key made", "access_key", k.ID, "by", c.principal.AccessKey)
	type made struct {
		UserName, AccessKeyId, Status, SecretAccessKey, CreateDate string
	}
	return struct {
		XMLName   xml.Name `xml:"CreateAccessKeyResult"`
		AccessKey made
	}{AccessKey: made{o.name(), k.ID, "Active", secret, iamTime(k.Created)}}, nil
}

// maxKeysListed is how many keys a page has unless MaxItems says otherwise.
const maxKeysListed = 100

func (s *Server) listAccessKeys(c *call, in url.Values) (any, error) {
	if err := checkParameters(in, userNameParameter, markerParameter, maxItemsParameter); err != nil {
		return nil, err
	}
	o, _, err := s.owner(c, in, "ListAccessKeys")
	if err != nil {
		return nil, err
	}
	type metadata struct{ UserName, AccessKeyId, Status, CreateDate string }
	out := struct {
		XMLName     xml.Name   `xml:"ListAccessKeysResult"`
		Keys        []metadata `xml:"AccessKeyMetadata>member"`
		IsTruncated bool
		Marker      string `xml:",omitempty"`
	}{}
	limit := maxKeysListed
	if in.Has("MaxItems") {
		limit, _ = strconv.Atoi(in.Get("MaxItems")) // checked
	}
	for _, k := range o.keys {
		if k.ID <= in.Get("Marker") {
			continue
		}
		if len(out.Keys) == limit {
			out.IsTruncated, out.Marker = true, out.Keys[limit-1].AccessKeyId
			break
		}
		out.Keys = append(out.Keys, metadata{o.name(), k.ID, "Active", iamTime(k.Created)})
	}
	return out, nil
}

// deleteAccessKey ends a key. Unlike AWS's account, whose console is another way
// in, an account here keeps its last one.
func (s *Server) deleteAccessKey(c *call, in url.Values) (any, error) {
	if err := checkParameters(in, userNameParameter, accessKeyIDParameter); err != nil {
		return nil, err
	}
	s.deletingKey.Lock() // or each of two deletions would take the other's key for the last
	defer s.deletingKey.Unlock()
	o, lasting, err := s.owner(c, in, "DeleteAccessKey")
	if err != nil {
		return nil, err
	}
	id := in.Get("AccessKeyId")
	for _, k := range o.keys {
		if k.ID != id {
			continue
		}
		if lasting == 1 {
			return nil, &failure{
				status: http.StatusConflict, code: "DeleteConflict",
				msg: "The last access key of the account cannot be deleted: nobody could make another.",
			}
		}
		if err := s.Store.DeleteKey(c.ctx(), id); err != nil {
			return nil, fmt.Errorf("delete access key: %w", err)
		}
		s.Keys.Forget(id)
		s.Logger.InfoContext(c.ctx(), "access key deleted", "access_key", id, "by", c.principal.AccessKey)
		return nil, nil
	}
	return nil, noSuchEntity("The Access Key with id %s cannot be found.", id)
}

// getUser answers with a principal. It was created with its first key, as far
// as anybody knows.
func (s *Server) getUser(c *call, in url.Values) (any, error) {
	if err := checkParameters(in, userNameParameter); err != nil {
		return nil, err
	}
	o, _, err := s.owner(c, in, "GetUser")
	if err != nil {
		return nil, err
	}
	type user struct{ Path, UserName, UserId, Arn, CreateDate string }
	u := user{Path: "/", UserName: o.name(), UserId: string(c.principal.Account), Arn: o.arn}
	u.CreateDate = iamTime(firstKey(o.keys))
	return struct {
		XMLName xml.Name `xml:"GetUserResult"`
		User    user
	}{User: u}, nil
}

func iamTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// A parameter is one of an IAM operation, with IAM's constraints on it.
type parameter struct {
	name, at string // in the request, and as violations call it
	required bool
	min, max int // of the length, or of the number
	number   bool
	pattern  string
}

var (
	userNameParameter    = parameter{name: "UserName", at: "userName", min: 1, max: 128, pattern: `[\w+=,.@-]+`}
	accessKeyIDParameter = parameter{name: "AccessKeyId", at: "accessKeyId", required: true, min: 16, max: 128, pattern: `[\w]+`}
	markerParameter      = parameter{name: "Marker", at: "marker", min: 1, max: 320, pattern: `[\u0020-\u00FF]+`}
	maxItemsParameter    = parameter{name: "MaxItems", at: "maxItems", min: 1, max: 1000, number: true}
)

// checkParameters reports everything that is wrong with the parameters at once, as
// IAM does.
func checkParameters(in url.Values, parameters ...parameter) error {
	var e awsmodel.ValidationError
	for _, p := range parameters {
		switch {
		case in.Has(p.name):
			for _, rule := range p.brokenBy(in.Get(p.name)) {
				e.Violations = append(e.Violations, fmt.Sprintf("Value '%s' at '%s' failed to satisfy constraint: %s", in.Get(p.name), p.at, rule))
			}
		case p.required:
			e.Violations = append(e.Violations, fmt.Sprintf("Value null at '%s' failed to satisfy constraint: Member must not be null", p.at))
		}
	}
	if e.Violations == nil {
		return nil
	}
	return &e
}

func (p parameter) brokenBy(value string) (rules []string) {
	size, what := utf8.RuneCountInString(value), "length"
	if p.number {
		n, err := strconv.Atoi(value)
		if err != nil {
			return []string{"Member must be a number"}
		}
		size, what = n, "value"
	}
	if size < p.min {
		rules = append(rules, fmt.Sprintf("Member must have %s greater than or equal to %d", what, p.min))
	}
	if size > p.max {
		rules = append(rules, fmt.Sprintf("Member must have %s less than or equal to %d", what, p.max))
	}
	if p.pattern != "" && !regexp.MustCompile(`\A(?:`+strings.ReplaceAll(p.pattern, `\u00`, `\x`)+`)\z`).MatchString(value) {
		rules = append(rules, "Member must satisfy regular expression pattern: "+p.pattern)
	}
	return rules
}
