package objecttest

import "io"

// A stream is pattern, without the memory.
type stream struct{ at, left int }

func (s *stream) Read(b []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), s.left)
	for i := range b[:n] {
		b[i] = patternByte(s.at + i)
	}
	s.at += n
	s.left -= n
	return n, nil
}

// pattern returns n bytes in which a shift by any block would show.
func pattern(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = patternByte(i)
	}
	return string(b)
}

func patternByte(i int) byte { return byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*17 }
