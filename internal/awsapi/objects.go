package awsapi

import (
	"net/http"

	"github.com/deferd/deferd"
	"github.com/deferd/deferd/internal/sigv4"
)

// An ObjectHandler answers S3 requests whose signature was verified. It reads
// the body from body, never from the request: only there is it checked.
type ObjectHandler interface {
	Serve(w http.ResponseWriter, r *http.Request, p deferd.Principal, body *sigv4.Body)
}

// objects hands an S3 request on. Path, query and host are the handler's to
// read, as they came.
func (s *Server) objects(c *call) error {
	if s.S3.Handler == nil {
		return &failure{
			status: http.StatusNotImplemented, code: "NotImplemented",
			msg: "This server keeps its objects in another S3. Send S3 requests there.",
		}
	}
	p, body, err := s.Verifier.VerifyStream(c.r)
	if err != nil {
		return err
	}
	s.S3.Handler.Serve(c.w, c.r, p, body)
	return nil
}
