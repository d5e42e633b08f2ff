package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// profiler is a source file that is compiled into the program to be profiled
// and is no part of the program otherwise.
//
//go:embed testdata/profiler.go
var profiler []byte

// buildProfiled builds a deferd that can be profiled, to be measured instead.
func (p *plan) buildProfiled(ctx context.Context) error {
	if err := os.MkdirAll(p.profile, 0o755); err != nil {
		return err
	}
	source := filepath.Join(p.dir, "profiler.go")
	target, err := filepath.Abs("cmd/deferd/profiler.go")
	if err != nil {
		return err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{target: source}})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(p.dir, "overlay.json")
	if err := errors.Join(os.WriteFile(source, profiler, 0o644), os.WriteFile(overlayFile, overlay, 0o644)); err != nil {
		return err
	}
	p.program = filepath.Join(p.dir, "deferd")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-overlay", overlayFile, "-o", p.program, "./cmd/deferd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build a deferd that can be profiled: %w\n%s", err, out)
	}
	return nil
}

// startProfile profiles a server for at most d, in the background. The function
// that it returns waits for the profile.
func (p *plan) startProfile(s *deployment, name string, d time.Duration) func() error {
	if p.profile == "" {
		return func() error { return nil }
	}
	done := make(chan error, 1)
	go func() {
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.profile, max(1, int(d.Seconds())))
		done <- download(url, filepath.Join(p.profile, name+".pprof"))
	}()
	return func() error { return <-done }
}

func download(url, path string) (err error) {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s", resp.Status)
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
