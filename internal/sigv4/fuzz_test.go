package sigv4

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Whatever arrives is refused in order or, if it is what was signed, taken.
func FuzzVerify(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential="+exampleID+"/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00", "/b/k?a=b", "20260102T120000Z", emptyHash)
	f.Add("", "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential="+exampleID+"%2F20260102%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20260102T120000Z&X-Amz-Expires=9&X-Amz-SignedHeaders=host&X-Amz-Signature=0", "", "")
	f.Add("", "/b/k?AWSAccessKeyId="+exampleID+"&Signature=0&Expires=9999999999&acl", "", "")
	f.Add("AWS4-HMAC-SHA256 =,,Signature", "//%2e/../?%zz&;=+", "Fri, 02 Jan 2026 12:00:00 -0000", signedTrailer)
	v := at(noon, Options{Region: "us-east-1"}, exampleKey)
	f.Fuzz(func(t *testing.T, authorization, target, date, payload string) {
		head := "PUT " + target + " HTTP/1.1\r\nHost: deferd.test\r\nDate: " + date + "\r\nX-Amz-Date: " + date + "\r\nX-Amz-Content-Sha256: " + payload + "\r\n"
		if authorization != "" {
			head += "Authorization: " + authorization + "\r\n"
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n")))
		if err != nil {
			t.Skip()
		}
		s, ok := ScopeOf(r)
		if _, _, err := v.VerifyStream(r); err == nil {
			t.Fatalf("taken: %q", head)
		} else if kind := kindOf(t, err); kind == Missing && ok {
			t.Fatalf("scope %v of a request that has no signature", s)
		}
		service := s.Service
		if service == "" {
			service = "sagemaker"
		}
		if _, err := v.Verify(r, service, nil); err == nil {
			t.Fatalf("taken: %q", head)
		}
	})
}

// A chunked body ends in io.EOF only if it says everything that was announced,
// and never gives more than that.
func FuzzChunked(f *testing.F) {
	const length = 12
	requests := map[string]func(testing.TB) (*http.Request, string){}
	for _, payload := range []string{signedChunks, signedTrailer, unsignedTrailer} {
		requests[payload] = func(tb testing.TB) (*http.Request, string) { return chunkedRequest(tb, payload, length) }
		_, seed := requests[payload](f)
		var trailer []string
		if payload != signedChunks {
			trailer = []string{"x-amz-checksum-crc32c:sOO8/Q=="}
		}
		f.Add(payload, []byte(encodeChunks(payload != unsignedTrailer, seed, []string{"hello, ", "world"}, trailer)))
	}
	v := at(noon, Options{}, exampleKey)
	f.Fuzz(func(t *testing.T, payload string, wire []byte) {
		request, known := requests[payload]
		if !known {
			t.Skip()
		}
		r, _ := request(t)
		r.Body = newBody(wire)
		_, body, err := v.VerifyStream(r)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if len(data) > length {
			t.Errorf("read %d bytes, %d were announced", len(data), length)
		}
		if err != nil {
			if _, refused := errors.AsType[*Error](err); !refused {
				t.Errorf("got %v, want a refusal", err)
			}
			return
		}
		if len(data) != length || payload != unsignedTrailer && string(data) != "hello, world" {
			t.Errorf("taken: %q", data)
		}
		if payload != signedChunks && body.Trailer().Get("X-Amz-Checksum-Crc32c") == "" {
			t.Error("taken without its trailer")
		}
	})
}
