package objectserver

import (
	"maps"

	"github.com/deferd/deferd"
)

// attributes are what is kept about an object beside its index entry. They are
// stored as JSON; names are short because there is one set for each object.
type attributes struct {
	Type     string            `json:"t,omitempty"` // Content-Type
	Metadata map[string]string `json:"m,omitempty"` // without x-amz-meta-, in lower case
	Headers  map[string]string `json:"h,omitempty"` // further headers to give back, canonical names
	Sums     map[string]string `json:"s,omitempty"` // checksums in base64, by algorithm
	Full     bool              `json:"f,omitempty"` // the checksum is of the object's bytes, not of its parts' checksums

	Tags []tag `json:"g,omitempty"`

	// PartSums are the checksums of the parts of a multipart object whose upload
	// asked for an algorithm, in order.
	PartSums []string `json:"p,omitempty"`

	// Algorithm is the checksum that an upload's object shall have.
	Algorithm string `json:"c,omitempty"`
}

func (a *attributes) public() deferd.ObjectAttributes {
	return deferd.ObjectAttributes{ContentType: a.Type, Metadata: maps.Clone(a.Metadata)}
}
