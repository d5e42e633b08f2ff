package conformance

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd/conformance/model/journal"
)

// TestModelData deploys model data, and archives that must not be unpacked.
func TestModelData(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.client()
	want := map[string]string{"weights.json": "[1,2,3]", "code/inference.py": "pass"}
	archive := "model.tar.gz"
	c.deploy(func(d *types.ContainerDefinition) {
		location := c.upload(archive, "", tarball(t, want))
		d.ModelDataUrl = &location
	})
	out := c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("x"), CustomAttributes: aws.String("report=1")})
	var rep journal.Report
	if err := json.Unmarshal(c.awaitObject(*out.OutputLocation).data, &rep); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, rep.Files); diff != "" || rep.Error != "" {
		t.Errorf("model directory (-want +got):\n%s%s", diff, rep.Error)
	}

	whole := tarball(t, want)
	for name, data := range map[string][]byte{
		"no-archive": []byte("this is no archive"),
		"cut-short":  whole[:len(whole)/2],
		"escaping":   tarball(t, map[string]string{"../../escaped": "x"}),
	} {
		t.Run(name, func(t *testing.T) {
			c := c.with(t)
			location := c.upload(name+".tar.gz", "", data)
			c.create(name, func(d *types.ContainerDefinition) { d.ModelDataUrl = &location })
			if reason := c.awaitFailed(name); reason == "" {
				t.Error("the endpoint does not say why it failed")
			} else {
				t.Log(reason)
			}
		})
	}
	escaped := filepath.Join(s.dir, "*", "*escaped*")
	if found, err := filepath.Glob(escaped); err != nil || len(found) > 0 {
		t.Errorf("a file of the archive is outside of the model directory: %v %v", found, err)
	}
	// What failed disturbs nothing else.
	out = c.invoke(&sagemakerruntime.InvokeEndpointAsyncInput{Body: []byte("still here")})
	c.awaitObject(*out.OutputLocation)
}

// tarball returns a .tar.gz of the files.
func tarball(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, content := range files {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestModelThatNeverRuns deploys a program that ends at once.
func TestModelThatNeverRuns(t *testing.T) {
	t.Parallel()
	const last = "the weights are missing"
	c := startServer(t, "MODEL_EXIT="+last).client()
	c.create(endpoint)
	if reason := c.awaitFailed(endpoint); !strings.Contains(reason, last) {
		t.Errorf("the endpoint failed with %q, want the tail of the model's log, %q", reason, last)
	}
	_, err := c.runtime.InvokeEndpointAsync(t.Context(), &sagemakerruntime.InvokeEndpointAsyncInput{
		EndpointName: aws.String(endpoint), Body: []byte("x"),
	})
	checkAPIError(t, err, "ValidationError", "not found")
}
