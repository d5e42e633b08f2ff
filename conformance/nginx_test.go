package conformance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
)

// TestNginx puts nginx in front of the server, set up as docs/clients.md says,
// and then without the line about the Host header. DEFERD_NGINX names the
// program.
func TestNginx(t *testing.T) {
	t.Parallel()
	program := os.Getenv("DEFERD_NGINX")
	if program == "" {
		var err error
		if program, err = exec.LookPath("nginx"); err != nil {
			if required("nginx") {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	const host = "proxy_set_header Host $http_host;"
	documented := codeBlock(t, "../docs/clients.md", "nginx")
	if !strings.Contains(documented, host) {
		t.Fatalf("the page does not say %q", host)
	}
	s := startServer(t)
	c := s.through(startNginx(t, program, s, documented))
	c.deploy()
	c.useThroughProxy()

	c = s.through(startNginx(t, program, s, strings.Replace(documented, host, "", 1)))
	_, err := c.control.ListModels(t.Context(), &sagemaker.ListModelsInput{})
	checkAPIError(t, err, "InvalidSignatureException", "")
}

// codeBlock returns the page's only block of code in that language.
func codeBlock(t *testing.T, page, language string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```"+language+"\n")
	block, more, ends := strings.Cut(rest, "```\n")
	if !ok || !ends || strings.Contains(more, "```"+language+"\n") {
		t.Fatalf("%s has not one block of %s", page, language)
	}
	return block
}

// startNginx runs nginx with a server block, of which it changes the addresses,
// and returns its URL.
func startNginx(t *testing.T, program string, s *server, block string) string {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	for old, changed := range map[string]string{
		"listen 80;":                        "listen " + address + ";",
		"proxy_pass http://127.0.0.1:8780;": "proxy_pass " + s.url + ";",
	} {
		if !strings.Contains(block, old) {
			t.Fatalf("the page does not say %q", old)
		}
		block = strings.Replace(block, old, changed, 1)
	}
	var config strings.Builder
	config.WriteString("daemon off;\npid nginx.pid;\nerror_log error.log;\nevents {}\nhttp {\naccess_log off;\n")
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&config, "%s_temp_path %s;\n", kind, kind)
	}
	config.WriteString(block + "}\n")
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	// As root it would give its workers to a user who cannot enter dir.
	cmd := exec.Command(program, "-p", dir, "-c", file, "-e", filepath.Join(dir, "error.log"), "-g", "master_process off;")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-gone
	})
	await(t, "nginx at "+address, func() bool {
		select {
		case err := <-gone:
			gone <- err
			t.Fatalf("nginx: %v\n%s", err, stderr.String())
		default:
		}
		return listens(address)
	})
	return "http://" + address
}

// freeAddress returns an address that nobody listens at, yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func listens(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err == nil
}
