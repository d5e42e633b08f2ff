package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/deferd/deferd/internal/powerloss"
)

// TestMigrationKilled opens what the first versions of the store and of the
// object server have left, and is killed when a thread makes its n-th call that
// changes a file or makes it durable, for every n until the server comes to
// listen; and now and then once more while it starts again. Then everything is
// there, and goes on.
func TestMigrationKilled(t *testing.T) {
	powerloss.Need(t)
	left := map[string]int{} // what the first kill left
	for _, calls := range []string{"pwrite64", "fsync", "fdatasync", "write,ftruncate,mkdirat,renameat,unlinkat"} {
		for n := 1; ; n++ {
			s := newServer(t)
			writeVersion1(t, s.data())
			if !s.killedStarting(calls, n) {
				t.Logf("killed at %d calls of %s", n-1, calls)
				break
			}
			left[s.versions()]++
			if n%3 == 0 {
				s.killedStarting(calls, n/2+1)
			}
			s.start()
			s.checkVersion1(t)
			s.kill()
			s.awaitNoModels()
			if t.Failed() {
				t.Fatalf("killed at call %d of %s", n, calls)
			}
		}
	}
	t.Logf("the kills left %v", left)
	if len(left) < 3 {
		t.Error("the kills have not met the steps of both migrations")
	}
}

// versions says of which versions the store and the object server are. It looks
// at a copy, for looking recovers.
func (s *server) versions() string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "data")
	copyDir(s.t, s.data(), dir)
	format, err := os.ReadFile(filepath.Join(dir, "objects", "FORMAT"))
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := sqlite.OpenConn(filepath.Join(dir, "deferd.db"), sqlite.OpenReadWrite)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	store, err := sqlitex.ResultInt64(conn.Prep("PRAGMA user_version"))
	if err != nil {
		s.t.Fatal(err)
	}
	_, objects, _ := strings.Cut(strings.TrimSpace(string(format)), "version ")
	return fmt.Sprintf("a store of version %d with objects of version %s", store, objects)
}

// killedStarting starts the server and kills it when one of its threads makes
// the n-th of the system calls. It reports false where it came to listen before.
func (s *server) killedStarting(calls string, n int) bool {
	s.t.Helper()
	cmd := serveCommand(s.data(), "")
	cmd.Args = append(cmd.Args, "--images", s.imagesFile())
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	err = powerloss.Record(cmd, filepath.Join(s.dir, "trace"), fmt.Sprintf("%s:signal=KILL:when=%d", calls, n))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	listens := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if readyLine.MatchString(lines.Text()) {
			listens = true
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if !late.Stop() {
		s.t.Fatalf("the server did not come to listen within %v", patience)
	}
	return !listens
}

// writeVersion1 makes a data directory of the first versions: ten invocations,
// of which two have ended, and objects in buckets of their own.
func writeVersion1(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	copyDir(t, "../internal/objectserver/testdata/version1", filepath.Join(dir, "objects"))
	text, err := os.ReadFile("testdata/version1.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.OpenConn(filepath.Join(dir, "deferd.db"), sqlite.OpenReadWrite|sqlite.OpenCreate|sqlite.OpenWAL)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sqlitex.ExecuteScript(conn, string(text), nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// checkVersion1 looks for everything that writeVersion1 wrote, and for the
// outcomes of what had not ended.
func (s *server) checkVersion1(t *testing.T) {
	t.Helper()
	c := s.client()
	for key, want := range map[string]string{"plain": "plain body", "described": "with attributes", "replaced": "new", "composite": "part", "whole": "part"} {
		if got, ok := c.get("s3://bucket/" + key); !ok || string(got.data) != want {
			t.Errorf("the object %s is %q, want %q", key, got.data, want)
		}
	}
	e, err := c.control.DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String(endpoint)})
	c.must("describe the endpoint", err)
	list, err := c.control.ListTags(t.Context(), &sagemaker.ListTagsInput{ResourceArn: e.EndpointArn})
	c.must("list its tags", err)
	tags := map[string]string{}
	for _, tag := range list.Tags {
		tags[*tag.Key] = *tag.Value
	}
	if diff := cmp.Diff(map[string]string{"team": "text", "stage": "test"}, tags); diff != "" {
		t.Errorf("the endpoint's tags (-want +got):\n%s", diff)
	}

	_, err = c.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)})
	c.must("create the bucket", err)
	want := map[string]int{"Completed": 10}
	await(t, "all invocations to end as Completed", func() bool { return maps.Equal(s.states(), want) })
	var outputs []string
	for k := range c.list("out/") {
		got, _ := c.get("s3://" + bucket + "/" + k)
		outputs = append(outputs, string(got.data))
	}
	slices.Sort(outputs)
	wanted := []string{"input 2", "input 3", "input 4", "input 5", "input 6", "input 7", "input 8", "input 9"}
	if diff := cmp.Diff(wanted, outputs); diff != "" {
		t.Errorf("the outputs (-want +got):\n%s", diff)
	}
}
