package sigv4

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newBody(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

func drainBody(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// put returns a request to store an object, signed at noon for this payload
// and announcing this length, as a server reads it.
func put(t testing.TB, payload string, length int64, header ...string) *http.Request {
	t.Helper()
	r := newRequest(t, "PUT", "http://deferd.test:8780/bucket/a%20key", nil, header...)
	r.Header.Set("X-Amz-Content-Sha256", payload)
	signSDK(t, r, exampleKey, payload, "s3", "us-east-1", noon)
	r = served(t, r)
	r.ContentLength = length
	return r
}

func TestPlainBody(t *testing.T) {
	const data = "the body of an object"
	lost := errors.New("connection reset")
	tests := []struct {
		name    string
		payload string
		length  int64
		body    io.Reader
		want    Kind
		ok      bool
		err     error // instead of a refusal
	}{
		{name: "hash", payload: hexHash([]byte(data)), length: int64(len(data)), body: strings.NewReader(data), ok: true},
		{name: "byte by byte", payload: hexHash([]byte(data)), length: int64(len(data)), body: iotest.OneByteReader(strings.NewReader(data)), ok: true},
		{name: "end with the data", payload: hexHash([]byte(data)), length: int64(len(data)), body: iotest.DataErrReader(strings.NewReader(data)), ok: true},
		{name: "unknown length", payload: hexHash([]byte(data)), length: -1, body: strings.NewReader(data), ok: true},
		{name: "unsigned", payload: unsignedPayload, length: int64(len(data)), body: strings.NewReader(data), ok: true},
		{name: "empty", payload: emptyHash, length: 0, body: strings.NewReader(""), ok: true},
		{name: "another hash", payload: hexHash([]byte("x")), length: int64(len(data)), body: strings.NewReader(data), want: BadDigest},
		{name: "another hash, end with the data", payload: hexHash([]byte("x")), length: int64(len(data)), body: iotest.DataErrReader(strings.NewReader(data)), want: BadDigest},
		{name: "another hash, unknown length", payload: hexHash([]byte("x")), length: -1, body: strings.NewReader(data), want: BadDigest},
		{name: "short", payload: unsignedPayload, length: int64(len(data)) + 1, body: strings.NewReader(data), want: IncompleteBody},
		{name: "short, as net/http says it", payload: unsignedPayload, length: int64(len(data)) + 1,
			body: io.MultiReader(strings.NewReader(data), iotest.ErrReader(io.ErrUnexpectedEOF)), want: IncompleteBody},
		{name: "long", payload: unsignedPayload, length: int64(len(data)) - 1, body: strings.NewReader(data), want: IncompleteBody},
		{name: "connection lost", payload: unsignedPayload, length: int64(len(data)) + 1,
			body: io.MultiReader(strings.NewReader(data), iotest.ErrReader(lost)), err: lost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := put(t, tt.payload, tt.length)
			r.Body = io.NopCloser(tt.body)
			p, body, err := at(noon, Options{}, exampleKey).VerifyStream(r)
			if err != nil {
				t.Fatal(err)
			}
			if p != exampleKey.Principal || body.Length() != tt.length {
				t.Errorf("got principal %v and length %d", p, body.Length())
			}
			got, err := io.ReadAll(body)
			checkRead(t, body, string(got), err, data, tt.ok || tt.length == 0, tt.want, tt.err)
		})
	}
}

// checkRead checks how reading a body to its end went.
func checkRead(t *testing.T, body *Body, got string, err error, data string, ok bool, want Kind, cause error) {
	t.Helper()
	switch {
	case ok && err != nil:
		t.Errorf("refused: %v", err)
	case ok && body.Length() != 0 && got != data:
		t.Errorf("read %q, want %q", got, data)
	case ok:
	case cause != nil:
		if !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	default:
		if kind := kindOf(t, err); kind != want {
			t.Errorf("got kind %d (%v), want %d", kind, err, want)
		}
	}
	if n, again := body.Read(make([]byte, 1)); n != 0 || again == nil || !ok && again == io.EOF {
		t.Errorf("read once more after %v: %d bytes and %v", err, n, again)
	}
}

func TestPayloadDeclaration(t *testing.T) {
	tests := []struct {
		name   string
		header []string
		change func(*http.Request)
		want   Kind
	}{
		{name: "none", change: func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }, want: MissingHash},
		{name: "odd", header: []string{"X-Amz-Content-Sha256", "abc"}, want: InvalidHash},
		{name: "asymmetric chunks", header: []string{"X-Amz-Content-Sha256", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"}, want: InvalidHash},
		{name: "upper-case hash", header: []string{"X-Amz-Content-Sha256", strings.ToUpper(emptyHash)}, want: InvalidHash},
		{name: "hash changed", change: setHeader("X-Amz-Content-Sha256", unsignedPayload), want: WrongSignature},
		{name: "no decoded length", header: []string{"X-Amz-Content-Sha256", signedChunks}, want: MissingLength},
		{name: "negative length", header: []string{"X-Amz-Content-Sha256", signedChunks, decodedLength, "-1"}, want: InvalidLength},
		{name: "endless length", header: []string{"X-Amz-Content-Sha256", signedChunks, decodedLength, "9223372036854775808"}, want: InvalidLength},
		{name: "unsigned copy source", change: setHeader("X-Amz-Copy-Source", "/other/key"), want: WrongSignature},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			payload := emptyHash
			if len(tt.header) > 0 {
				payload = tt.header[1]
			}
			r := put(t, payload, 0, tt.header...)
			if tt.change != nil {
				tt.change(r)
			}
			_, _, err := at(noon, Options{}, exampleKey).VerifyStream(r)
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("got kind %d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// What S3 says otherwise than the other services.
func TestS3Refusals(t *testing.T) {
	tests := []struct {
		name   string
		change func(*http.Request)
		late   time.Duration
		region string
		want   Kind
	}{
		{name: "no signature", change: func(r *http.Request) { r.Header.Del("Authorization") }, want: Missing},
		{name: "version 2", change: setHeader("Authorization", "AWS AK:xyz"), want: Unsupported},
		{name: "late", late: 15*time.Minute + time.Second, want: Skewed},
		{name: "early", late: -15*time.Minute - time.Second, want: Skewed},
		{name: "region", region: "eu-west-1", want: WrongScope},
		{name: "service", change: replaceAuthorization("/s3/", "/sns/"), want: WrongScope},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := put(t, emptyHash, 0)
			if tt.change != nil {
				tt.change(r)
			}
			_, _, err := at(noon.Add(tt.late), Options{Region: tt.region}, exampleKey).VerifyStream(r)
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("got kind %d (%v), want %d", got, err, tt.want)
			}
			if e, _ := errors.AsType[*Error](err); e.Region != tt.region {
				t.Errorf("got region %q, want %q", e.Region, tt.region)
			}
		})
	}
}

// The examples of Amazon's S3 API reference, "Signature Calculations for the
// Authorization Header: Transferring Payload in Multiple Chunks".
func TestDocumentedChunks(t *testing.T) {
	const data = 65 << 10
	tests := []struct {
		name, payload, seed string
		signatures          [3]string
		header              []string
		trailer             string
	}{
		{
			name: "payload", payload: signedChunks,
			seed: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
			signatures: [3]string{
				"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
				"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
				"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
			},
			header:  []string{"Content-Length", "66824"},
			trailer: "\r\n",
		},
		{
			name: "trailer", payload: signedTrailer,
			seed: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
			signatures: [3]string{
				"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
				"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
				"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
			},
			header: []string{"X-Amz-Trailer", "x-amz-checksum-crc32c"},
			trailer: "x-amz-checksum-crc32c:sOO8/Q==\r\n" +
				"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "PUT", "https://s3.amazonaws.com/examplebucket/chunkObject.txt", nil, tt.header...)
			r.Header.Set("X-Amz-Date", "20130524T000000Z")
			r.Header.Set("X-Amz-Storage-Class", "REDUCED_REDUNDANCY")
			r.Header.Set("X-Amz-Content-Sha256", tt.payload)
			r.Header.Set("Content-Encoding", "aws-chunked")
			r.Header.Set(decodedLength, strconv.Itoa(data))
			names := "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class"
			if tt.payload == signedTrailer {
				names = "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;x-amz-trailer"
			}
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+exampleID+"/20130524/us-east-1/s3/aws4_request,SignedHeaders="+
				names+",Signature="+tt.seed)
			wire := "10000;chunk-signature=" + tt.signatures[0] + "\r\n" + strings.Repeat("a", 64<<10) + "\r\n" +
				"400;chunk-signature=" + tt.signatures[1] + "\r\n" + strings.Repeat("a", 1<<10) + "\r\n" +
				"0;chunk-signature=" + tt.signatures[2] + "\r\n" + tt.trailer
			r.Body, r.ContentLength = newBody([]byte(wire)), int64(len(wire))

			_, body, err := at(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC), Options{}, exampleKey).VerifyStream(r)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(body)
			if err != nil || string(got) != strings.Repeat("a", data) {
				t.Errorf("read %d bytes, then %v", len(got), err)
			}
		})
	}
}

