package objectserver

import (
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"syscall"

	"github.com/deferd/deferd"
)

// An answer is how S3 words one of its error codes.
type answer struct {
	status  int
	message string
}

var answers = map[string]answer{
	"AccessDenied":                                   {403, "Access Denied"},
	"BadRequest":                                     {400, "Bad Request"},
	"InvalidTag":                                     {400, "The tag provided was not a valid tag."},
	"NoSuchBucketPolicy":                             {404, "The bucket policy does not exist"},
	"NoSuchCORSConfiguration":                        {404, "The CORS configuration does not exist"},
	codeNoSuchLifecycle:                              {404, "The lifecycle configuration does not exist"},
	"NoSuchPublicAccessBlockConfiguration":           {404, "The public access block configuration was not found"},
	codeNoSuchTagSet:                                 {404, "The TagSet does not exist"},
	"NoSuchWebsiteConfiguration":                     {404, "The specified bucket does not have a website configuration"},
	"ObjectLockConfigurationNotFoundError":           {404, "Object Lock configuration does not exist for this bucket"},
	"ReplicationConfigurationNotFoundError":          {404, "The replication configuration was not found"},
	"ServerSideEncryptionConfigurationNotFoundError": {404, "The server side encryption configuration was not found"},
	codeBadDigest:                                    {400, "The Content-MD5 or checksum value that you specified did not match what the server received."},
	codeBucketExists:                                 {409, "Your previous request to create the named bucket succeeded and you already own it."},
	codeBucketName:                                   {400, "The specified bucket is not valid."},
	codeBucketNotEmpty:                               {409, "The bucket you tried to delete is not empty."},
	"EntityTooLarge":                                 {400, "Your proposed upload exceeds the maximum allowed object size."},
	codeTooSmall:                                     {400, "Your proposed upload is smaller than the minimum allowed object size."},
	"IllegalLocationConstraintException":             {400, "The location constraint is incompatible for the region specific endpoint this request was sent to."},
	codeIncomplete:                                   {400, "You did not provide the number of bytes specified by the Content-Length HTTP header."},
	codeInternal:                                     {500, "We encountered an internal error. Please try again."},
	codeInvalidArgument:                              {400, "Invalid Argument"},
	"InvalidDigest":                                  {400, "The Content-MD5 you specified was invalid."},
	"InvalidLocationConstraint":                      {400, "The specified location-constraint is not valid."},
	codeInvalidPart:                                  {400, "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	"InvalidPartNumber":                              {416, "The requested partnumber is not satisfiable"},
	codePartOrder:                                    {400, "The list of parts was not in ascending order. Parts must be ordered by part number."},
	codeInvalidRange:                                 {416, "The requested range is not satisfiable"},
	"InvalidRequest":                                 {400, "Invalid Request"},
	codeInvalidKey:                                   {400, "Couldn't parse the specified URI."},
	codeKeyTooLong:                                   {400, "Your key is too long"},
	"MalformedXML":                                   {400, "The XML you provided was not well-formed or did not validate against our published schema"},
	codeMetadataTooLarge:                             {400, "Your metadata headers exceed the maximum allowed metadata size"},
	"MethodNotAllowed":                               {405, "The specified method is not allowed against this resource."},
	"MissingContentLength":                           {411, "You must provide the Content-Length HTTP header."},
	codeNoSuchBucket:                                 {404, "The specified bucket does not exist"},
	codeNoSuchKey:                                    {404, "The specified key does not exist."},
	codeNoSuchUpload:                                 {404, "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."},
	"NotImplemented":                                 {501, "A header or query you provided implies functionality that is not implemented."},
	codePrecondition:                                 {412, "At least one of the pre-conditions you specified did not hold"},
	codeUnavailable:                                  {503, "Please reduce your request rate or try again later."},
}

// An apiError is an error in S3's own terms.
type apiError struct {
	status  int
	code    string
	message string
	details []detail  // further elements of the XML
	header  [2]string // name and value of a further header, or nothing
}

type detail struct{ name, value string }

func (e *apiError) Error() string { return e.code + ": " + e.message }

// s3Error is the error with this code and, unless it is "", this message.
func s3Error(code, message string) *apiError {
	a, ok := answers[code]
	if !ok {
		a = answers[codeInternal]
	}
	if message == "" {
		message = a.message
	}
	return &apiError{status: a.status, code: code, message: message}
}

func notImplemented(what string) error {
	return s3Error("NotImplemented", what+" is not implemented.")
}

// toAPIError translates any error of an operation. unexpected says that the
// log should hear of it.
func toAPIError(err error) (e *apiError, unexpected bool) {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e, false
	}
	// The verifying reader knows S3's code for what is wrong with a body.
	var verifier interface {
		error
		S3Code() (code string, status int)
	}
	if errors.As(err, &verifier) {
		code, status := verifier.S3Code()
		return &apiError{status: status, code: code, message: verifier.Error()}, false
	}
	if errors.Is(err, syscall.ENOSPC) {
		return s3Error(codeUnavailable, "The object store's disk is full."), true
	}
	if _, ok := errors.AsType[*bodyError](err); ok {
		return s3Error(codeIncomplete, "The request's body ended early."), false
	}
	if d, ok := errors.AsType[*deferd.Error](err); ok {
		if _, known := answers[d.Msg]; known {
			return s3Error(d.Msg, ""), d.Code == deferd.Internal || d.Code == deferd.Unavailable
		}
		switch d.Code {
		case deferd.Denied:
			return s3Error("AccessDenied", d.Msg), false
		case deferd.Unavailable:
			return s3Error(codeUnavailable, ""), true
		}
	}
	return s3Error(codeInternal, ""), true
}

// WriteError answers with an error in S3's XML. resource is the path that was
// asked for; "" for that of the request.
func WriteError(w http.ResponseWriter, r *http.Request, status int, code, message, resource string) {
	writeError(w, r, &apiError{status: status, code: code, message: message}, resource)
}

func writeError(w http.ResponseWriter, r *http.Request, e *apiError, resource string) {
	h := w.Header()
	id := setRequestID(h)
	if e.header[0] != "" {
		h.Set(e.header[0], e.header[1])
	}
	if resource == "" {
		resource = r.URL.Path
	}
	if e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	h.Set("Content-Type", "application/xml")
	if r.Method == http.MethodHead {
		w.WriteHeader(e.status)
		return
	}
	b := make([]byte, 0, 512)
	b = append(b, xml.Header...)
	b = append(b, "<Error>"...)
	for _, d := range append([]detail{{"Code", e.code}, {"Message", e.message}}, e.details...) {
		b = appendElement(b, d)
	}
	b = appendElement(b, detail{"Resource", resource})
	b = appendElement(b, detail{"RequestId", id})
	b = append(b, "</Error>"...)
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(e.status)
	w.Write(b)
}

func appendElement(b []byte, d detail) []byte {
	b = append(b, '<')
	b = append(b, d.name...)
	b = append(b, '>')
	b = appendEscaped(b, d.value)
	b = append(b, '<', '/')
	b = append(b, d.name...)
	return append(b, '>')
}

func appendEscaped(b []byte, s string) []byte {
	w := sliceWriter{b}
	xml.EscapeText(&w, []byte(s))
	return w.b
}

type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// setRequestID gives the answer its ID, once.
func setRequestID(h http.Header) string {
	if id := h.Get("X-Amz-Request-Id"); id != "" {
		return id
	}
	id := fmt.Sprintf("%016X", rand.Uint64())
	h.Set("X-Amz-Request-Id", id)
	return id
}
