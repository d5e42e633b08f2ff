package awsmodel

import (
	"reflect"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// maxDepth is deeper than any request of AWS's.
const maxDepth = 16

var cborDecoder = sync.OnceValues(func() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:       cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels: maxDepth,
		DefaultMapType:  reflect.TypeFor[map[string]any](),
		UTF8:            cbor.UTF8RejectInvalid,
		NaN:             cbor.NaNDecodeForbidden,
		Inf:             cbor.InfDecodeForbidden,
	}.DecMode()
})

// DecodeCBOR is Decode for a request of the protocol RPC v2 CBOR.
func DecodeCBOR(data []byte, v any) error {
	if len(data) == 0 {
		return nil
	}
	mode, err := cborDecoder()
	if err != nil {
		return err
	}
	var tree any
	if err := mode.Unmarshal(data, &tree); err != nil {
		return serializationErrorf("The request is not valid CBOR.")
	}
	if _, ok := tree.(map[string]any); !ok {
		return serializationErrorf("The request is not a CBOR map.")
	}
	return assign(reflect.ValueOf(v).Elem(), tree)
}

// EncodeCBOR writes an answer, or an error, of the protocol RPC v2 CBOR.
func EncodeCBOR(v any) ([]byte, error) { return cbor.Marshal(v) }

// MarshalCBOR writes t as a time of CBOR: seconds since the epoch, under tag 1.
func (t Timestamp) MarshalCBOR() ([]byte, error) {
	return cbor.Marshal(cbor.Tag{Number: 1, Content: float64(t.UnixMilli()) / 1000})
}
