package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// A record remembers an instance's processes on disk, so that the next life of
// the server can end what outlived its shim.
type record struct {
	Boot  string `json:"boot"` // process IDs mean nothing after another boot
	Shim  proc   `json:"shim"`
	Model proc   `json:"model"`
}

const recordName = "processes.json"

// write replaces the record in an instance's directory. It is not synced: it
// is void after the machine has stopped.
func (r record) write(dir string) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("record processes: %w", err)
	}
	path := filepath.Join(dir, recordName)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("record processes: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("record processes: %w", err)
	}
	return nil
}

// processes returns what is left of a record's processes.
func (r record) processes() []proc {
	if r.Boot == "" || r.Boot != bootID() {
		return nil
	}
	return append(familyOf(r.Model), familyOf(r.Shim)...)
}

// killLimit is how long killed processes have to vanish. One that waits for a
// device may take longer; nothing more can be done about it.
const killLimit = 10 * time.Second

// killLeftovers ends what an earlier life of the server left running, and
// removes the directories of its instances.
func (r *Runtime) killLeftovers() error {
	dirs, err := os.ReadDir(r.instancesDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for leftovers: %w", err)
	}
	for _, d := range dirs {
		var rec record
		data, err := os.ReadFile(filepath.Join(r.instancesDir(), d.Name(), recordName))
		if err != nil || json.Unmarshal(data, &rec) != nil {
			continue // it had not started anything
		}
		r.killFound(d.Name(), rec.processes)
	}
	// What wears our mark is ours, whatever became of its record and parents.
	r.killFound("", func() []proc { return marked(r.mark("")) })
	return errors.Join(removeTree(r.instancesDir()), removeTree(r.tmpDir()))
}

func (r *Runtime) killFound(instance string, find func() []proc) {
	found := len(find())
	if found == 0 {
		return
	}
	log := r.log.With(slog.String("instance", instance), slog.Int("processes", found))
	if killAll(find, killLimit) {
		log.LogAttrs(context.Background(), slog.LevelInfo, "killed leftover processes")
	} else {
		log.LogAttrs(context.Background(), slog.LevelError, "leftover processes cannot be killed")
	}
}

// removeTree removes a directory, even if a model took away the permissions
// that this needs.
func removeTree(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil // go on: RemoveAll says what is left
	})
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
