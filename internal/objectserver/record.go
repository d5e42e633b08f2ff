package objectserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A record in a segment is a header and a payload:
//
//	magic    4  "dRec"
//	length   4  of the payload
//	base     8  the offset up to which the segment was synced before
//	checksum 4  CRC-32C of the payload
//	check    4  CRC-32C of the above, begun with the segment's nonce
//
// and the payload is the length of the JSON (4), the JSON, and the data of a
// small object. All numbers are little endian.
const (
	recordMagic  = "dRec"
	recordHeader = 24
	maxRecord    = 4 << 20 // above 256 KiB of data, and above 10,000 file names
)

// The kinds of records.
const (
	opBucket       = "bucket"
	opDeleteBucket = "delete-bucket"
	opPut          = "put" // with Upload: completes it
	opDelete       = "delete"
	opUpload       = "upload"
	opPart         = "part"
	opAbort        = "abort"
	opDone         = "done" // all that is left of a completed upload whose object has gone
)

// A record is one change, as it is logged.
type record struct {
	Op     string      `json:"op"`
	Bucket string      `json:"b,omitempty"`
	Key    string      `json:"k,omitempty"`
	Time   int64       `json:"t,omitempty"` // Unix nanoseconds
	ETag   string      `json:"e,omitempty"` // without quotes
	Size   int64       `json:"n,omitempty"`
	Attr   *attributes `json:"a,omitempty"`
	Files  []fileRef   `json:"f,omitempty"`
	Upload string      `json:"u,omitempty"`
	Part   int         `json:"p,omitempty"`
	Region string      `json:"r,omitempty"` // a bucket's LocationConstraint
	Tags   []tag       `json:"g,omitempty"` // a bucket's
	Cycle  *lifecycle  `json:"l,omitempty"` // a bucket's
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errTorn = errors.New("no valid record")
)

// encodeRecord returns the record with its data, not yet sealed, and the
// length of its JSON.
func encodeRecord(r *record, data []byte) ([]byte, error) {
	meta, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	n := 4 + len(meta) + len(data)
	if n > maxRecord {
		return nil, fmt.Errorf("encode record: %d bytes are too many", n)
	}
	b := make([]byte, recordHeader, recordHeader+n)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(meta)))
	b = append(b, meta...)
	b = append(b, data...)
	copy(b, recordMagic)
	binary.LittleEndian.PutUint32(b[4:], uint32(n))
	binary.LittleEndian.PutUint32(b[16:], crc32.Checksum(b[recordHeader:], castagnoli))
	return b, nil
}

// sealRecord completes the header of an encoded record for its segment.
func sealRecord(b []byte, base int64, nonce uint32) {
	binary.LittleEndian.PutUint64(b[8:], uint64(base))
	binary.LittleEndian.PutUint32(b[20:], crc32.Update(nonce, castagnoli, b[:20]))
}

// nextRecord reads a record's payload and base, into buf if it is large enough.
// It fails with io.EOF where the log ends, with errTorn if what is there is not
// a whole record, and otherwise as r does.
func nextRecord(r *bufio.Reader, nonce uint32, buf []byte) (payload []byte, base int64, err error) {
	var h [recordHeader]byte
	if _, err := io.ReadFull(r, h[:]); err == io.ErrUnexpectedEOF {
		return nil, 0, errTorn
	} else if err != nil {
		return nil, 0, err
	}
	n, base, ok := parseHeader(h[:], nonce)
	if !ok {
		return nil, 0, errTorn
	}
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	payload = buf[:n]
	if _, err := io.ReadFull(r, payload); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, 0, errTorn
	} else if err != nil {
		return nil, 0, err
	}
	if crc32.Checksum(payload, castagnoli) != binary.LittleEndian.Uint32(h[16:]) {
		return nil, 0, errTorn
	}
	return payload, base, nil
}

func parseHeader(h []byte, nonce uint32) (n, base int64, ok bool) {
	if !bytes.HasPrefix(h, []byte(recordMagic)) ||
		crc32.Update(nonce, castagnoli, h[:20]) != binary.LittleEndian.Uint32(h[20:]) {
		return 0, 0, false
	}
	n = int64(binary.LittleEndian.Uint32(h[4:]))
	base = int64(binary.LittleEndian.Uint64(h[8:]))
	return n, base, n >= 4 && n <= maxRecord && base >= 0
}

// parsePayload takes a payload apart. Its checksum holds, so what cannot be
// read was written by somebody else.
func parsePayload(p []byte) (r *record, metaLen int, err error) {
	meta, err := description(p)
	if err != nil {
		return nil, 0, err
	}
	r = new(record)
	if err := json.Unmarshal(meta, r); err != nil {
		return nil, 0, fmt.Errorf("record's description: %w", err)
	}
	return r, len(meta), r.checkData(p, meta)
}

// description returns the JSON of a payload.
func description(p []byte) ([]byte, error) {
	if len(p) < 4 {
		return nil, errors.New("record is too short")
	}
	n := binary.LittleEndian.Uint32(p)
	if uint64(n) > uint64(len(p)-4) {
		return nil, errors.New("record's description is longer than the record")
	}
	return p[4 : 4+n], nil
}

// checkData checks that a record may have the data that its payload has.
func (r *record) checkData(p, meta []byte) error {
	if data := int64(len(p) - 4 - len(meta)); data > 0 && (r.Op != opPut || r.Files != nil || r.Size != data) {
		return fmt.Errorf("record of kind %q has %d bytes of data", r.Op, data)
	}
	return nil
}

// laterRecord reports whether b, which begins with something that is no
// record at offset off of its segment, contains a record that was written when
// the segment was already synced beyond off.
func laterRecord(b []byte, off int64, nonce uint32) bool {
	for i := 1; i+recordHeader <= len(b); i++ {
		j := bytes.Index(b[i:], []byte(recordMagic))
		if j < 0 {
			return false
		}
		i += j
		if _, base, err := nextRecord(bufio.NewReader(bytes.NewReader(b[i:])), nonce, nil); err == nil && base > off {
			return true
		}
	}
	return false
}
