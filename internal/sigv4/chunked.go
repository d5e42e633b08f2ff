package sigv4

import (
	"bufio"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// maxTrailer bounds the trailer, of which there is a line or two.
const maxTrailer = 8 << 10

// A chunkReader decodes aws-chunked bodies: chunks of
//
//	SIZE[;chunk-signature=SIGNATURE]\r\n DATA \r\n
//
// the last of them empty and followed by the trailer, if there is one, and an
// empty line.
type chunkReader struct {
	from  *bufio.Reader
	chain *chain // nil where chunks are not signed

	left      int64  // how much data the announced length leaves
	inChunk   int64  // how much of it is in this chunk
	signature string // of this chunk

	withTrailer bool
	announced   map[string]bool // names of the trailer, true once they have come
	trailer     http.Header
}

func (d *chunkReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if d.inChunk == 0 {
		if err := d.next(); err != nil {
			return 0, err
		}
	}
	n, err := d.from.Read(p[:min(int64(len(p)), d.inChunk)])
	if d.chain != nil {
		d.chain.hash.Write(p[:n])
	}
	d.inChunk -= int64(n)
	d.left -= int64(n)
	if err != nil {
		return n, bodyError(err)
	}
	if d.inChunk == 0 {
		err = d.endChunk()
	}
	return n, err
}

// next reads the head of a chunk. After the last one it returns io.EOF.
func (d *chunkReader) next() error {
	line, err := d.line()
	if err != nil {
		return err
	}
	digits, extension, _ := strings.Cut(line, ";")
	size, err := strconv.ParseUint(digits, 16, 63)
	if err != nil || int64(size) > d.left {
		return refuse(IncompleteBody, true)
	}
	d.signature = ""
	if d.chain != nil {
		var ok bool
		if d.signature, ok = strings.CutPrefix(extension, "chunk-signature="); !ok {
			return refuse(IncompleteBody, true)
		}
	}
	d.inChunk = int64(size)
	if size == 0 {
		return d.last()
	}
	return nil
}

// endChunk reads what follows the data of a chunk and checks its signature.
func (d *chunkReader) endChunk() error {
	for _, want := range []byte("\r\n") {
		got, err := d.from.ReadByte()
		if err != nil {
			return bodyError(err)
		}
		if got != want {
			return refuse(IncompleteBody, true)
		}
	}
	if d.chain != nil && !d.chain.chunk(d.signature) {
		return refuse(WrongSignature, true)
	}
	return nil
}

// last reads what follows the head of the last chunk, to the end of the body,
// and returns io.EOF if all is as it was announced.
func (d *chunkReader) last() error {
	if d.left != 0 {
		return refuse(IncompleteBody, true)
	}
	if d.chain != nil && !d.chain.chunk(d.signature) {
		return refuse(WrongSignature, true)
	}
	if err := d.readTrailer(); err != nil {
		return err
	}
	for _, came := range d.announced {
		if !came {
			return refuse(MalformedTrailer, true)
		}
	}
	return d.drain()
}

// readTrailer reads the lines after the last chunk, up to an empty one. The
// signature of a trailer may be set apart by an empty line before it.
func (d *chunkReader) readTrailer() error {
	const trailerSignature = "x-amz-trailer-signature"
	var signed []byte
	for size := 0; ; {
		line, err := d.line()
		if err != nil {
			return err
		}
		if size += len(line) + 1; size > maxTrailer {
			return refuse(MalformedTrailer, true)
		}
		if line == "" {
			if !d.withTrailer || d.chain == nil {
				return nil
			}
			continue // until the signature
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || !d.withTrailer {
			return refuse(MalformedTrailer, true)
		}
		if name == trailerSignature && d.chain != nil {
			d.chain.hash.Write(signed)
			if !d.chain.trailer(value) {
				return refuse(WrongSignature, true)
			}
			return d.endOfTrailer()
		}
		if came, known := d.announced[name]; !known || came || value == "" {
			return refuse(MalformedTrailer, true)
		}
		d.announced[name] = true
		d.trailer[textproto.CanonicalMIMEHeaderKey(name)] = []string{value}
		signed = append(signed, name+":"+value+"\n"...)
	}
}

func (d *chunkReader) endOfTrailer() error {
	if line, err := d.line(); err != nil {
		return err
	} else if line != "" {
		return refuse(MalformedTrailer, true)
	}
	return nil
}

// drain reads to the end of the body. Some clients write more line ends than
// they need; anything else is not a part of what was announced.
func (d *chunkReader) drain() error {
	for range 8 {
		ch, err := d.from.ReadByte()
		switch {
		case err == io.EOF:
			return io.EOF
		case err != nil:
			return bodyError(err)
		case ch != '\r' && ch != '\n':
			return refuse(IncompleteBody, true)
		}
	}
	return refuse(IncompleteBody, true)
}

// line reads a line, without its end.
func (d *chunkReader) line() (string, error) {
	line, err := d.from.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		return "", refuse(IncompleteBody, true)
	}
	if err != nil {
		return "", bodyError(err)
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// trailerNames are the names that x-amz-trailer announces.
func trailerNames(h http.Header) map[string]bool {
	names := make(map[string]bool)
	for _, v := range h.Values("X-Amz-Trailer") {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
				names[name] = false
			}
		}
	}
	return names
}
