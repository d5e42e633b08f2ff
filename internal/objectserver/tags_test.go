package objectserver

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// tagging writes tags as the client has them: pairs of keys and values.
func tagging(pairs ...string) *types.Tagging {
	t := &types.Tagging{TagSet: []types.Tag{}}
	for i := 0; i < len(pairs); i += 2 {
		t.TagSet = append(t.TagSet, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
	}
	return t
}

func tagStrings(set []types.Tag) string {
	var all []string
	for _, t := range set {
		all = append(all, *t.Key+"="+*t.Value)
	}
	return strings.Join(all, ",")
}

func wantTags(t *testing.T, c *s3.Client, key, want string) {
	t.Helper()
	out, err := c.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
	if err != nil {
		t.Errorf("GetObjectTagging(%q): %v", key, err)
		return
	}
	if got := tagStrings(out.TagSet); got != want {
		t.Errorf("tags of %q are %q, want %q", key, got, want)
	}
	head, err := c.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key)})
	if err != nil || aws.ToInt32(head.TagCount) != int32(len(out.TagSet)) {
		t.Errorf("HeadObject(%q) = %+v, %v; want a count of %d tags", key, head, err, len(out.TagSet))
	}
}

func TestClientObjectTagging(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket := t.Context(), aws.String("bucket")
	set := func(key string, tags *types.Tagging) error {
		_, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: aws.String(key), Tagging: tags})
		return err
	}
	for _, size := range []int{10, 300 << 10} {
		key := fmt.Sprint("size", size)
		body := bytes.Repeat([]byte("x"), size)
		put, err := c.PutObject(ctx, &s3.PutObjectInput{
			Bucket: bucket, Key: aws.String(key), Body: bytes.NewReader(body), Tagging: aws.String("z=1&a+b=%C3%A9&c="), ContentType: aws.String("a/b"),
		})
		if err != nil {
			t.Fatalf("PutObject: %v", err)
		}
		wantTags(t, c, key, "z=1,a b=é,c=")
		before, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: aws.String(key)})
		if err != nil {
			t.Fatal(err)
		}
		if err := set(key, tagging("new", "tag")); err != nil {
			t.Errorf("PutObjectTagging: %v", err)
		}
		wantTags(t, c, key, "new=tag")
		get, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(get.Body)
		if err != nil || !bytes.Equal(got, body) || *get.ETag != *put.ETag || !get.LastModified.Equal(*before.LastModified) ||
			*get.ContentType != "a/b" || aws.ToInt32(get.TagCount) != 1 {
			t.Errorf("after tagging: %d bytes, %v, %+v", len(got), err, get)
		}
		if _, err := c.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: bucket, Key: aws.String(key)}); err != nil {
			t.Errorf("DeleteObjectTagging: %v", err)
		}
		wantTags(t, c, key, "")
	}
	wantCode(t, "tagging of an absent key", set("absent", tagging("a", "b")), "NoSuchKey")
	_, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: bucket, Key: aws.String("absent")})
	wantCode(t, "GetObjectTagging of an absent key", err, "NoSuchKey")

	refused := []struct {
		name, code string
		tags       *types.Tagging
		header     string
		headerCode string
	}{
		{"system tag", "InvalidTag", tagging("aws:x", "1"), "aws:x=1", "InvalidTag"},
		{"repeated", "InvalidTag", tagging("a", "1", "a", "2"), "a=1&a=2", "InvalidArgument"},
		{"no key", "InvalidTag", tagging("", "1"), "=1", "InvalidTag"},
		{"long key", "InvalidTag", tagging(strings.Repeat("é", 129), "1"), strings.Repeat("k", 129) + "=1", "InvalidTag"},
		{"long value", "InvalidTag", tagging("k", strings.Repeat("v", 257)), "k=" + strings.Repeat("v", 257), "InvalidTag"},
		{"letter", "InvalidTag", tagging("k", "a<b"), "k=a%3Cb", "InvalidTag"},
		{"too many", "BadRequest", tagging(strings.Split("a,,b,,c,,d,,e,,f,,g,,h,,i,,j,,k,", ",")...), "a&b&c&d&e&f&g&h&i&j&k", "BadRequest"},
		{"escape", "", nil, "a=%zz", "InvalidArgument"},
	}
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			if test.tags != nil {
				wantCode(t, "PutObjectTagging", set("size10", test.tags), test.code)
			}
			_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("refused"), Tagging: aws.String(test.header)})
			wantCode(t, "PutObject", err, test.headerCode)
			_, err = c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("refused"), Tagging: aws.String(test.header)})
			wantCode(t, "CreateMultipartUpload", err, test.headerCode)
		})
	}
	if err := set("size10", tagging(strings.Split("a,,b,,c,,d,,e,,f,,g,,h,,i,,j,", ",")...)); err != nil {
		t.Errorf("ten tags: %v", err)
	}
	wantTags(t, c, "size10", "a=,b=,c=,d=,e=,f=,g=,h=,i=,j=")
}

