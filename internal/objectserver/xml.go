package objectserver

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"reflect"
	"strings"
)

// maxDepth is how deep elements may lie in one another; S3's own need six.
const maxDepth = 8

var errXML = errors.New("not what the document may be")

// anyElement is an element of whose content nothing is read.
type anyElement struct{}

// decodeXML reads a document into v, a pointer to a struct. It takes only
// elements that v has fields for: what is not understood is not dropped. There
// are no directives, hence no entities of the sender's own.
func decodeXML(b []byte, v any) error {
	if err := checkXML(b, reflect.TypeOf(v).Elem()); err != nil {
		return s3Error("MalformedXML", "")
	}
	if err := xml.Unmarshal(b, v); err != nil {
		return s3Error("MalformedXML", "")
	}
	return nil
}

// checkXML checks that a document is one element, made of what t knows.
func checkXML(b []byte, t reflect.Type) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	var open []reflect.Type
	roots := 0
	for {
		token, err := d.Token()
		if err == io.EOF && roots == 1 {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.Directive:
			return errXML
		case xml.StartElement:
			if len(open) == 0 {
				roots++
			} else if t = elementType(open[len(open)-1], token.Name.Local); t == nil {
				return errXML
			}
			if open = append(open, t); roots > 1 || len(open) > maxDepth {
				return errXML
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) == 0 && len(bytes.TrimSpace(bytes.TrimPrefix(token, []byte("\ufeff")))) > 0 {
				return errXML
			}
		}
	}
}

// elementType returns the type of an element within one of type t; nil if
// there is none.
func elementType(t reflect.Type, name string) reflect.Type {
	if t = innermost(t); t.Kind() != reflect.Struct {
		return nil
	}
	if t == reflect.TypeFor[anyElement]() {
		return t
	}
	for f := range t.Fields() {
		if f.Anonymous {
			if found := elementType(f.Type, name); found != nil {
				return found
			}
			continue
		}
		known, _, _ := strings.Cut(f.Tag.Get("xml"), ",")
		if known == "" {
			known = f.Name
		}
		if known == name && f.Name != "XMLName" {
			return f.Type
		}
	}
	return nil
}

func innermost(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}
