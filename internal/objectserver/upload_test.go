package objectserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/deferd/deferd"
)

// TestManyParts completes an upload of as many parts as there may be. What they
// hold is never read, so it is not there.
func TestManyParts(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	c := newClient(serveTest(t, NewHandler(s, HandlerOptions{})))
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	d := newDigester(digests{algorithm: algSHA256})
	d.Write([]byte("part"))
	var changes []change
	var parts []types.CompletedPart
	for n := range maxParts {
		r := &record{
			Op: opPart, Upload: *up.UploadId, Part: n + 1, Time: 1, ETag: d.etag(), Size: minPart,
			Attr: &attributes{Sums: d.sums()}, Files: []fileRef{{newFileID(), minPart}},
		}
		buf, err := encodeRecord(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		changes = append(changes, change{buf, func(at pos) { s.state.apply(r, at) }})
		parts = append(parts, types.CompletedPart{
			PartNumber: aws.Int32(int32(n + 1)), ETag: aws.String(quoteETag(r.ETag)), ChecksumSHA256: aws.String(d.sums()[algSHA256]),
		})
	}
	if err := s.commit(true, func() ([]change, error) { return changes, nil }); err != nil {
		t.Fatal(err)
	}
	complete := func(parts []types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
		return c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	_, err = complete(append(parts[:maxParts:maxParts], types.CompletedPart{PartNumber: aws.Int32(maxParts + 1), ETag: parts[0].ETag}))
	wantCode(t, "10,001 parts", err, "InvalidArgument")
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(maxParts + 1), Body: strings.NewReader("x")})
	wantCode(t, "part 10,001", err, "InvalidArgument")
	out, err := complete(parts)
	if err != nil || !strings.HasSuffix(*out.ETag, `-10000"`) || !strings.HasSuffix(*out.ChecksumSHA256, "-10000") {
		t.Fatalf("10,000 parts: %+v, %v", out, err)
	}
	head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key, PartNumber: aws.Int32(maxParts)})
	if err != nil || *head.PartsCount != maxParts || *head.ContentLength != minPart {
		t.Errorf("HeadObject of the last part = %+v, %v", head, err)
	}
	attr, err := c.GetObjectAttributes(ctx, &s3.GetObjectAttributesInput{
		Bucket: bucket, Key: key, ObjectAttributes: allAttributes, PartNumberMarker: aws.String("9500"),
	})
	if err != nil || *attr.ObjectSize != maxParts*minPart || len(attr.ObjectParts.Parts) != 500 || *attr.ObjectParts.IsTruncated {
		t.Errorf("GetObjectAttributes = %+v, %v", attr, err)
	}
}

// TestClientComplete completes uploads in all wrong ways, then in the right
// one, twice.
func TestClientComplete(t *testing.T) {
	c := newClient(newServer(t, HandlerOptions{}))
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("k")
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, body := range [][]byte{bytes.Repeat([]byte("a"), minPart), []byte("small"), []byte("end")} {
		n := aws.Int32(int32(i + 1))
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: n, Body: bytes.NewReader(body), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: p.ETag, PartNumber: n, ChecksumCRC32: p.ChecksumCRC32})
	}
	complete := func(parts ...types.CompletedPart) (*s3.CompleteMultipartUploadOutput, error) {
		return c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: bucket, Key: key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
	}
	unquoted := aws.String(strings.Trim(*parts[1].ETag, `"`))
	other := types.CompletedPart{ETag: parts[0].ETag, PartNumber: aws.Int32(2)}
	sum := types.CompletedPart{ETag: parts[1].ETag, PartNumber: aws.Int32(2), ChecksumCRC32: parts[0].ChecksumCRC32}
	for name, test := range map[string]struct {
		parts []types.CompletedPart
		code  string
	}{
		"small part in the middle": {parts, "EntityTooSmall"},
		"out of order":             {[]types.CompletedPart{parts[1], parts[0]}, "InvalidPartOrder"},
		"twice the same":           {[]types.CompletedPart{parts[0], parts[0]}, "InvalidPartOrder"},
		"absent part":              {[]types.CompletedPart{parts[0], {ETag: parts[0].ETag, PartNumber: aws.Int32(9)}}, "InvalidPart"},
		"another ETag":             {[]types.CompletedPart{parts[0], other}, "InvalidPart"},
		"another checksum":         {[]types.CompletedPart{parts[0], sum}, "InvalidPart"},
		"none":                     {nil, "MalformedXML"},
	} {
		_, err := complete(test.parts...)
		wantCode(t, name, err, test.code)
	}
	first, err := complete(parts[0], types.CompletedPart{ETag: unquoted, PartNumber: aws.Int32(2), ChecksumCRC32: parts[1].ChecksumCRC32})
	if err != nil {
		t.Fatal(err)
	}
	again, err := complete(parts[0], parts[1])
	if err != nil {
		t.Fatal(err)
	}
	describe := func(o *s3.CompleteMultipartUploadOutput) string {
		return fmt.Sprint(*o.Bucket, *o.Key, *o.ETag, *o.Location, aws.ToString(o.ChecksumCRC32), o.ChecksumType)
	}
	if describe(first) != describe(again) {
		t.Errorf("completed as %s, then as %s", describe(first), describe(again))
	}
	putString(t, c, "k", "another object")
	replaced, err := complete(parts[0], parts[1])
	if err != nil || *replaced.ETag != *first.ETag {
		t.Errorf("completed again after the object was replaced: %+v, %v; want its ETag", replaced, err)
	}
	_, err = c.UploadPart(ctx, &s3.UploadPartInput{Bucket: bucket, Key: key, UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")})
	wantCode(t, "UploadPart after completing", err, "NoSuchUpload")
	if _, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: up.UploadId}); err == nil {
		t.Error("aborted what was completed")
	}
}

