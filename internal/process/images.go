package process

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/deferd/deferd"
)

// Images is the content of images.yaml: what the operator lets an image name
// stand for. A key is any image string; a "*" within its tag stands for any
// run of characters there.
type Images map[string]Image

// An Image is what an image name stands for.
type Image struct {
	// Command is the program and its arguments; "serve" is appended, as
	// SageMaker does. A program without a slash is looked up in PATH.
	Command []string `yaml:"command"`

	// Dir is where it runs, relative to the directory of images.yaml, which
	// is also the default.
	Dir string `yaml:"dir"`

	// Env is added to its environment, below what the platform and the model
	// set.
	Env map[string]string `yaml:"env"`

	// Port is where the program listens if it ignores SAGEMAKER_BIND_TO_PORT.
	// Such an image can have one instance at a time. 0: a free port each.
	Port int `yaml:"port"`
}

// An ImageFile is an images.yaml that is read again when it has changed, so
// that a new image needs no restart. It is safe for concurrent use.
type ImageFile struct {
	path string

	mu     sync.Mutex // guards the rest
	stamp  fileStamp
	images Images
	broken error // why the file as it is now cannot be used; images are then the last good ones
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// LoadImages reads the images.yaml at path. A file that is not there lists no
// images and may appear later. Unknown keys are errors.
func LoadImages(path string) (*ImageFile, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	f := &ImageFile{path: abs}
	f.refresh()
	if f.broken != nil {
		return nil, f.broken
	}
	return f, nil
}

// Image returns what name stands for. The error is Invalid where nothing does,
// and says which names there are.
func (f *ImageFile) Image(name string) (Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	if image, ok := f.images.find(name); ok {
		return image, nil
	}
	if f.broken != nil {
		return Image{}, deferd.Errorf(deferd.Invalid, "image %q is unknown: %v", name, f.broken)
	}
	known := "it lists none"
	if len(f.images) > 0 {
		known = "it lists " + strings.Join(slices.Sorted(maps.Keys(f.images)), ", ")
	}
	return Image{}, deferd.Errorf(deferd.Invalid, "image %q is not listed in images.yaml (%s)", name, known)
}

// refresh reads the file if it is not the one that was read last. A broken
// file leaves the last good images in force.
func (f *ImageFile) refresh() {
	stamp, err := stampOf(f.path)
	if err == nil && f.broken == nil && stamp == f.stamp {
		return
	}
	var images Images
	if err == nil {
		images, err = readImages(f.path)
	}
	if f.broken = err; err != nil {
		return
	}
	f.images, f.stamp = images, stamp
}

// stampOf tells versions of a file apart; a file that is not there has the
// zero stamp.
func stampOf(path string) (fileStamp, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fileStamp{}, nil
	case err != nil:
		return fileStamp{}, fmt.Errorf("read images: %w", err)
	}
	return fileStamp{info.ModTime(), info.Size()}, nil
}

// ReadImages reads the images.yaml at path as it is now, for those who want to
// see all of it. A file that is not there lists no images.
func ReadImages(path string) (Images, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	return readImages(abs)
}

func readImages(path string) (Images, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	var file struct {
		Images Images `yaml:"images"`
	}
	if err := yaml.UnmarshalWithOptions(data, &file, yaml.DisallowUnknownField()); err != nil {
		return nil, yamlError(path, err)
	}
	images := file.Images
	for name, image := range images {
		if err := image.validate(name); err != nil {
			return nil, fmt.Errorf("%s: image %q: %w", path, name, err)
		}
		if !filepath.IsAbs(image.Dir) {
			image.Dir = filepath.Join(filepath.Dir(path), image.Dir)
		}
		images[name] = image
	}
	return images, nil
}

func yamlError(path string, err error) error {
	if y, ok := errors.AsType[yaml.Error](err); ok && y.GetToken() != nil {
		return fmt.Errorf("%s:%d: %s", path, y.GetToken().Position.Line, y.GetMessage())
	}
	return fmt.Errorf("%s: %w", path, err)
}

func (i Image) validate(name string) error {
	repository, _ := splitTag(name)
	switch {
	case name == "":
		return errors.New("the name is empty")
	case strings.Contains(repository, "*"):
		return errors.New(`"*" may stand within the tag only`)
	case len(i.Command) == 0 || i.Command[0] == "":
		return errors.New("command is missing")
	case i.Port < 0 || i.Port > 65535:
		return fmt.Errorf("port %d is not between 1 and 65535", i.Port)
	}
	for key := range i.Env {
		if key == "" || strings.ContainsAny(key, "=\x00") {
			return fmt.Errorf("env: %q is no name of a variable", key)
		}
	}
	return nil
}

// find prefers the name itself, and then the pattern with most literal
// characters.
func (m Images) find(name string) (Image, bool) {
	if image, ok := m[name]; ok {
		return image, true
	}
	best := ""
	for pattern := range m {
		if !matchTag(pattern, name) {
			continue
		}
		if len(pattern) > len(best) || len(pattern) == len(best) && pattern < best {
			best = pattern
		}
	}
	image, ok := m[best]
	return image, ok
}

// splitTag splits an image name at the colon of its tag. The colon of a
// registry's port is none.
func splitTag(name string) (repository, tag string) {
	slash := strings.LastIndexByte(name, '/')
	if colon := strings.LastIndexByte(name, ':'); colon > slash {
		return name[:colon], name[colon+1:]
	}
	return name, ""
}

func matchTag(pattern, name string) bool {
	repository, tagPattern := splitTag(pattern)
	wanted, tag := splitTag(name)
	if repository != wanted {
		return false
	}
	parts := strings.Split(tagPattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 || !strings.HasPrefix(tag, first) || len(tag) < len(first)+len(last) || !strings.HasSuffix(tag, last) {
		return false
	}
	tag = tag[len(first) : len(tag)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(tag, part)
		if i < 0 {
			return false
		}
		tag = tag[i+len(part):]
	}
	return true
}
