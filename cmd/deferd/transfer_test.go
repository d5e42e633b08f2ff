package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// objectsOf are the objects of a server that answers with h, which is asked
// once for each request.
func objectsOf(t *testing.T, h http.HandlerFunc) *objects {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return &objects{s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: &server.URL, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIA1", "secret", ""),
	})}
}

// An upload that fails leaves no parts behind, whichever side it fails on.
func TestUploadThatFails(t *testing.T) {
	broken := errors.New("the disk broke")
	for _, test := range []struct {
		name   string
		refuse bool // the second part
		in     io.Reader
		want   string
	}{
		{"part refused", true, bytes.NewReader(make([]byte, 3*partSize)), "no room"},
		{"source broken", false, io.MultiReader(bytes.NewReader(make([]byte, partSize+1)), iotest.ErrReader(broken)), broken.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			var aborted atomic.Int32
			o := objectsOf(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				switch q := r.URL.Query(); {
				case q.Has("uploads"):
					io.WriteString(w, `<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>`)
				case r.Method == http.MethodDelete && q.Get("uploadId") == "u1":
					aborted.Add(1)
					w.WriteHeader(http.StatusNoContent)
				case test.refuse && q.Get("partNumber") == "2":
					w.WriteHeader(http.StatusInsufficientStorage)
					io.WriteString(w, `<Error><Code>NoRoom</Code><Message>no room</Message></Error>`)
				case r.Method == http.MethodPost:
					t.Error("the upload is completed")
				default:
					w.Header().Set("ETag", `"e"`)
				}
			})
			err := o.uploadStream(t.Context(), test.in, destination{"b", "k", ""}, func(int64) {})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
			if got := aborted.Load(); got != 1 {
				t.Errorf("aborted %d times, want once", got)
			}
		})
	}
}

// A download that breaks off leaves the file as it was, and nothing else.
func TestDownloadThatBreaksOff(t *testing.T) {
	o := objectsOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := o.download(t.Context(), "b", "k", path, func(int64) {}); err == nil {
		t.Error("half an object is taken for a whole one")
	}
	if text, err := os.ReadFile(path); string(text) != "before" {
		t.Errorf("the file has %q; %v", text, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("there are %v, want the file alone", entries)
	}
}

// A key cannot make a file outside of the directory.
func TestKeysStayInside(t *testing.T) {
	o := objectsOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("list-type") {
			io.WriteString(w, `<ListBucketResult><Contents><Key>in/../../escaped</Key><Size>1</Size></Contents></ListBucketResult>`)
			return
		}
		io.WriteString(w, "x")
	})
	dir := t.TempDir()
	c := &copier{objects: o, recursive: true, status: &statusLine{w: io.Discard}}
	err := c.copy(t.Context(), "s3://b/in", filepath.Join(dir, "a", "b"))
	if err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("error %v, want one that says outside", err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "*", "escaped")); len(found) > 0 {
		t.Errorf("there is %v", found)
	}
}

func TestTypeOf(t *testing.T) {
	for name, want := range map[string]string{
		"a.CSV": "text/csv", "a.json": "application/json", "a.png": "image/png", "model.tar.gz": "application/gzip", "a": "", "a.unheard-of": "",
	} {
		if got := typeOf(name); got != want {
			t.Errorf("typeOf(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestCopySource(t *testing.T) {
	if got, want := copySource("b", "a b/c+d%/ü"), "b/a%20b/c%2Bd%25/%C3%BC"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A connection that breaks is made again, for the rest of the same object.
func TestReadingOn(t *testing.T) {
	const text = "one two three"
	for _, test := range []struct {
		name     string
		replaced bool // meanwhile
		want     string
		fails    string
	}{
		{"same object", false, text, ""},
		{"another object", true, "one t", "At least one of the pre-conditions"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var ranges []string
			o := objectsOf(t, func(w http.ResponseWriter, r *http.Request) {
				ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Match"))
				w.Header().Set("ETag", `"e1"`)
				from := 0
				if len(ranges) > 1 {
					from = []int{5, 8}[len(ranges)-2]
					if test.replaced {
						w.WriteHeader(http.StatusPreconditionFailed)
						io.WriteString(w, `<Error><Code>PreconditionFailed</Code><Message>At least one of the pre-conditions you specified did not hold</Message></Error>`)
						return
					}
				}
				w.Header().Set("Content-Length", strconv.Itoa(len(text)-from))
				end := min(len(text), []int{5, 8, len(text)}[len(ranges)-1])
				io.WriteString(w, text[from:end])
				if end < len(text) {
					http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				}
			})
			in, err := o.open(t.Context(), "b", "k")
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			got, err := io.ReadAll(in)
			if string(got) != test.want || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("read %q, %v; want %q, %q (%q)", got, err, test.want, test.fails, ranges)
			}
			if !test.replaced && strings.Join(ranges, ", ") != ` , bytes=5- "e1", bytes=8- "e1"` {
				t.Errorf("asked for %q", ranges)
			}
		})
	}
}
