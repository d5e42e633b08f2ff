package sigv4

import (
	"io"
	"testing"
)

// One InvokeEndpointAsync, as SDKs sign it.
func BenchmarkVerify(b *testing.B) {
	v := at(noon, Options{}, exampleKey)
	r := signed(b, exampleKey, "sagemaker", "us-east-1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, "sagemaker", nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignedChunks(b *testing.B) {
	chunk := string(make([]byte, 64<<10))
	chunks := []string{chunk, chunk, chunk, chunk}
	r, seed := chunkedRequest(b, signedChunks, len(chunks)*len(chunk))
	wire := []byte(encodeChunks(true, seed, chunks, nil))
	v := at(noon, Options{}, exampleKey)
	b.SetBytes(int64(len(chunks) * len(chunk)))
	for b.Loop() {
		r.Body = newBody(wire)
		_, body, err := v.VerifyStream(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			b.Fatal(err)
		}
	}
}
