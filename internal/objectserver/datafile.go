package objectserver

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// A data file is
//
//	magic    8  "deferdob"
//	version  4
//	reserved 4
//	data
//	trailer     JSON: what the data is
//	length   8  of the data
//	trailer  4  its length
//	checksum 4  CRC-32C of the data
//	check    4  CRC-32C of trailer, lengths and checksum
//	magic    8  "deferdoe"
//
// The log alone says which files count. The trailer lets somebody who has lost
// the log tell what the files are.
const (
	dataMagic   = "deferdob"
	dataEnd     = "deferdoe"
	dataVersion = 1
	dataHeader  = 16
	dataSuffix  = ".dat"
)

// A dataTrailer describes a data file to people.
type dataTrailer struct {
	Bucket string      `json:"bucket"`
	Key    string      `json:"key"`
	Upload string      `json:"upload,omitempty"`
	Part   int         `json:"part,omitempty"`
	Time   int64       `json:"time"`
	Attr   *attributes `json:"attributes,omitempty"`
}

func newFileID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func validFileID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// copyBuffers are what streams pass through. The end of a body that may lie in
// the log is seen within one.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, smallObject+4096); return &b }}

// A dataFile is a data file being written.
type dataFile struct {
	s    *Store
	id   string
	f    *os.File
	size int64
	sum  uint32
}

func (s *Store) createData() (*dataFile, error) {
	id := newFileID()
	f, err := os.OpenFile(s.dataPath(id), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, unavailable(fmt.Errorf("create data file: %w", err))
	}
	d := &dataFile{s: s, id: id, f: f}
	h := binary.LittleEndian.AppendUint32([]byte(dataMagic), dataVersion)
	h = binary.LittleEndian.AppendUint32(h, 0)
	if _, err := s.disk.write(f, h, 0); err != nil {
		d.discard()
		return nil, unavailable(fmt.Errorf("create data file: %w", err))
	}
	return d, nil
}

// Write appends data.
func (d *dataFile) Write(b []byte) (int, error) {
	n, err := d.s.disk.write(d.f, b, dataHeader+d.size)
	d.size += int64(n)
	d.sum = crc32.Update(d.sum, castagnoli, b[:n])
	if err != nil {
		return n, unavailable(fmt.Errorf("write data file: %w", err))
	}
	return n, nil
}

// finish writes the trailer and makes the file durable under its name.
func (d *dataFile) finish(t *dataTrailer) (fileRef, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return fileRef{}, fmt.Errorf("describe data file: %w", err)
	}
	n := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.size))
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, d.sum)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = append(b, dataEnd...)
	_, err = d.s.disk.write(d.f, b, dataHeader+d.size)
	if err == nil {
		err = d.s.disk.sync(d.f)
	}
	if err == nil {
		err = d.f.Close()
	}
	if err == nil {
		err = d.s.disk.syncDir(filepath.Join(d.s.dir, filesDir))
	}
	if err != nil {
		return fileRef{}, unavailable(fmt.Errorf("finish data file: %w", err))
	}
	return fileRef{ID: d.id, Size: d.size}, nil
}

// discard removes the file.
func (d *dataFile) discard() {
	d.f.Close()
	os.Remove(d.s.dataPath(d.id))
}

// A blobReader reads an object that is in files, from an offset on. It holds
// the blob until it is closed.
type blobReader struct {
	s    *Store
	blob *blob
	next int      // index of the file after f
	f    *os.File // nil before the first and between files
	left int64    // in f
	skip int64    // before the first byte that is wanted
	rest int64    // of the whole
}

func (r *blobReader) Read(b []byte) (int, error) {
	if r.rest == 0 {
		return 0, io.EOF
	}
	if err := r.advance(); err != nil {
		return 0, err
	}
	n, err := r.f.Read(b[:min(int64(len(b)), r.left, r.rest)])
	return n, r.account(int64(n), err)
}

// WriteTo lets the kernel copy where w can.
func (r *blobReader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for r.rest > 0 {
		if err := r.advance(); err != nil {
			return total, err
		}
		want := min(r.left, r.rest)
		n, err := io.CopyN(w, r.f, want)
		total += n
		if err = r.account(n, err); err != nil {
			return total, err
		}
	}
	return total, nil
}

// advance makes sure that there is something to read in f.
func (r *blobReader) advance() error {
	for r.left == 0 {
		r.closeFile()
		if r.next == len(r.blob.files) {
			return unavailable(errors.New("object's files are shorter than the object"))
		}
		ref := r.blob.files[r.next]
		r.next++
		if r.skip >= ref.Size {
			r.skip -= ref.Size
			continue
		}
		if err := r.openFile(ref); err != nil {
			return err
		}
	}
	return nil
}

func (r *blobReader) openFile(ref fileRef) error {
	f, err := os.Open(r.s.dataPath(ref.ID))
	if err != nil {
		return unavailable(fmt.Errorf("open data file: %w", err))
	}
	if _, err := f.Seek(dataHeader+r.skip, io.SeekStart); err != nil {
		f.Close()
		return unavailable(fmt.Errorf("read data file: %w", err))
	}
	r.f, r.left, r.skip = f, ref.Size-r.skip, 0
	return nil
}

func (r *blobReader) account(n int64, err error) error {
	r.left -= n
	r.rest -= n
	if err == io.EOF {
		err = unavailable(io.ErrUnexpectedEOF)
	}
	return err
}

func (r *blobReader) closeFile() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
}

// Close gives the blob back.
func (r *blobReader) Close() error {
	r.closeFile()
	if r.blob != nil {
		r.blob.release()
		r.blob = nil
	}
	r.rest = 0
	return nil
}
