package objectserver

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// The reflected polynomial of CRC-64/NVME.
const polyNVME = 0x9a6c9329ac4bc9b5

// combines reports whether the checksum of a whole follows from those of its
// parts.
func combines(algorithm string) bool {
	_, _, ok := polynomial(algorithm)
	return ok
}

// polynomial returns a CRC's reflected polynomial and its width in bits.
func polynomial(algorithm string) (poly uint64, width int, ok bool) {
	switch algorithm {
	case algCRC32:
		return crc32.IEEE, 32, true
	case algCRC32C:
		return crc32.Castagnoli, 32, true
	case algCRC64NVME:
		return polyNVME, 64, true
	}
	return 0, 0, false
}

// combineChecksums returns the CRC of parts one after another, in base64; ""
// if one has no CRC.
func combineChecksums(algorithm string, sums []string, sizes []int64) string {
	poly, width, ok := polynomial(algorithm)
	if !ok {
		return ""
	}
	var crc uint64
	for i, s := range sums {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil || len(b) != width/8 {
			return ""
		}
		next := binary.BigEndian.Uint64(append(make([]byte, 8-len(b)), b...))
		crc = combineCRC(poly, width, crc, next, sizes[i])
	}
	b := binary.BigEndian.AppendUint64(nil, crc)
	return base64.StdEncoding.EncodeToString(b[8-width/8:])
}

// combineCRC returns the CRC of a and b together, where b has n bytes: a's CRC
// moves on by n zero bytes, which is a multiplication by x^8n.
func combineCRC(poly uint64, width int, a, b uint64, n int64) uint64 {
	shift := uint64(1) << (width - 1) // the polynomial 1: bits are reflected
	power := shift >> 8               // x^8
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			shift = mulCRC(poly, width, shift, power)
		}
		power = mulCRC(poly, width, power, power)
	}
	return mulCRC(poly, width, a, shift) ^ b
}

// mulCRC multiplies two reflected polynomials modulo a third.
func mulCRC(poly uint64, width int, a, b uint64) uint64 {
	var product uint64
	for i := width - 1; i >= 0; i-- {
		if a>>i&1 == 1 {
			product ^= b
		}
		if b&1 == 1 {
			b = b>>1 ^ poly
		} else {
			b >>= 1
		}
	}
	return product
}
