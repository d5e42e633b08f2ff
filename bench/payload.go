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

// copied is the limit of a large invocation.
const copied = "copy"

// measurePayload sends inputs through a model that sends them back, and checks
// that it did.
func (p *plan) measurePayload(ctx context.Context, r *report) error {
	s := r.section("Payload", "deferd", copied)
	s.about = "One input by S3, echoed, from the request until the output is visible; length and SHA-256 of the output are right. Limit: a copy\n" +
		"within the same object store, in the same parts, in one process. A small one is invoked again and again. Peak memory is that of the server,\n" +
		"its agent included, after the client's upload, the invocations and the client's reading."
	for range p.rounds {
		for _, size := range p.payloads {
			at := megabytes(size)
			if err := p.invokeLarge(ctx, s, at, size); err != nil {
				return fmt.Errorf("%s: %w", at, err)
			}
			if err := p.copyLarge(ctx, s, at, size); err != nil {
				return fmt.Errorf("limit of %s: %w", at, err)
			}
		}
	}
	return nil
}

// megabytes spells a size.
func megabytes(n int64) string {
	if n%(1<<30) == 0 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%.0f MB", float64(n)/1e6)
}

// repeats is how often an input of a size is invoked in a row, so that what is
// measured takes long enough.
func repeats(size int64) int { return int(min(20, max(1, 20_000_000/size))) }

func (p *plan) invokeLarge(ctx context.Context, s *section, at string, size int64) (err error) {
	dir, remove, err := p.scratch()
	if err != nil {
		return err
	}
	defer remove()
	d, err := p.deploy(ctx, dir, 1, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	objects, err := d.objects(ctx)
	if err != nil {
		return err
	}
	mb := func(times int, begun time.Time) float64 {
		return float64(size) / 1e6 * float64(times) / time.Since(begun).Seconds()
	}
	in := deferd.Location{Bucket: bucket, Key: "in/large"}
	begun := time.Now()
	sum, err := upload(ctx, objects, in, size)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	s.figure(at, "upload by a client, MB/s", "%.0f").add("deferd", mb(1, begun))

	profile := p.startProfile(d, "payload", 10*time.Second)
	n := repeats(size)
	cpu, model := cpuOf(d.cmd.Process.Pid)
	begun = time.Now()
	var out deferd.Location
	for range n {
		if out, err = d.invoke(ctx, in); err != nil {
			return err
		}
		if err := awaitOutput(ctx, objects, out, size); err != nil {
			return err
		}
	}
	s.figure(at, "MB/s", "%.0f").chart().add("deferd", mb(n, begun))
	cpuAfter, modelAfter := cpuOf(d.cmd.Process.Pid)
	s.figure(at, "CPU, ms each", "%.0f").add("deferd", milliseconds(cpuAfter-cpu)/float64(n))
	s.figure(at, "CPU of the model, ms each", "%.0f").add("deferd", milliseconds(modelAfter-model)/float64(n))
	begun = time.Now()
	if err := checkObject(ctx, objects, out, size, sum); err != nil {
		return err
	}
	s.figure(at, "read by a client, MB/s", "%.0f").add("deferd", mb(1, begun))
	if peak, err := peakMemory(d.cmd.Process.Pid); err == nil {
		s.figure(at, "peak memory, MB", "%.0f").add("deferd", float64(peak)/1e6)
	}
	return profile()
}

// lookEvery is how often a client looks for the output of an input of so many
// bytes: seldom enough to be no load, and often enough not to be what takes the
// time.
func lookEvery(size int64) time.Duration {
	return min(max(500*time.Microsecond, time.Duration(size>>20)*200*time.Microsecond), 5*time.Millisecond)
}

// awaitOutput waits until the output for an input of so many bytes is visible.
func awaitOutput(ctx context.Context, objects deferd.ObjectStore, out deferd.Location, size int64) error {
	return awaitEvery(ctx, lookEvery(size), "the output", func() (bool, error) {
		_, err := objects.Head(ctx, out)
		if deferd.CodeOf(err) == deferd.NotFound {
			return false, nil
		}
		return err == nil, err
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
func (p *plan) copyLarge(ctx context.Context, s *section, at string, size int64) (err error) {
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
	if _, err := upload(ctx, objects, in, size); err != nil {
		return err
	}
	return p.asServer(func() error {
		n := repeats(size)
		begun, cpu := time.Now(), ownCPU()
		for range n {
			if err := copyOnce(ctx, objects, in); err != nil {
				return err
			}
		}
		s.figure(at, "MB/s", "%.0f").add(copied, float64(size)/1e6*float64(n)/time.Since(begun).Seconds())
		s.figure(at, "CPU, ms each", "%.0f").add(copied, milliseconds(ownCPU()-cpu)/float64(n))
		return nil
	})
}

func copyOnce(ctx context.Context, objects deferd.ObjectStore, in deferd.Location) error {
	o, err := objects.Get(ctx, in, deferd.GetObject{})
	if err != nil {
		return err
	}
	defer o.Body.Close()
	ahead := readAhead(o.Body)
	defer ahead.Close()
	return storeParts(ctx, objects, deferd.Location{Bucket: bucket, Key: "out/large"}, ahead)
}