func TestClientTaggingCopyAndUpload(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket := t.Context(), aws.String("bucket")
	if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("from"), Body: strings.NewReader("x"), Tagging: aws.String("b=2&a=1")}); err != nil {
		t.Fatal(err)
	}
	copies := []struct {
		directive types.TaggingDirective
		header    *string
		want      string
	}{
		{"", nil, "b=2,a=1"},
		{types.TaggingDirectiveCopy, nil, "b=2,a=1"},
		{types.TaggingDirectiveReplace, aws.String("c=3"), "c=3"},
		{types.TaggingDirectiveReplace, nil, ""},
	}
	for i, test := range copies {
		key := fmt.Sprint("copy", i)
		_, err := c.CopyObject(ctx, &s3.CopyObjectInput{
			Bucket: bucket, Key: aws.String(key), CopySource: aws.String("bucket/from"), TaggingDirective: test.directive, Tagging: test.header,
		})
		if err != nil {
			t.Errorf("CopyObject: %v", err)
		}
		wantTags(t, c, key, test.want)
	}
	_, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("x"), CopySource: aws.String("bucket/from"), TaggingDirective: "OTHER"})
	wantCode(t, "CopyObject with another directive", err, "InvalidArgument")

	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), Tagging: aws.String("u=1")})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("part")})
	if err != nil {
		t.Fatal(err)
	}
	complete := &s3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: aws.String("parts"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: p.ETag, PartNumber: aws.Int32(1)}}},
	}
	if _, err := c.CompleteMultipartUpload(ctx, complete); err != nil {
		t.Fatal(err)
	}
	wantTags(t, c, "parts", "u=1")
	if _, err := c.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: bucket, Key: aws.String("parts"), Tagging: tagging("later", "")}); err != nil {
		t.Errorf("PutObjectTagging: %v", err)
	}
	wantTags(t, c, "parts", "later=")
	if _, err := c.CompleteMultipartUpload(ctx, complete); err != nil {
		t.Errorf("CompleteMultipartUpload again: %v", err)
	}
	wantTags(t, c, "parts", "later=")
}

func TestClientBucketTagging(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket := t.Context(), aws.String("bucket")
	get := func() (string, error) {
		out, err := c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: bucket})
		if err != nil {
			return "", err
		}
		return tagStrings(out.TagSet), nil
	}
	set := func(tags *types.Tagging) error {
		_, err := c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: bucket, Tagging: tags})
		return err
	}
	_, err := get()
	wantCode(t, "GetBucketTagging of none", err, "NoSuchTagSet")
	if err := set(tagging("team", "a b", "cost", "")); err != nil {
		t.Errorf("PutBucketTagging: %v", err)
	}
	if got, err := get(); got != "team=a b,cost=" || err != nil {
		t.Errorf("bucket's tags are %q, %v", got, err)
	}
	var many []string
	for i := range maxBucketTags + 1 {
		many = append(many, fmt.Sprint("k", i), "v")
	}
	wantCode(t, "51 tags", set(tagging(many...)), "BadRequest")
	wantCode(t, "a system's tag", set(tagging("aws:x", "")), "InvalidTag")
	if _, err := c.DeleteBucketTagging(ctx, &s3.DeleteBucketTaggingInput{Bucket: bucket}); err != nil {
		t.Errorf("DeleteBucketTagging: %v", err)
	}
	_, err = get()
	wantCode(t, "GetBucketTagging after the delete", err, "NoSuchTagSet")
	wantCode(t, "tags of an absent bucket", func() error {
		_, err := c.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: aws.String("absent"), Tagging: tagging("a", "b")})
		return err
	}(), "NoSuchBucket")

	_, err = c.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: aws.String("tagged"), CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: tagging("a", "1").TagSet},
	})
	if err != nil {
		t.Errorf("CreateBucket with tags: %v", err)
	}
	out, err := c.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String("tagged")})
	if err != nil || tagStrings(out.TagSet) != "a=1" {
		t.Errorf("GetBucketTagging = %+v, %v", out, err)
	}
}

