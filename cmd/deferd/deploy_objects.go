package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// prepareObjects fills in where results go, sees to the buckets, and uploads
// model data that is local.
func (d *deployment) prepareObjects(ctx context.Context) error {
	upload := d.o.modelData != "" && !isLocation(d.o.modelData)
	if upload {
		if _, err := os.Stat(d.o.modelData); err != nil {
			return fmt.Errorf("model data: %w", err)
		}
	}
	if d.o.output.results == "" {
		base, err := d.site.defaultPrefix(ctx, d.name)
		if err != nil {
			return err
		}
		d.o.output.results = base + "/output"
	}
	if d.o.failure == "" {
		d.o.failure = beside(d.o.output.results, "failure")
	}
	for _, location := range []string{d.o.output.results, d.o.failure} {
		bucket, _, err := splitLocation(location)
		if err != nil {
			return err
		}
		if err := d.ensureBucket(ctx, bucket); err != nil {
			return err
		}
	}
	if d.data = d.o.modelData; !upload {
		return nil
	}
	return d.uploadModel(ctx)
}

// defaultPrefix is where an endpoint's objects are unless something else is
// said: in the bucket that SageMaker's SDK uses as well.
func (s *site) defaultPrefix(ctx context.Context, endpoint string) (string, error) {
	account, err := s.account(ctx)
	if err != nil {
		return "", err
	}
	return "s3://sagemaker-" + s.cfg.Region + "-" + account + "/" + endpoint, nil
}

// beside is a location with the last part of its key replaced.
func beside(location, name string) string {
	location = strings.TrimRight(location, "/")
	at := strings.LastIndexByte(location, '/')
	if at < len("s3://") {
		return location + "/" + name // a bucket
	}
	return location[:at+1] + name
}

// ensureBucket sees to it that a bucket is there. On AWS it must be: buckets
// there have names of the whole world, and rules.
func (d *deployment) ensureBucket(ctx context.Context, bucket string) error {
	made, err := d.objects.ensureBucket(ctx, bucket, !d.site.isAWS(objectStorage))
	if made {
		d.made = append(d.made, madeBucket(d.objects, bucket))
	}
	return err
}

func madeBucket(o *objects, bucket string) made {
	return made{"bucket " + bucket, func(ctx context.Context) error { return o.deleteBucket(ctx, bucket) }}
}

// ensureBucket creates a bucket that is not there, if it may.
func (o *objects) ensureBucket(ctx context.Context, bucket string, may bool) (made bool, err error) {
	there, err := o.bucketExists(ctx, bucket)
	switch {
	case err != nil || there:
		return false, err
	case !may:
		return false, &exitError{exitNotFound, fmt.Errorf("there is no bucket %s: `deferd s3 mb s3://%s` makes it", bucket, bucket)}
	}
	err = o.createBucket(ctx, bucket)
	if e, refused := asAPIError(err); refused && (e.code == "BucketAlreadyOwnedByYou" || e.code == "BucketAlreadyExists") {
		return false, nil // somebody else was first
	}
	return err == nil, err
}

// uploadModel packs and uploads the model data beside the results.
func (d *deployment) uploadModel(ctx context.Context) error {
	bucket, key, err := splitLocation(beside(d.o.output.results, "model/"+d.part+"/model.tar.gz"))
	if err != nil {
		return err
	}
	var moved atomic.Int64
	finished := make(chan struct{})
	shown := make(chan struct{})
	go func() { // what is shown changes by itself
		defer close(shown)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			d.status.show(d.name+": uploading model data", "  "+showSize(moved.Load()))
			select {
			case <-tick.C:
			case <-finished:
				tick.Stop()
				return
			}
		}
	}()
	err = d.objects.uploadPacked(ctx, d.o.modelData, destination{bucket, key, "application/gzip"}, func(n int64) { moved.Add(n) })
	close(finished)
	<-shown
	if err != nil {
		return fmt.Errorf("upload model data: %w", err)
	}
	d.data = "s3://" + bucket + "/" + key
	d.made = append(d.made, made{"model data " + d.data, func(ctx context.Context) error { return d.objects.remove(ctx, bucket, key) }})
	return nil
}

// uploadPacked uploads a file that is packed already, or a file or directory
// that is packed on its way.
func (o *objects) uploadPacked(ctx context.Context, path string, to destination, moved func(int64)) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() && (strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return o.upload(ctx, f, to, moved)
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := pack(w, path)
		w.CloseWithError(err)
		packed <- err
	}()
	err = o.uploadStream(ctx, r, to, moved)
	r.CloseWithError(err) // so that the packing ends
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		return perr
	}
	return err
}

// pack writes a file, or what is in a directory, as .tar.gz. Links to files are
// packed as the files that they lead to, since they may lead outside.
func pack(w io.Writer, path string) error {
	z := gzip.NewWriter(w)
	t := tar.NewWriter(z)
	err := filepath.WalkDir(path, func(at string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(path, at)
		if err != nil {
			return err
		}
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		link, err := os.Lstat(at)
		switch {
		case err != nil:
			return err
		case name == "." && info.IsDir():
			return nil
		case name == ".":
			name = filepath.Base(path)
		case info.IsDir() && link.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s is a link to a directory, which is not followed", at)
		}
		return packOne(t, at, filepath.ToSlash(name), info)
	})
	return errors.Join(err, t.Close(), z.Close())
}

func packOne(t *tar.Writer, path, name string, info fs.FileInfo) error {
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is neither a file nor a directory", path)
	}
	h, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	h.Name = name
	h.Uid, h.Gid, h.Uname, h.Gname = 0, 0, "", "" // nobody else's business
	if info.IsDir() {
		h.Name += "/"
	}
	if err := t.WriteHeader(h); err != nil || info.IsDir() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
