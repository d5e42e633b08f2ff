package objectserver

import (
	"net/http"
	"strings"
)

// What GetObjectAttributes can be asked for.
const (
	askETag     = "ETag"
	askChecksum = "Checksum"
	askParts    = "ObjectParts"
	askClass    = "StorageClass"
	askSize     = "ObjectSize"
)

type (
	attributesResult struct {
		XMLName      struct{}            `xml:"http://s3.amazonaws.com/doc/2006-03-01/ GetObjectAttributesResponse"`
		ETag         string              `xml:",omitempty"` // without quotes, here alone
		Checksum     *checksumResult     `xml:",omitempty"`
		ObjectParts  *objectPartsElement `xml:",omitempty"`
		StorageClass string              `xml:",omitempty"`
		ObjectSize   *int64              `xml:",omitempty"`
	}
	checksumResult struct {
		checksumElements
		ChecksumType string
	}
	objectPartsElement struct {
		IsTruncated          *bool `xml:",omitempty"`
		MaxParts             *int  `xml:",omitempty"`
		NextPartNumberMarker *int  `xml:",omitempty"`
		PartNumberMarker     *int  `xml:",omitempty"`
		Part                 []objectPart
		PartsCount           int
	}
	objectPart struct {
		PartNumber int
		Size       int64
		checksumElements
	}
)

func (c *call) objectAttributes() error {
	asked, err := askedAttributes(c.r.Header)
	if err != nil {
		return err
	}
	f, err := c.store.find(c.location(), false)
	if err != nil {
		return err
	}
	defer f.release()
	if err := checkRead(c.r.Header, f); err != nil {
		return err
	}
	var res attributesResult
	if asked[askETag] {
		res.ETag = f.etag
	}
	if asked[askChecksum] && len(f.attr.Sums) > 0 {
		res.Checksum = &checksumResult{newChecksumElements(f.attr.Sums), checksumType(f.attr.Full)}
	}
	if asked[askParts] && f.upload() != "" {
		if res.ObjectParts, err = c.objectParts(f); err != nil {
			return err
		}
	}
	if asked[askClass] {
		res.StorageClass = "STANDARD"
	}
	if asked[askSize] {
		res.ObjectSize = &f.size
	}
	c.w.Header().Set("Last-Modified", f.info().Modified.Format(http.TimeFormat))
	return c.writeXML(&res)
}

// askedAttributes reads what is asked for, in one header or several.
func askedAttributes(h http.Header) (map[string]bool, error) {
	asked := map[string]bool{}
	for _, v := range h.Values("X-Amz-Object-Attributes") {
		for name := range strings.SplitSeq(v, ",") {
			switch name = strings.TrimSpace(name); name {
			case askETag, askChecksum, askParts, askClass, askSize:
				asked[name] = true
			default:
				return nil, s3Error(codeInvalidArgument, "Invalid attribute name specified.")
			}
		}
	}
	if len(asked) == 0 {
		return nil, s3Error("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	return asked, nil
}

// objectParts tells the parts of a multipart object. Like S3 it lists them
// only if their checksums were asked for when the upload began.
func (c *call) objectParts(f *found) (*objectPartsElement, error) {
	most, err := limited(c.r.Header.Get("X-Amz-Max-Parts"), "x-amz-max-parts", maxPage)
	if err != nil {
		return nil, err
	}
	marker := 0
	if v := c.r.Header.Get("X-Amz-Part-Number-Marker"); v != "" {
		if marker, err = limited(v, "x-amz-part-number-marker", maxParts); err != nil {
			return nil, err
		}
	}
	files, sums := f.files(), f.attr.PartSums
	res := &objectPartsElement{PartsCount: len(files)}
	if len(sums) != len(files) {
		return res, nil
	}
	first := min(marker, len(files))
	last := min(first+most, len(files))
	truncated := last < len(files)
	res.IsTruncated, res.MaxParts, res.PartNumberMarker, res.NextPartNumberMarker = &truncated, &most, &marker, &last
	for n := first; n < last; n++ {
		res.Part = append(res.Part, objectPart{n + 1, files[n].Size, newChecksumElements(f.partSums(n))})
	}
	return res, nil
}

// partSums returns the checksum of a part, counted from zero; nil if none is
// kept.
func (f *found) partSums(n int) map[string]string {
	if n >= len(f.attr.PartSums) {
		return nil
	}
	for algorithm := range f.attr.Sums { // there is one
		return map[string]string{algorithm: f.attr.PartSums[n]}
	}
	return nil
}