// TestTagsLast sets tags of objects and a bucket, cleans the log many times
// over, and opens the store again.
func TestTagsLast(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 4000})
	ctx := t.Context()
	body := map[string]string{"small": "s", "large": strings.Repeat("L", 300<<10), "upload": "part"}
	mustPut(t, s, "small", body["small"])
	mustPut(t, s, "large", body["large"])
	u := deferd.Upload{Location: at("upload")}
	var err error
	if u.ID, err = s.CreateUpload(ctx, u.Location, deferd.ObjectAttributes{}); err != nil {
		t.Fatal(err)
	}
	p, err := s.UploadPart(ctx, u, 1, 4, strings.NewReader("part"))
	if err != nil {
		t.Fatal(err)
	}
	u.Parts = []deferd.Part{p}
	if err := s.CompleteUpload(ctx, u); err != nil {
		t.Fatal(err)
	}
	for key := range body {
		if err := s.setObjectTags(ctx, at(key), []tag{{"key", key}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.setBucketTags(ctx, "bucket", []tag{{"of", "bucket"}}); err != nil {
		t.Fatal(err)
	}
	check := func(what string, s *Store) {
		t.Helper()
		for key, want := range body {
			f, err := s.find(at(key), false)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if diff := cmp.Diff([]tag{{"key", key}}, f.attr.Tags); diff != "" || !f.tagged {
				t.Errorf("%s: tags of %s, in the index %v (-want +got):\n%s", what, key, f.tagged, diff)
			}
			f.release()
			if got := getString(t, s, key); got != want {
				t.Errorf("%s: %s has %d bytes, want %d", what, key, len(got), len(want))
			}
		}
		b, err := s.bucket("bucket")
		if diff := cmp.Diff([]tag{{"of", "bucket"}}, b.tags); diff != "" || err != nil {
			t.Errorf("%s: bucket's tags, %v (-want +got):\n%s", what, err, diff)
		}
		if err := s.CompleteUpload(ctx, u); err != nil {
			t.Errorf("%s: CompleteUpload again: %v", what, err)
		}
	}
	check("set", s)
	for i := range 200 {
		mustPut(t, s, fmt.Sprint("other", i%3), strings.Repeat("x", 200))
	}
	mustPut(t, s, "lasting", "stays")
	waitClean(t, s)
	if oldest(s) < 5 {
		t.Errorf("the oldest segment is number %d: the log was not cleaned", oldest(s))
	}
	check("cleaned", s)
	checkLive(t, s)
	s.Close()
	s = openTest(t, dir, Options{})
	check("reopened", s)
	checkLive(t, s)
	for key := range body {
		if err := s.Delete(ctx, at(key)); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	if files := dataFiles(t, dir); len(files) != 0 {
		t.Errorf("files %q are left after the deletes", files)
	}
}

// TestTagWhileReplaced tags an object while it is replaced: the tags may be
// lost with what they were set on, but never bring it back.
func TestTagWhileReplaced(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SegmentSize: 3000})
	mustPut(t, s, "k", "0")
	const rounds = 200
	var wg sync.WaitGroup
	done := make(chan struct{})
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if err := s.setObjectTags(t.Context(), at("k"), []tag{{"w", fmt.Sprint(w, i)}}); err != nil {
					t.Errorf("tag: %v", err)
					return
				}
			}
		})
	}
	for i := range rounds {
		body := fmt.Sprint("body ", i)
		mustPut(t, s, "k", body)
		if got := getString(t, s, "k"); got != body {
			t.Errorf("after a put of %q: %q", body, got)
		}
	}
	close(done)
	wg.Wait()
}
