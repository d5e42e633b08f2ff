package objectserver

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A byteRange is n bytes from an offset on.
type byteRange struct{ off, n int64 }

// wantedBytes returns what is asked for of the object, and whether that was
// said by a range or a part number.
func (c *call) wantedBytes(f *found) (part byteRange, partial bool, err error) {
	whole := byteRange{0, f.size}
	v := c.r.Header.Get("Range")
	if n := c.query.Get("partNumber"); n != "" {
		if v != "" {
			return whole, false, s3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
		}
		return c.numberedPart(f, n)
	}
	if v == "" {
		return whole, false, nil
	}
	if cond := c.r.Header.Get("If-Range"); cond != "" {
		t, err := http.ParseTime(cond)
		fresh := err == nil && !time.Unix(0, f.modified).Truncate(time.Second).After(t)
		if !fresh && !sameETag(cond, f.etag) {
			return whole, false, nil
		}
	}
	part, ok, err := parseRange(v, f.size)
	if !ok || err != nil {
		return whole, false, err
	}
	return part, true, nil
}

// numberedPart returns the bytes that an object's part has; those of an object
// that was not made of parts are part 1.
func (c *call) numberedPart(f *found, number string) (byteRange, bool, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxParts {
		return byteRange{}, false, s3Error(codeInvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")
	}
	parts := []fileRef{{Size: f.size}}
	if f.upload() != "" {
		parts = f.blob.files
		c.w.Header().Set("X-Amz-Mp-Parts-Count", strconv.Itoa(len(parts)))
	}
	if n > len(parts) {
		return byteRange{}, false, s3Error("InvalidPartNumber", "")
	}
	var off int64
	for _, p := range parts[:n-1] {
		off += p.Size
	}
	part := byteRange{off, parts[n-1].Size}
	return part, part.n > 0, nil
}

func (b byteRange) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(b.off, 10) + "-" + strconv.FormatInt(b.off+b.n-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// parseRange reads a Range header for an object of this size. Several ranges
// and what is not a range at all are ignored: ok is false.
func parseRange(v string, size int64) (r byteRange, ok bool, err error) {
	spec, isBytes := strings.CutPrefix(v, "bytes=")
	from, to, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if !isBytes || !isRange || strings.Contains(spec, ",") {
		return r, false, nil
	}
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	if from == "" {
		n, err := parseOffset(to)
		if err != nil {
			return r, false, nil
		}
		if n == 0 || size == 0 {
			return r, false, rangeError(v, size)
		}
		n = min(n, size)
		return byteRange{size - n, n}, true, nil
	}
	first, err := parseOffset(from)
	if err != nil {
		return r, false, nil
	}
	last := size - 1
	if to != "" {
		if last, err = parseOffset(to); err != nil || last < first {
			return r, false, nil
		}
	}
	if first >= size {
		return r, false, rangeError(v, size)
	}
	last = min(last, size-1)
	return byteRange{first, last - first + 1}, true, nil
}

// parseOffset reads a number. One that is too large is as good as the largest.
func parseOffset(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return math.MaxInt64, nil
	}
	return int64(n), err
}

func rangeError(v string, size int64) error {
	e := s3Error(codeInvalidRange, "")
	e.header = [2]string{"Content-Range", "bytes */" + strconv.FormatInt(size, 10)}
	e.details = []detail{{"RangeRequested", v}, {"ActualObjectSize", strconv.FormatInt(size, 10)}}
	return e
}
