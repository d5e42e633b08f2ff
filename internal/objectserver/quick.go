package objectserver

import (
	"bytes"
	"strconv"
)

// quickPut reads the description of a record into r, if it is that of a small
// object without tags, and of no unusual name. Such are most of a large log,
// and the index needs little of them: a start spends on them a fraction of what
// a JSON decoder would take. It knows how encodeRecord writes; what is written
// in any other way it leaves to the decoder, and so ok is false. Of attributes
// it tells only that there are some.
func quickPut(meta []byte, r *record, intern func([]byte) string) (ok bool) {
	s := scanner{meta, true}
	s.literal(`{"op":"put","b":"`)
	bucket := s.text()
	s.literal(`,"k":"`)
	key := s.text()
	s.literal(`,"t":`)
	time := s.number()
	s.literal(`,"e":"`)
	etag := s.text()
	var size int64
	if bytes.HasPrefix(s.rest, []byte(`,"n":`)) {
		s.literal(`,"n":`)
		size = s.number()
	}
	s.literal(`,"a":{`)
	// Quotes within strings are escaped, so these are names of members, and
	// lists have none but tags and files.
	if !s.ok || bytes.Contains(s.rest, []byte(`"g":[`)) || bytes.Contains(s.rest, []byte(`"f":[`)) {
		return false
	}
	*r = record{
		Op: opPut, Bucket: intern(bucket), Key: string(key), Time: time, ETag: string(etag), Size: size, Attr: r.Attr,
	}
	if r.Attr == nil {
		r.Attr = new(attributes)
	}
	return true
}

// A scanner reads what it expects, or is not ok any more.
type scanner struct {
	rest []byte
	ok   bool
}

func (s *scanner) literal(want string) {
	if s.ok = s.ok && bytes.HasPrefix(s.rest, []byte(want)); s.ok {
		s.rest = s.rest[len(want):]
	}
}

// text reads to the end of a string that has no escapes.
func (s *scanner) text() []byte {
	i := bytes.IndexByte(s.rest, '"')
	if !s.ok || i < 0 || bytes.IndexByte(s.rest[:i], '\\') >= 0 {
		s.ok = false
		return nil
	}
	b := s.rest[:i]
	s.rest = s.rest[i+1:]
	return b
}

func (s *scanner) number() int64 {
	i := 0
	for i < len(s.rest) && s.rest[i] >= '0' && s.rest[i] <= '9' {
		i++
	}
	n, err := strconv.ParseInt(string(s.rest[:i]), 10, 64)
	s.ok = s.ok && err == nil
	s.rest = s.rest[i:]
	return n
}
