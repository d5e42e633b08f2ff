package awsapi

import (
	"encoding/xml"
	"fmt"
	"net/http"
)

// sts serves the one operation that clients ask who they are with.
func (s *Server) sts(c *call) error {
	action := form(c.r, c.body).Get("Action")
	if action != "GetCallerIdentity" {
		return &failure{
			status: http.StatusBadRequest, code: "InvalidAction",
			msg: fmt.Sprintf("Could not find operation %s for version 2011-06-15", action),
		}
	}
	if err := c.authorize("sts:GetCallerIdentity", "*"); err != nil {
		return err
	}
	type identity struct{ Arn, UserId, Account string }
	type metadata struct{ RequestId string }
	c.respond(http.StatusOK, query.contentType(), mustXML(struct {
		XMLName                 xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		GetCallerIdentityResult identity
		ResponseMetadata        metadata
	}{
		GetCallerIdentityResult: identity{c.principal.ARN, c.principal.AccessKey, string(c.principal.Account)},
		ResponseMetadata:        metadata{c.id},
	}))
	return nil
}