// The example of "Authenticating Requests: Using Query Parameters".
func TestDocumentedPresign(t *testing.T) {
	r := newRequest(t, "GET", "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"+
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z"+
		"&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"+
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	day := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		now  time.Time
		ok   bool
	}{
		{"at once", day, true},
		{"a day later", day.Add(24 * time.Hour), true},
		{"just over", day.Add(24*time.Hour + time.Second), false},
		{"long before", day.Add(-16 * time.Minute), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := at(tt.now, Options{}, exampleKey).VerifyStream(r)
			if tt.ok && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !tt.ok && kindOf(t, err) != PresignExpired {
				t.Errorf("got %v, want it to be expired", err)
			}
		})
	}
}

func TestPresignedParameters(t *testing.T) {
	good := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + exampleID + "%2F20260102%2Fus-east-1%2Fs3%2Faws4_request" +
		"&X-Amz-Date=20260102T120000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + emptyHash
	for _, tt := range []struct {
		name, old, with string
		want            Kind
	}{
		{"as it is", "", "", WrongSignature},
		{"algorithm", "SHA256&", "SHA1&", IncompleteQuery},
		{"no algorithm", "X-Amz-Algorithm=AWS4-HMAC-SHA256&", "", IncompleteQuery},
		{"credential", "%2Faws4_request", "", IncompleteQuery},
		{"terminator", "aws4_request", "aws5_request", WrongScopeQuery},
		{"date", "T120000Z", "", IncompleteQuery},
		{"no time", "Expires=60", "Expires=0", IncompleteQuery},
		{"too much time", "Expires=60", "Expires=604801", IncompleteQuery},
		{"time is a word", "Expires=60", "Expires=a", IncompleteQuery},
		{"no signature", "X-Amz-Signature=" + emptyHash, "", IncompleteQuery},
		{"signature twice", "X-Amz-Expires", "X-Amz-Signature=0&X-Amz-Expires", IncompleteQuery},
		{"broken escape", "%2F", "%2", IncompleteQuery},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRequest(t, "GET", "http://deferd.test/b/k", nil)
			r.URL.RawQuery = strings.Replace(good, tt.old, tt.with, 1)
			_, _, err := at(noon, Options{}, exampleKey).VerifyStream(r)
			if got := kindOf(t, err); got != tt.want {
				t.Errorf("got kind %d (%v), want %d", got, err, tt.want)
			}
		})
	}
}

