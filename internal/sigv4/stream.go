package sigv4

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"

	"github.com/deferd/deferd"
)

// What stands for the body in S3's signatures when its hash does not.
const (
	unsignedPayload  = "UNSIGNED-PAYLOAD"
	signedChunks     = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedTrailer    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	unsignedTrailer  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	decodedLength    = "X-Amz-Decoded-Content-Length"
	chunkAlgorithm   = "AWS4-HMAC-SHA256-PAYLOAD"
	trailerAlgorithm = "AWS4-HMAC-SHA256-TRAILER"
)

// A Body is the body of a request to S3. It verifies what it reads: the length
// that was announced, and the hash or the signatures that were. Nothing of it
// may be believed before Read has returned io.EOF; any other error says that it
// is not what was signed, as an *Error, or that it could not be read.
type Body struct {
	from    io.Reader // what the body says, not yet verified as a whole
	hash    hash.Hash // of the body; nil where no hash was signed
	want    string    // that hash
	length  int64
	trailer http.Header
	err     error // what Read returns from now on
}

// Length is the number of bytes that the body will have; -1 where the client
// did not say.
func (b *Body) Length() int64 { return b.length }

// Trailer is what came after the body, whole once Read has returned io.EOF. The
// client announced every name in it, and it is signed if the chunks are.
func (b *Body) Trailer() http.Header { return b.trailer }

func (b *Body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if b.hash != nil {
		b.hash.Write(p[:n])
	}
	if err == io.EOF && b.hash != nil && !equalHex(b.hash.Sum(nil), b.want) {
		err = refuse(BadDigest, true)
	}
	b.err = err
	return n, err
}

// VerifyStream checks a request to S3, all but its body, and returns its body,
// which checks itself while it is read. A refusal is an *Error; any other error
// says that the key could not be looked up.
func (v *Verifier) VerifyStream(r *http.Request) (deferd.Principal, *Body, error) {
	if isPresignedV2(r.URL.RawQuery) {
		p, err := v.verifyV2(r)
		if err != nil {
			return deferd.Principal{}, nil, err
		}
		return p, plainBody(r, unsignedPayload), nil
	}
	c, refusal := parse(r, true)
	if refusal != nil {
		return deferd.Principal{}, nil, refusal
	}
	payload, refusal := declaredPayload(r, c.Presigned)
	if refusal != nil {
		return deferd.Principal{}, nil, refusal
	}
	key, signing, err := v.check(r, &c, "s3", payload)
	if err != nil {
		return deferd.Principal{}, nil, err
	}
	if payload == unsignedPayload || isHash(payload) {
		return key.Principal, plainBody(r, payload), nil
	}
	body, refusal := chunkedBody(r, payload, &c, signing)
	if refusal != nil {
		return deferd.Principal{}, nil, refusal
	}
	return key.Principal, body, nil
}

// declaredPayload is what stands for the body in the signature. A presigned URL
// may leave it out.
func declaredPayload(r *http.Request, presigned bool) (string, *Error) {
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" && presigned {
		payload = unsignedPayload
		if hasParam(r.URL.RawQuery, "X-Amz-Content-Sha256") {
			payload = r.URL.Query().Get("X-Amz-Content-Sha256")
		}
	}
	switch payload {
	case "":
		return "", refuse(MissingHash, true)
	case unsignedPayload, signedChunks, signedTrailer, unsignedTrailer:
		return payload, nil
	}
	if !isHash(payload) {
		return "", refuse(InvalidHash, true)
	}
	return payload, nil
}

// plainBody returns a body that is sent as it is.
func plainBody(r *http.Request, payload string) *Body {
	b := &Body{from: announced(r), length: r.ContentLength}
	if payload != unsignedPayload {
		b.hash, b.want = sha256.New(), payload
	}
	return b
}

// announced reads the body as it is sent and insists on the announced length.
func announced(r *http.Request) io.Reader {
	switch {
	case r.Body == nil && r.ContentLength <= 0:
		return http.NoBody
	case r.Body == nil:
		return &exactReader{from: http.NoBody, left: r.ContentLength}
	case r.ContentLength < 0:
		return r.Body
	}
	return &exactReader{from: r.Body, left: r.ContentLength}
}

// An exactReader refuses to end before or after a number of bytes.
type exactReader struct {
	from io.Reader
	left int64
}

func (e *exactReader) Read(p []byte) (int, error) {
	n, err := e.from.Read(p)
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return n + int(e.left), refuse(IncompleteBody, true)
	case err == io.EOF && e.left == 0:
		return n, io.EOF
	case err != nil:
		return n, bodyError(err)
	}
	return n, nil
}

// bodyError is what becomes of an error that the body's reader returned where
// more was to come.
func bodyError(err error) error {
	if _, refused := errors.AsType[*Error](err); refused {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(IncompleteBody, true)
	}
	return fmt.Errorf("read the body: %w", err)
}

// chunkedBody returns a body that is sent in aws-chunked form.
func chunkedBody(r *http.Request, payload string, c *claim, signing *signingKey) (*Body, *Error) {
	announcedLength := r.Header.Get(decodedLength)
	if announcedLength == "" {
		return nil, refuse(MissingLength, true)
	}
	length, err := strconv.ParseUint(announcedLength, 10, 63)
	if err != nil {
		return nil, refuse(InvalidLength, true)
	}
	d := &chunkReader{
		from:    bufio.NewReader(announced(r)),
		left:    int64(length),
		trailer: make(http.Header),
	}
	if payload != signedChunks {
		d.announced = trailerNames(r.Header)
	}
	if payload != unsignedTrailer {
		d.chain = newChain(c, signing)
	}
	d.withTrailer = payload != signedChunks
	return &Body{from: d, length: d.left, trailer: d.trailer}, nil
}

// A chain holds the signatures of a body's chunks together: each covers the one
// before it, the first covers the request's.
type chain struct {
	signing  *signingKey
	scope    []byte // the date and scope lines of the strings to sign
	previous []byte // in hex
	hash     hash.Hash
	toSign   []byte
	sum      []byte
}

func newChain(c *claim, signing *signingKey) *chain {
	return &chain{
		signing:  signing,
		scope:    c.appendDateAndScope(nil),
		previous: []byte(c.signature),
		hash:     sha256.New(),
	}
}

// emptyHash is the SHA-256 of nothing.
const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// chunk reports whether a signature is that of the chunk whose data is in
// c.hash.
func (c *chain) chunk(signature string) bool {
	c.begin(chunkAlgorithm)
	c.toSign = append(append(c.toSign, emptyHash...), '\n')
	return c.end(signature)
}

// trailer reports whether a signature is that of the trailer in c.hash.
func (c *chain) trailer(signature string) bool {
	c.begin(trailerAlgorithm)
	return c.end(signature)
}

func (c *chain) begin(algorithm string) {
	c.toSign = append(append(c.toSign[:0], algorithm...), '\n')
	c.toSign = append(c.toSign, c.scope...)
	c.toSign = append(append(c.toSign, c.previous...), '\n')
}

func (c *chain) end(signature string) bool {
	c.sum = c.hash.Sum(c.sum[:0])
	c.hash.Reset()
	c.toSign = hex.AppendEncode(c.toSign, c.sum)
	c.sum = c.signing.sign(c.sum[:0], c.toSign)
	c.previous = hex.AppendEncode(c.previous[:0], c.sum)
	return hmac.Equal(c.previous, []byte(signature))
}
