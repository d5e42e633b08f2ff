package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// lookInterval is how often it is looked for outcomes.
const lookInterval = 150 * time.Millisecond

// watch looks for outcomes, and at the server's memory, until ctx ends.
func (r *run) watch(ctx context.Context) {
	for sleepUntil(ctx, time.Now().Add(lookInterval)) {
		r.weigh()
		r.look(ctx)
	}
}

// look lists all outcome objects and notes what is new, what has changed and
// what has gone. It reports whether the server let it.
func (r *run) look(ctx context.Context) bool {
	r.looking.Lock()
	defer r.looking.Unlock()
	begin := time.Now()
	known := map[string]bool{} // when the listing began
	r.edit(func() {
		for key, o := range r.objects {
			known[key] = o.taken.IsZero()
		}
	})
	found := map[string]Seen{}
	for _, prefix := range []string{"out/", "failed/"} {
		if err := r.list(ctx, prefix, found); err != nil {
			return false
		}
	}
	if !r.follow(ctx, found) {
		return false
	}
	now := time.Now()
	r.edit(func() {
		for key, s := range found {
			r.noteObject(key, s, begin, now)
		}
	})
	for key, there := range known {
		if _, ok := found[key]; there && !ok && r.hasGone(ctx, key) {
			r.edit(func() {
				if o := r.objects[key]; o != nil && o.taken.IsZero() && o.Changed == "" {
					o.Changed = "was gone"
				}
			})
		}
	}
	return true
}

// noteObject takes in an object of a listing that was made from begin to now.
// The caller holds mu.
func (r *run) noteObject(key string, s Seen, begin, now time.Time) {
	o := r.objects[key]
	switch {
	case o == nil:
		s.First = now
		r.objects[key] = &object{Seen: s}
	case !o.gone.IsZero() && o.gone.Before(begin):
		r.record(Broken{Promise: 3, What: fmt.Sprintf("the object %s is there again after its client has taken it away", key)})
		o.gone = time.Time{} // said once
	case o.taken.IsZero() && o.Changed == "" && r.contests[key] == nil && (o.ETag != s.ETag || !o.Modified.Equal(s.Modified) || o.Size != s.Size):
		o.Changed = fmt.Sprintf("had changed: %d bytes of %s became %d of %s", o.Size, o.Modified, s.Size, s.Modified)
	}
}

func (r *run) list(ctx context.Context, prefix string, into map[string]Seen) error {
	pages := s3.NewListObjectsV2Paginator(r.out.s3, &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, o := range page.Contents {
			into[*o.Key] = Seen{Key: *o.Key, ETag: aws.ToString(o.ETag), Modified: aws.ToTime(o.LastModified), Size: aws.ToInt64(o.Size)}
		}
	}
	return nil
}

// hasGone reports whether S3 says that there is no such object.
func (r *run) hasGone(ctx context.Context, key string) bool {
	_, err := r.out.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucket), Key: &key})
	e, ok := errors.AsType[*awshttp.ResponseError](err)
	return ok && e.HTTPStatusCode() == http.StatusNotFound
}

// read reads an object whole.
func (r *run) read(ctx context.Context, o *Seen) error {
	out, err := r.out.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: &o.Key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, out.Body); err != nil {
		return err
	}
	meta := map[string]string{}
	for name, value := range maps.All(out.Metadata) {
		meta[strings.ToLower(name)] = value
	}
	o.ETag, o.Body, o.Mark, o.Noted = aws.ToString(out.ETag), b.Bytes(), meta["deferd-invocation"], meta["custom-attributes"]
	return nil
}

// take deletes an object that is judged, as a client that has read it does.
func (r *run) take(ctx context.Context, key string) {
	r.edit(func() {
		if o := r.objects[key]; o != nil {
			o.taken = time.Now()
		}
	})
	_, err := r.out.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucket), Key: &key})
	if err == nil {
		r.edit(func() {
			if o := r.objects[key]; o != nil {
				o.gone, o.Body = time.Now(), nil
			}
		})
	}
}

// An upload is what is staged and neither completed nor aborted.
type upload struct {
	key   string
	begun time.Time
}

func (r *run) openUploads(ctx context.Context) ([]upload, error) {
	out, err := r.out.s3.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String(bucket)})
	if err != nil {
		return nil, err
	}
	var open []upload
	r.edit(func() {
		for _, u := range out.Uploads {
			// What was begun while a store lost answers, or just before the
			// server's end, may be known to nobody but the bucket.
			begun := aws.ToTime(u.Initiated)
			from, until := begun.Add(-time.Second), begun.Add(time.Second)
			if !r.storms.stormy(from, until) && r.storms.serverEnds(from, until) == 0 {
				open = append(open, upload{aws.ToString(u.Key), begun})
			}
		}
	})
	return open, nil
}