// encodeChunks writes a body in aws-chunked form, signed from the request's
// signature on where sign is true. It is written after the documentation and
// shares nothing with the code under test.
func encodeChunks(sign bool, seed string, chunks, trailer []string) string {
	mac := func(key []byte, s string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(s))
		return m.Sum(nil)
	}
	key := []byte("AWS4" + exampleSecret)
	for _, part := range []string{"20260102", "us-east-1", "s3", "aws4_request"} {
		key = mac(key, part)
	}
	const scope = "20260102T120000Z\n20260102/us-east-1/s3/aws4_request\n"
	var b strings.Builder
	for _, data := range append(chunks, "") {
		fmt.Fprintf(&b, "%x", len(data))
		if sign {
			seed = fmt.Sprintf("%x", mac(key, "AWS4-HMAC-SHA256-PAYLOAD\n"+scope+seed+"\n"+hexHash(nil)+"\n"+hexHash([]byte(data))))
			b.WriteString(";chunk-signature=" + seed)
		}
		b.WriteString("\r\n")
		if data != "" {
			b.WriteString(data + "\r\n")
		}
	}
	var signed strings.Builder
	for _, line := range trailer {
		b.WriteString(line + "\r\n")
		signed.WriteString(line + "\n")
	}
	if sign && len(trailer) > 0 {
		fmt.Fprintf(&b, "x-amz-trailer-signature:%x\r\n", mac(key, "AWS4-HMAC-SHA256-TRAILER\n"+scope+seed+"\n"+hexHash([]byte(signed.String()))))
	}
	return b.String() + "\r\n"
}

