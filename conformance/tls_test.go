package conformance

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// TestTLS does the main job over TLS, where SDKs send bodies in another form:
// unsigned, with a checksum behind them.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	certFile, keyFile, roots := makeCertificate(t)
	s.args = []string{"--tls-cert", certFile, "--tls-key", keyFile}
	s.start()
	cfg := s.awsConfig()
	cfg.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	c := &client{t, sagemaker.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg), s3.NewFromConfig(cfg)}
	c.deploy()

	data := bytes.Repeat([]byte("over TLS "), 1<<16)
	_, err := c.s3.PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: aws.String(bucket), Key: aws.String("in/stream"), ContentType: aws.String("text/plain"),
		Body: io.MultiReader(bytes.NewReader(data)), ContentLength: aws.Int64(int64(len(data))), // cannot be read twice
	})
	c.must("put a stream", err)
	location := "s3://" + bucket + "/in/stream"
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{InputLocation: &location})
	if got := c.awaitObject(*out.OutputLocation); !bytes.Equal(got.data, data) {
		t.Errorf("the output has %d bytes, want the %d that were sent", len(got.data), len(data))
	}
}

// makeCertificate makes a certificate for the loopback address, and the pool
// that trusts it.
func makeCertificate(t *testing.T) (certFile, keyFile string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der},
		keyFile:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, roots
}
