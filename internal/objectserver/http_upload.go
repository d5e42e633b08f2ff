package objectserver

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/deferd/deferd"
)

func (c *call) upload() deferd.Upload {
	return deferd.Upload{Location: c.location(), ID: c.query.Get("uploadId")}
}

func (c *call) createUpload() error {
	h := c.r.Header
	if h.Get(copySource) != "" {
		return notImplemented("The header x-amz-copy-source here")
	}
	attr := newAttributes(h)
	var err error
	if attr.Tags, err = c.newTagging(); err != nil {
		return err
	}
	if attr.Algorithm, attr.Full, err = uploadChecksum(h); err != nil {
		return err
	}
	if _, err := c.readBody(); err != nil {
		return err
	}
	id, created, err := c.store.createUpload(c.r.Context(), c.location(), attr)
	if err != nil {
		return err
	}
	setEchoed(c.w.Header(), &attr)
	c.setAbort(c.w.Header(), created)
	if attr.Algorithm != "" {
		c.w.Header().Set("X-Amz-Checksum-Algorithm", strings.ToUpper(attr.Algorithm))
		c.w.Header().Set("X-Amz-Checksum-Type", checksumType(attr.Full))
	}
	return c.writeXML(struct {
		XMLName  struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{Bucket: c.bucket, Key: c.key, UploadID: id})
}

// uploadChecksum reads which checksum the object of an upload shall have, and
// whether it is of the bytes or of the parts' checksums.
func uploadChecksum(h http.Header) (algorithm string, full bool, err error) {
	algorithm = strings.ToLower(h.Get("X-Amz-Checksum-Algorithm"))
	kind := h.Get("X-Amz-Checksum-Type")
	if algorithm == "" {
		if kind != "" {
			return "", false, s3Error("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		return "", true, nil
	}
	if newChecksum(algorithm) == nil {
		return "", false, notImplemented("The checksum algorithm " + algorithm)
	}
	switch kind {
	case "FULL_OBJECT":
		full = true
	case "COMPOSITE":
	case "":
		full = algorithm == algCRC64NVME
	default:
		return "", false, s3Error(codeInvalidArgument, "")
	}
	if full && !combines(algorithm) || !full && algorithm == algCRC64NVME {
		return "", false, s3Error("InvalidRequest", "The "+kind+" checksum type cannot be used with the "+algorithm+" checksum algorithm.")
	}
	return algorithm, full, nil
}

func (c *call) uploadPart() error {
	n, err := strconv.Atoi(c.query.Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return s3Error(codeInvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
	}
	if c.r.Header.Get(copySource) != "" {
		return c.copyPart(n)
	}
	want, err := bodyDigests(c.r.Header, c.body)
	if err != nil {
		return err
	}
	st, err := c.store.uploadPart(c.r.Context(), c.upload(), n, c.body.Length(), c.body, want)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("ETag", quoteETag(st.etag))
	if want.algorithm != "" {
		h.Set(sumPrefix+want.algorithm, st.sums[want.algorithm])
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// checksumElements are the checksums in XML.
type checksumElements struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
}

func (e *checksumElements) sums() map[string]string {
	m := map[string]string{
		algCRC32: e.ChecksumCRC32, algCRC32C: e.ChecksumCRC32C, algCRC64NVME: e.ChecksumCRC64NVME,
		algSHA1: e.ChecksumSHA1, algSHA256: e.ChecksumSHA256,
	}
	maps.DeleteFunc(m, func(_, sum string) bool { return sum == "" })
	return m
}

func newChecksumElements(m map[string]string) checksumElements {
	return checksumElements{m[algCRC32], m[algCRC32C], m[algCRC64NVME], m[algSHA1], m[algSHA256]}
}

type completeResult struct {
	XMLName  struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location string
	Bucket   string
	Key      string
	ETag     string
	checksumElements
	ChecksumType string `xml:",omitempty"`
}

func (c *call) completeUpload() error {
	q, err := c.newComplete()
	if err != nil {
		return err
	}
	st, err := c.store.completeUpload(c.r.Context(), q)
	if err != nil {
		return named(err, q.cond)
	}
	c.setExpiration(c.w.Header(), st.size, st.modified, st.tags)
	res := completeResult{
		Location: "http://" + c.r.Host + c.r.URL.EscapedPath(), Bucket: c.bucket, Key: c.key,
		ETag: quoteETag(st.etag), checksumElements: newChecksumElements(st.sums),
	}
	if len(st.sums) > 0 {
		res.ChecksumType = checksumType(st.full)
	}
	return c.writeXML(&res)
}

type (
	completeDocument struct {
		XMLName struct{}       `xml:"CompleteMultipartUpload"`
		Parts   []completePart `xml:"Part"`
	}
	completePart struct {
		PartNumber int
		ETag       string
		checksumElements
	}
)

// newComplete reads a request to complete an upload.
func (c *call) newComplete() (q completeRequest, err error) {
	var body completeDocument
	q = completeRequest{upload: c.upload(), size: -1}
	if q.cond, err = writeConditions(c.r.Header); err != nil {
		return q, err
	}
	if q.sums, err = c.wholeChecksum(); err != nil {
		return q, err
	}
	if v := c.r.Header.Get("X-Amz-Mp-Object-Size"); v != "" {
		if q.size, err = strconv.ParseInt(v, 10, 64); err != nil {
			return q, s3Error(codeInvalidArgument, "")
		}
	}
	ok, err := c.readXML(&body)
	if err != nil {
		return q, err
	}
	if !ok || len(body.Parts) == 0 {
		return q, s3Error("MalformedXML", "")
	}
	for _, p := range body.Parts {
		q.upload.Parts = append(q.upload.Parts, deferd.Part{Number: p.PartNumber, ETag: p.ETag})
		q.partSums = append(q.partSums, p.sums())
	}
	return q, nil
}

// wholeChecksum reads what a request to complete says of the object's
// checksum. Its body has none of its own.
func (c *call) wholeChecksum() (map[string]string, error) {
	sums := map[string]string{}
	for name, values := range c.r.Header {
		a, ok := checksumOf(name)
		switch {
		case !ok:
		case newChecksum(a) == nil:
			return nil, notImplemented("The checksum algorithm " + a)
		default:
			sums[a] = values[0]
		}
	}
	return sums, nil
}

func (c *call) abortUpload() error {
	if _, err := c.readBody(); err != nil {
		return err
	}
	if err := c.store.abortUpload(c.r.Context(), c.upload()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

type partElement struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	checksumElements
}

type listPartsResult struct {
	XMLName              struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket               string
	Key                  string
	UploadID             string `xml:"UploadId"`
	Initiator            *owner
	Owner                *owner
	StorageClass         string
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	ChecksumAlgorithm    string `xml:",omitempty"`
	ChecksumType         string `xml:",omitempty"`
	Part                 []partElement
}

func (c *call) listParts() error {
	most, err := c.limit("max-parts", maxPage)
	if err != nil {
		return err
	}
	marker, err := c.limit("part-number-marker", maxParts)
	if err != nil {
		return err
	}
	if !c.query.Has("part-number-marker") {
		marker = 0
	}
	u, err := c.store.openUpload(c.upload())
	if err != nil {
		return err
	}
	c.setAbort(c.w.Header(), u.created)
	res := listPartsResult{
		Bucket: c.bucket, Key: c.key, UploadID: u.id, Initiator: c.owner(), Owner: c.owner(),
		StorageClass: "STANDARD", PartNumberMarker: marker, MaxParts: most,
	}
	if u.attr.Algorithm != "" {
		res.ChecksumAlgorithm, res.ChecksumType = strings.ToUpper(u.attr.Algorithm), checksumType(u.attr.Full)
	}
	for _, n := range slices.Sorted(maps.Keys(u.parts)) {
		if n <= marker {
			continue
		}
		if len(res.Part) == most {
			res.IsTruncated = true
			break
		}
		p := u.parts[n]
		res.Part = append(res.Part, partElement{
			n, formatTime(p.modified), quoteETag(p.etag), p.file.Size, newChecksumElements(p.attr.Sums),
		})
		res.NextPartNumberMarker = n
	}
	return c.writeXML(&res)
}

type uploadElement struct {
	Key          string
	UploadID     string `xml:"UploadId"`
	Initiator    *owner
	Owner        *owner
	StorageClass string
	Initiated    string
}

type listUploadsResult struct {
	XMLName            struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          string
	UploadIDMarker     string `xml:"UploadIdMarker"`
	NextKeyMarker      string `xml:",omitempty"`
	NextUploadIDMarker string `xml:"NextUploadIdMarker,omitempty"`
	Prefix             string
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Upload             []uploadElement
}

func (c *call) listUploads() error {
	if c.query.Get("delimiter") != "" {
		return notImplemented("The query parameter \"delimiter\"")
	}
	most, err := c.limit("max-uploads", maxPage)
	if err != nil {
		return err
	}
	encode, err := c.encoding()
	if err != nil {
		return err
	}
	if err := c.store.HeadBucket(c.r.Context(), c.bucket); err != nil {
		return err
	}
	key, id := c.query.Get("key-marker"), c.query.Get("upload-id-marker")
	res := listUploadsResult{
		Bucket: c.bucket, KeyMarker: encode(key), UploadIDMarker: id, Prefix: encode(c.query.Get("prefix")),
		EncodingType: c.query.Get("encoding-type"), MaxUploads: most,
	}
	for _, u := range c.store.uploadsAfter(c.bucket, c.query.Get("prefix"), key, id) {
		if len(res.Upload) == most {
			res.IsTruncated = most > 0
			break
		}
		res.NextKeyMarker, res.NextUploadIDMarker = encode(u.location.Key), u.id
		res.Upload = append(res.Upload, uploadElement{
			encode(u.location.Key), u.id, c.owner(), c.owner(), "STANDARD", formatTime(u.created),
		})
	}
	if !res.IsTruncated {
		res.NextKeyMarker, res.NextUploadIDMarker = "", ""
	}
	return c.writeXML(&res)
}
