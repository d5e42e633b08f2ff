package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"time"

	"github.com/deferd/deferd"
)

// partSize is that of the uploads here, and of deferd's own.
const partSize = 8 << 20

// maxMemory is what the server may have at its peak while a large payload goes
// through it, in bytes.
const maxMemory = 150_000_000

// A payloadResult is a large invocation beside a plain copy, a value for each
// round. Times are in seconds.
type payloadResult struct {
	size       int64
	upload     series // of the input, by a client through S3
	invoke     series // from the request to the visible output
	read       series // of the output, by a client through S3
	copied     series // the limit of invoke
	cpu, model series // that the invocation used
	copyCPU    series // that the copy used
	afterPut   int64  // largest peak memory of a server after the upload
	afterAll   int64  // and at the end; 0 where that cannot be known
}

// measurePayload sends one large input through a model that sends it back, and
// checks that it did.
func (p *plan) measurePayload(ctx context.Context, r *report) error {
	r.payload = &payloadResult{size: p.payload}
	for range p.rounds {
		if err := p.invokeLarge(ctx, r.payload); err != nil {
			return err
		}
		if err := p.copyLarge(ctx, r.payload); err != nil {
			return fmt.Errorf("limit: %w", err)
		}
	}
	return nil
}

func (p *plan) invokeLarge(ctx context.Context, r *payloadResult) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	d, err := p.deploy(ctx, dir, nil, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	objects, err := d.objects(ctx)
	if err != nil {
		return err
	}
	in := deferd.Location{Bucket: bucket, Key: "in/large"}
	begun := time.Now()
	sum, err := upload(ctx, objects, in, r.size)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	r.upload.add(time.Since(begun).Seconds())
	afterPut, _ := peakMemory(d.cmd.Process.Pid)
	r.afterPut = max(r.afterPut, afterPut)

	profile := p.startProfile(d, "payload", 10*time.Second)
	cpu, model := cpuOf(d.cmd.Process.Pid)
	begun = time.Now()
	out, err := d.invoke(ctx, in)
	if err != nil {
		return err
	}
	if err := d.awaitOutput(ctx, objects, out); err != nil {
		return err
	}
	r.invoke.add(time.Since(begun).Seconds())
	cpuAfter, modelAfter := cpuOf(d.cmd.Process.Pid)
	r.cpu.add((cpuAfter - cpu).Seconds())
	r.model.add((modelAfter - model).Seconds())
	begun = time.Now()
	if err := checkObject(ctx, objects, out, r.size, sum); err != nil {
		return err
	}
	r.read.add(time.Since(begun).Seconds())
	afterAll, _ := peakMemory(d.cmd.Process.Pid)
	r.afterAll = max(r.afterAll, afterAll)
	return profile()
}

// awaitOutput waits until an output is visible.
func (d *deployment) awaitOutput(ctx context.Context, objects deferd.ObjectStore, out deferd.Location) error {
	return await(ctx, "the output", func() (bool, error) {
		_, err := objects.Head(ctx, out)
		if deferd.CodeOf(err) != deferd.NotFound {
			return err == nil, err
		}
		m, err := d.metrics(ctx)
		if err == nil && m[inState("Failed")] > 0 {
			err = errors.New("the invocation failed")
		}
		return false, err
	})
}

// invoke invokes the endpoint on one input, and returns where the output will
// be.
func (d *deployment) invoke(ctx context.Context, in deferd.Location) (deferd.Location, error) {
	h, _, err := d.post(ctx, d.path, []header{
		{"content-type", "application/octet-stream"}, {"x-amzn-sagemaker-inputlocation", in.String()},
	}, nil)
	if err != nil {
		return deferd.Location{}, fmt.Errorf("invoke: %w", err)
	}
	return deferd.ParseLocation(h.Get("X-Amzn-SageMaker-OutputLocation"))
}

// upload stores an object of random bytes in parts, and returns its SHA-256.
func upload(ctx context.Context, objects deferd.ObjectStore, l deferd.Location, size int64) (hash.Hash, error) {
	random := rand.NewChaCha8([32]byte([]byte("any 32 bytes make a large input.")))
	sum := sha256.New()
	return sum, storeParts(ctx, objects, l, io.TeeReader(io.LimitReader(random, size), sum))
}

// storeParts makes an object of what r reads, part by part.
func storeParts(ctx context.Context, objects deferd.ObjectStore, l deferd.Location, r io.Reader) error {
	id, err := objects.CreateUpload(ctx, l, deferd.ObjectAttributes{})
	if err != nil {
		return err
	}
	u := deferd.Upload{Location: l, ID: id}
	buf := make([]byte, partSize)
	for n := 1; ; n++ {
		read, err := io.ReadFull(r, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if read == 0 {
			break
		}
		part, err := objects.UploadPart(ctx, u, n, int64(read), bytes.NewReader(buf[:read]))
		if err != nil {
			return err
		}
		u.Parts = append(u.Parts, part)
	}
	return objects.CompleteUpload(ctx, u)
}

// checkObject reads an object and compares its length and hash.
func checkObject(ctx context.Context, objects deferd.ObjectStore, l deferd.Location, size int64, want hash.Hash) error {
	o, err := objects.Get(ctx, l, deferd.GetObject{})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	got := sha256.New()
	n, err := io.Copy(got, o.Body)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", l, err)
	case n != size:
		return fmt.Errorf("%s has %d bytes, want %d", l, n, size)
	case !bytes.Equal(got.Sum(nil), want.Sum(nil)):
		return fmt.Errorf("%s has other bytes than were sent", l)
	}
	return nil
}

// readAhead reads r while what was read before is stored, up to a part ahead.
// The model gives deferd the same.
func readAhead(r io.Reader) *io.PipeReader {
	out, in := io.Pipe()
	go func() { // ends when out is closed
		b := bufio.NewWriterSize(in, partSize)
		_, err := io.Copy(b, r)
		in.CloseWithError(errors.Join(err, b.Flush()))
	}()
	return out
}

// copyLarge copies an object within an embedded object store, in parts as the
// agent would, in this process.
func (p *plan) copyLarge(ctx context.Context, r *payloadResult) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	objects, err := openObjects(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, objects.Close()) }()
	in := deferd.Location{Bucket: bucket, Key: "in/large"}
	if _, err := upload(ctx, objects, in, r.size); err != nil {
		return err
	}
	begun, cpu := time.Now(), ownCPU()
	o, err := objects.Get(ctx, in, deferd.GetObject{})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	ahead := readAhead(o.Body)
	defer ahead.Close()
	if err := storeParts(ctx, objects, deferd.Location{Bucket: bucket, Key: "out/large"}, ahead); err != nil {
		return err
	}
	r.copied.add(time.Since(begun).Seconds())
	r.copyCPU.add((ownCPU() - cpu).Seconds())
	return nil
}