// TestSpaceComesBack deletes small objects while the store serves, and sees
// the directory shrink.
func TestSpaceComesBack(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{SegmentSize: 1 << 20})
	body := strings.Repeat("x", 4<<10)
	fillBucket(t, s, 4000, body)
	full := dirSize(t, dir)
	if full < 16<<20 {
		t.Fatalf("4,000 objects of 4 KiB take %d bytes", full)
	}
	var keys []deleteKey
	for _, k := range keysOf(t, s) {
		if !strings.HasSuffix(k, "7") {
			keys = append(keys, deleteKey{Key: k})
		}
	}
	for _, err := range s.deleteMany(t.Context(), "bucket", keys) {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustPut(t, s, "lasting", "stays")
	waitClean(t, s)
	if left := dirSize(t, dir); left > full/3 {
		t.Errorf("%d bytes of %d are left when a tenth of the objects is", left, full)
	}
	if got := len(keysOf(t, s)); got != 401 {
		t.Errorf("%d objects are left, want 401", got)
	}
	for _, k := range keysOf(t, s) {
		if k != "lasting" && getString(t, s, k) != body {
			t.Errorf("%s has changed", k)
		}
	}
}

// TestUpgrade opens a store that version 1 of the format wrote.
func TestUpgrade(t *testing.T) {
	dir := copyFixture(t, "version1")
	s := openTest(t, dir, Options{SegmentSize: 700})
	check := func(s *Store) {
		t.Helper()
		for key, want := range map[string]string{"plain": "plain body", "described": "with attributes", "replaced": "new", "composite": "part", "whole": "part"} {
			if got := getString(t, s, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		if got := keysOf(t, s); len(got) != 5 {
			t.Errorf("keys %q, want 5", got)
		}
	}
	check(s)
	if b, err := os.ReadFile(filepath.Join(dir, formatFile)); string(b) != formatMagic+formatVersion || err != nil {
		t.Errorf("%s says %q, %v", formatFile, b, err)
	}
	if b, err := s.bucket("elsewhere"); err != nil || b.region != "eu-west-1" || b.tags != nil || b.lifecycle != nil {
		t.Errorf("bucket %+v, %v", b, err)
	}
	info, err := s.Head(t.Context(), at("described"))
	if err != nil || info.ContentType != "text/plain" || info.Metadata["one"] != "1" {
		t.Errorf("Head = %+v, %v", info, err)
	}
	if err := s.setObjectTags(t.Context(), at("composite"), []tag{{"a", "b"}}); err != nil {
		t.Error(err)
	}
	c := newClient(serveTest(t, NewHandler(s, HandlerOptions{})))
	wantTags(t, c, "composite", "a=b")
	attr, err := c.GetObjectAttributes(t.Context(), &s3.GetObjectAttributesInput{Bucket: aws.String("bucket"), Key: aws.String("composite"), ObjectAttributes: allAttributes})
	if err != nil || !strings.HasSuffix(aws.ToString(attr.Checksum.ChecksumSHA256), "-1") || *attr.ObjectParts.TotalPartsCount != 1 {
		t.Errorf("GetObjectAttributes = %+v, %v", attr, err)
	}
	for range 20 {
		mustPut(t, s, "plain", "plain body")
	}
	s.Close()
	s = openTest(t, dir, Options{})
	check(s)
	if f, err := s.find(at("composite"), false); err != nil || !hasTags(f.attr.Tags, []tag{{"a", "b"}}) {
		t.Errorf("after the upgrade: %+v, %v", f, err)
	}
	checkLive(t, s)
}

// TestUpgradeKeepsUploads finds an upload in a store of version 1, on a day
// when it has not expired.
func TestUpgradeKeepsUploads(t *testing.T) {
	dir := copyFixture(t, "version1")
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, dir, Options{})
		synctest.Wait()
		open := s.uploadsAfter("bucket", "", "", "")
		if len(open) != 1 {
			t.Fatalf("%d uploads, want 1", len(open))
		}
		u, err := s.openUpload(deferd.Upload{Location: at("open"), ID: open[0].id})
		if err != nil || len(u.parts) != 1 || u.attr.Algorithm != algCRC32 {
			t.Fatalf("upload %+v, %v", u, err)
		}
		err = s.CompleteUpload(t.Context(), deferd.Upload{Location: at("open"), ID: u.id, Parts: []deferd.Part{{Number: 1, ETag: u.parts[1].etag}}})
		if got := getString(t, s, "open"); got != "part" || err != nil {
			t.Errorf("completed: %q, %v", got, err)
		}
		s.Close()
	})
}

// TestUpgradeFails leaves version 1 where the disk fails.
func TestUpgradeFails(t *testing.T) {
	dir := copyFixture(t, "version1")
	d := newFaultyDisk()
	fail := func(*os.File) error { return errors.New("sync failed") }
	d.onSync.Store(&fail)
	if s, err := Open(dir, Options{disk: &d.disk}); err == nil {
		s.Close()
		t.Error("opened in spite of a failed sync")
	}
	s := openTest(t, dir, Options{})
	if got := getString(t, s, "plain"); got != "plain body" {
		t.Errorf("plain is %q", got)
	}
}