// chunkedRequest returns a request to store data in chunks, without a body.
func chunkedRequest(t testing.TB, payload string, length int) (r *http.Request, seed string) {
	header := []string{"Content-Encoding", "aws-chunked", decodedLength, strconv.Itoa(length)}
	if payload != signedChunks {
		header = append(header, "X-Amz-Trailer", "x-amz-checksum-crc32c")
	}
	r = put(t, payload, -1, header...)
	_, seed, _ = strings.Cut(r.Header.Get("Authorization"), "Signature=")
	return r, seed
}

func TestChunkedBody(t *testing.T) {
	chunks := []string{strings.Repeat("a", 9000), "b", strings.Repeat("c", 70000)}
	data := strings.Join(chunks, "")
	checksum := []string{"x-amz-checksum-crc32c:sOO8/Q=="}
	replace := func(old, with string) func(string) string {
		return func(wire string) string {
			if !strings.Contains(wire, old) {
				panic("no " + old)
			}
			return strings.Replace(wire, old, with, 1)
		}
	}
	tests := []struct {
		name    string
		payload string
		trailer []string
		length  int // more than there is
		change  func(wire string) string
		want    Kind
		ok      bool
	}{
		{name: "signed", payload: signedChunks, ok: true},
		{name: "signed trailer", payload: signedTrailer, trailer: checksum, ok: true},
		{name: "unsigned trailer", payload: unsignedTrailer, trailer: checksum, ok: true},
		{name: "trailer as minio-go writes it", payload: signedTrailer, trailer: checksum, change: replace("Q==\r\n", "Q==\n\r\n"), ok: true},
		{name: "unsigned trailer as minio-go writes it", payload: unsignedTrailer, trailer: checksum, change: replace("Q==\r\n", "Q==\n\r\n"), ok: true},

		{name: "data", payload: signedChunks, change: replace("ccc", "cxc"), want: WrongSignature},
		{name: "short chunk", payload: signedChunks, change: replace("ccc", "cc"), want: IncompleteBody},
		{name: "long chunk", payload: signedChunks, change: replace("ccc", "cccc"), want: IncompleteBody},
		{name: "signature", payload: signedChunks, change: replace("1;chunk-signature=", "1;chunk-signature=0"), want: WrongSignature},
		{name: "no signature", payload: signedChunks, change: replace("1;chunk-signature=", "1;x="), want: IncompleteBody},
		{name: "chunk moved", payload: signedTrailer, trailer: checksum, change: func(wire string) string {
			i, j := strings.Index(wire, "\r\n1;")+2, strings.Index(wire, "\r\n11170;")+2
			return wire[i:j] + wire[:i] + wire[j:]
		}, want: WrongSignature},
		{name: "chunk left out", payload: signedChunks, change: func(wire string) string {
			i, j := strings.Index(wire, "\r\n1;")+2, strings.Index(wire, "\r\n11170;")+2
			return wire[:i] + wire[j:]
		}, want: WrongSignature},
		{name: "last chunk's signature", payload: signedChunks, change: replace("\r\n0;chunk-signature=", "\r\n0;chunk-signature=0"), want: WrongSignature},
		{name: "cut in a chunk", payload: signedChunks, change: func(wire string) string { return wire[:5000] }, want: IncompleteBody},
		{name: "cut after a chunk", payload: unsignedTrailer, trailer: checksum, change: func(wire string) string { return wire[:strings.Index(wire, "\r\n1\r\n")+2] }, want: IncompleteBody},
		{name: "cut before the trailer", payload: unsignedTrailer, trailer: checksum, change: func(wire string) string { return wire[:strings.Index(wire, "x-amz-")] }, want: IncompleteBody},
		{name: "cut in the trailer", payload: unsignedTrailer, trailer: checksum, change: func(wire string) string { return wire[:len(wire)-2] }, want: IncompleteBody},
		{name: "more than announced", payload: unsignedTrailer, trailer: checksum, length: -1, want: IncompleteBody},
		{name: "less than announced", payload: unsignedTrailer, trailer: checksum, length: 1, want: IncompleteBody},
		{name: "size is a word", payload: unsignedTrailer, trailer: checksum, change: replace("\r\n1\r\n", "\r\none\r\n"), want: IncompleteBody},
		{name: "negative size", payload: unsignedTrailer, trailer: checksum, change: replace("\r\n1\r\n", "\r\n-1\r\n"), want: IncompleteBody},
		{name: "endless line", payload: unsignedTrailer, trailer: checksum, change: replace("\r\n1\r\n", "\r\n1;"+strings.Repeat("x", 8000)+"\r\n"), want: IncompleteBody},
		{name: "something after the end", payload: unsignedTrailer, trailer: checksum, change: func(wire string) string { return wire + "x" }, want: IncompleteBody},
		{name: "trailer", payload: signedTrailer, trailer: checksum, change: replace("sOO8", "sOO9"), want: WrongSignature},
		{name: "trailer that was not announced", payload: unsignedTrailer, trailer: []string{checksum[0], "x-amz-meta-a:b"}, want: MalformedTrailer},
		{name: "trailer that does not come", payload: unsignedTrailer, want: MalformedTrailer},
		{name: "trailer twice", payload: unsignedTrailer, trailer: []string{checksum[0], checksum[0]}, want: MalformedTrailer},
		{name: "trailer without a colon", payload: unsignedTrailer, trailer: []string{"x-amz-checksum-crc32c"}, want: MalformedTrailer},
		{name: "trailer without its signature", payload: signedTrailer, trailer: checksum, change: func(wire string) string {
			return wire[:strings.Index(wire, "x-amz-trailer-signature")] + strings.Repeat("\r\n", 10000)
		}, want: MalformedTrailer},
		{name: "trailer where none is allowed", payload: signedChunks, change: func(wire string) string { return wire[:len(wire)-2] + checksum[0] + "\r\n\r\n" }, want: MalformedTrailer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, seed := chunkedRequest(t, tt.payload, len(data)+tt.length)
			wire := encodeChunks(tt.payload != unsignedTrailer, seed, chunks, tt.trailer)
			if tt.change != nil {
				wire = tt.change(wire)
			}
			r.Body = newBody([]byte(wire))
			_, body, err := at(noon, Options{}, exampleKey).VerifyStream(r)
			if err != nil {
				t.Fatal(err)
			}
			if body.Length() != int64(len(data)+tt.length) {
				t.Errorf("length %d, want %d", body.Length(), len(data)+tt.length)
			}
			got, err := io.ReadAll(body)
			checkRead(t, body, string(got), err, data, tt.ok, tt.want, nil)
			want := http.Header{}
			if tt.ok && len(tt.trailer) > 0 {
				want.Set("X-Amz-Checksum-Crc32c", "sOO8/Q==")
				if diff := cmp.Diff(want, body.Trailer()); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
			}
		})
	}
}
