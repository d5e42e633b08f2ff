package modeldata

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/deferd/deferd"
)

// maxTrailer is how much may follow the end of an archive: tar pads with
// zeros, to 10 KiB by default.
const maxTrailer = 1 << 20

// unpack unpacks a .tar.gz. An entry replaces an earlier one of its name.
func (t *target) unpack(source io.Reader) error {
	unzipped, err := gzip.NewReader(source)
	if err != nil {
		return damaged("it is no gzip file", err)
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return damaged("the archive is damaged", err)
		}
		if err := t.unpackEntry(header, archive); err != nil {
			return err
		}
	}
	// Only the end of the gzip file has the checksum of all that was read.
	n, err := io.Copy(io.Discard, io.LimitReader(unzipped, maxTrailer))
	if err == nil && n == maxTrailer {
		err = errors.New("too much follows the end of the archive")
	}
	if err != nil {
		return damaged("the archive is damaged", err)
	}
	return nil
}

func damaged(message string, err error) error {
	return &deferd.Error{Code: deferd.Invalid, Msg: fmt.Sprintf("%s: %v", message, err), Err: err}
}

func (t *target) unpackEntry(h *tar.Header, content io.Reader) error {
	mode := fs.FileMode(h.Mode).Perm() // never setuid
	switch h.Typeflag {
	case tar.TypeDir:
		return t.makeDir(h.Name, mode)
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		err := t.writeFile(h.Name, mode, content)
		if isArchiveError(err) {
			err = damaged(fmt.Sprintf("the archive is damaged at %q", h.Name), err)
		}
		return err
	case tar.TypeSymlink:
		return t.makeLink(h.Name, h.Linkname)
	case tar.TypeLink:
		return t.makeHardLink(h.Name, h.Linkname)
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return deferd.Errorf(deferd.Invalid, "%q is a device or a pipe; only files, directories and links are unpacked", h.Name)
	}
	return deferd.Errorf(deferd.Invalid, "%q is of unknown type %q", h.Name, h.Typeflag)
}

// isArchiveError tells errors of reading an archive from those of writing its
// content: these are of the file system, or have a code.
func isArchiveError(err error) bool {
	if err == nil {
		return false
	}
	_, local := errors.AsType[*fs.PathError](err)
	_, coded := errors.AsType[*deferd.Error](err)
	return !local && !coded
}

// makeLink makes a symbolic link, wherever it points to: checkLinks looks at
// that when everything is in its place.
func (t *target) makeLink(name, to string) error {
	clean, err := t.place(name)
	if err != nil {
		return err
	}
	if path.IsAbs(to) {
		return leadsOut(name, to)
	}
	if err := t.root.Symlink(to, clean); err != nil {
		return t.refused(name, err)
	}
	t.links = append(t.links, clean)
	return nil
}

func (t *target) makeHardLink(name, to string) error {
	old, err := cleanName(to)
	if err != nil {
		return leadsOut(name, to)
	}
	clean, err := cleanName(name)
	if err != nil {
		return err
	}
	if old == clean {
		return nil
	}
	if clean, err = t.place(name); err != nil {
		return err
	}
	if err := t.root.Link(old, clean); err != nil {
		return t.refused(name, err)
	}
	t.links = append(t.links, clean) // of a symbolic link, it is one itself
	return nil
}

// checkLinks refuses symbolic links that lead out of the directory, by
// whatever way, as the model would follow them. Those that lead nowhere within
// it are harmless.
func (t *target) checkLinks() error {
	for _, name := range t.links {
		to, err := t.root.Readlink(name)
		if err != nil {
			continue // a file, or something has replaced it
		}
		if _, err := t.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return leadsOut(name, to)
		}
	}
	return nil
}

func leadsOut(name, to string) error {
	return deferd.Errorf(deferd.Invalid, "%q is a link to %q, outside of the model's directory", name, to)
}
