package conformance

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestREADME does what the README says, at the root of a clone. Its Python
// speaks of an endpoint that its reader would have.
func TestREADME(t *testing.T) {
	t.Parallel()
	r := newReader(t, boto3Python(t))
	r.clone()
	s := newServer(t)
	r.env = append(r.env, "DEFERD_DATA="+s.data(), "DEFERD_IMAGES="+s.imagesFile())
	var c *client
	r.python = func(r *reader, b block) error {
		if c == nil {
			if r.url == "" {
				return errors.New("the text before it starts no server")
			}
			s.url = r.url
			c = s.client()
			c.deployFor("digits", "in/seven.csv", "text/csv", []byte("0,0,5,13"))
		}
		if err := r.enter("python3 - <<'END'\n" + b.text + "END\n"); err != nil {
			return fmt.Errorf("%w (there is an endpoint digits, and s3://%s/in/seven.csv)", err, bucket)
		}
		for line := range strings.Lines(r.printed) {
			if location := strings.TrimSpace(line); strings.HasPrefix(location, "s3://"+bucket+"/out/") {
				c.awaitObject(location)
			}
		}
		return nil
	}
	r.follow(filepath.Join("..", "README.md"))
}

// deployFor deploys an endpoint of this name, and uploads an input for it.
func (c *client) deployFor(name, key, contentType string, input []byte) {
	c.t.Helper()
	_, err := c.s3.CreateBucket(c.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	c.must("create the bucket", err)
	c.create(name)
	c.awaitInService(name)
	c.upload(key, contentType, input)
}

// TestGettingStarted does what docs/getting-started.md says, in a directory
// that is empty.
func TestGettingStarted(t *testing.T) {
	t.Parallel()
	r := newReader(t, boto3Python(t))
	r.publish()
	r.follow(filepath.Join("..", "docs", "getting-started.md"))
}

// TestReader shows that a document that does not hold is noticed.
func TestReader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, document string
		want           string // part of the error; "" where the document holds
	}{
		{"all is well", "```sh\nx=1\necho one\necho two  three\n```\n\n```\none\ntwo …\n```\n```sh\ntest $x = 1\n```\n", ""},
		{"a directory stays", "```sh\nmkdir d\ncd d\n```\nand\n```sh\ntest \"$(basename \"$PWD\")\" = d\n```\n", ""},
		{"another terminal", "```sh\nmkdir d && cd d && x=1 # then, in another terminal:\ntest -z \"$x\"\n```\n", ""},
		{"a command goes on", "```sh\necho a \\\n  b\n```\n```\na b\n```\n", ""},
		{"a file is saved", "Save it as `a.txt`:\n\n```text a.txt\nhello\n```\n```sh\ncat a.txt\n```\n```\nhello\n```\n", ""},
		{"CI runs it", "```sh\nmake demo    # shows it\nmake test\n```\n", ""},
		{"not for a terminal", "```\nanything\n```\n```yaml\na: b\n```\n```console\n$ false\n```\n", ""},
		{"a command fails", "text\n\n```sh\necho before\nfalse\necho after\n```\n", "line 3"},
		{"what it printed is told", "```sh\necho before\nfalse\n```\n", "printed:\nbefore"},
		{"a middle command fails", "```sh\nfalse\ntrue\n```\n", "status 1"},
		{"other output", "```sh\necho one\n```\n```\ntwo\n```\n", `"two"`},
		{"another order", "```sh\necho one\necho two\n```\n```\ntwo\none\n```\n", `"one"`},
		{"output in part", "```sh\necho one two\n```\n```\none\n```\n", `"one"`},
		{"the shell exits", "```sh\nexit 0\n```\n", "status 0"},
		{"no server", "```sh\necho deferd serve; true deferd serve\n```\n", "has ended"},
		{"nobody says where", "Save it:\n\n```text a.txt\nhello\n```\n", "does not say"},
		{"not saved", "```python\nprint(1)\n```\n", "no file name"},
		{"never closed", "```sh\ntrue\n", "never closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t, "/none")
			blocks, err := parseDocument(test.document)
			if err == nil {
				err = r.do(blocks)
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
