package sqlite

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deferd/deferd"
	"github.com/google/go-cmp/cmp"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// script runs SQL on a file without any of our own code.
func script(t *testing.T, path, sql string) {
	t.Helper()
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
	must(t, err)
	must(t, sqlitex.ExecuteScript(conn, sql, nil))
	must(t, conn.Close())
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"a file of a newer version", func(t *testing.T, path string) {
			must(t, open(t, path, Options{}).Close())
			script(t, path, "PRAGMA user_version = 99")
		}, "newer"},
		{"somebody else's database", func(t *testing.T, path string) {
			script(t, path, "CREATE TABLE invocation (id TEXT)")
		}, "not one of deferd's"},
		{"somebody else's database with an application ID", func(t *testing.T, path string) {
			script(t, path, "PRAGMA application_id = 1; CREATE TABLE t (id TEXT)")
		}, "not one of deferd's"},
		{"no database", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("not a database. "), 512), 0o600))
		}, "not a database"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "deferd.db")
			test.make(t, path)
			before, err := os.ReadFile(path)
			must(t, err)
			s, err := Open(path, Options{})
			if err == nil {
				s.Close()
				t.Fatal("the file is opened, want an error")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error is %q, want it to name the file and %q", err, test.want)
			}
			after, err := os.ReadFile(path)
			must(t, err)
			if !bytes.Equal(before, after) {
				t.Error("the refused file was changed")
			}
		})
	}
}

func TestClosed(t *testing.T) {
	b := newBench(t)
	must(t, b.Close())
	_, _, err := b.Accept(t.Context(), newInvocation())
	wantCode(t, err, deferd.Unavailable)
	_, err = b.EndpointByID(t.Context(), "e")
	wantCode(t, err, deferd.Unavailable)
}

// TestMigrateRequests opens a file of the first version, whose things have their
// tags, and how they were deployed, in the request that created them alone.
func TestMigrateRequests(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deferd.db")
	script(t, path, migrations[0]+`
		INSERT INTO model (id, account, name, created, doc) VALUES
			('m', 'a', 'm', 1, '{"ID":"m","Name":"m","Request":{"ModelName":"m","Tags":[{"Key":"k","Value":"v"}]}}'),
			('n', 'a', 'n', 1, '{"ID":"n","Name":"n","Request":{"ModelName":"n"}}');
		INSERT INTO config (id, account, name, created, doc) VALUES ('c', 'a', 'c', 1, '{"ID":"c","Name":"c"}');
		INSERT INTO endpoint (id, account, name, status, created, modified, doc) VALUES
			('e', 'a', 'e', 'InService', 1, 1, '{"ID":"e","Name":"e","Request":{"EndpointName":"e","Tags":[{"Key":"k","Value":"v"}],"DeploymentConfig":{"BlueGreenUpdatePolicy":{"TerminationWaitInSeconds":1.50}}}}'),
			('f', 'a', 'f', 'InService', 1, 1, '{"ID":"f","Name":"f","Request":{"EndpointName":"f"}}');
		PRAGMA application_id = 1684435556; PRAGMA user_version = 1`)
	s := open(t, path, Options{})
	defer s.Close()
	for name, want := range map[deferd.ModelName]deferd.Model{
		"m": {ID: "m", Name: "m", Tags: []deferd.Tag{{Key: "k", Value: "v"}}, Request: []byte(`{"ModelName":"m"}`)},
		"n": {ID: "n", Name: "n", Request: []byte(`{"ModelName":"n"}`)},
	} {
		got, err := s.Model(t.Context(), "a", name)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, diff)
		}
	}
	const how = `{"BlueGreenUpdatePolicy":{"TerminationWaitInSeconds":1.50}}`
	for name, want := range map[deferd.EndpointName]deferd.Endpoint{
		"e": {
			ID: "e", Name: "e", Tags: []deferd.Tag{{Key: "k", Value: "v"}}, DeploymentConfig: []byte(how),
			Request: []byte(`{"EndpointName":"e","DeploymentConfig":` + how + `}`),
		},
		"f": {ID: "f", Name: "f", Request: []byte(`{"EndpointName":"f"}`)},
	} {
		got, err := s.Endpoint(t.Context(), "a", name)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", name, diff)
		}
	}
}
