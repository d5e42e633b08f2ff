package awsmodel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A SerializationError says that a request is not of the form that its
// operation has.
type SerializationError struct{ Msg string }

func (e *SerializationError) Error() string { return e.Msg }

func serializationErrorf(format string, args ...any) error {
	return &SerializationError{fmt.Sprintf(format, args...)}
}

// Decode reads a JSON request into v, which points to an input of this package.
// Unlike encoding/json it tells names apart by case, as AWS does. Members that
// v does not know are ignored and null counts as absent. An empty body is an
// empty request.
func Decode(data []byte, v any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if !utf8.Valid(data) { // encoding/json would replace what is not
		return serializationErrorf("The request is not valid UTF-8.")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return serializationErrorf("The request is not valid JSON.")
	}
	if _, err := d.Token(); err != io.EOF {
		return serializationErrorf("There is more than one JSON value in the request.")
	}
	if _, ok := tree.(map[string]any); !ok {
		return serializationErrorf("The request is not a JSON object.")
	}
	return assign(reflect.ValueOf(v).Elem(), tree)
}

var timestampType = reflect.TypeFor[Timestamp]()

// assign stores a JSON value, as encoding/json reads it into an any, in dst.
func assign(dst reflect.Value, src any) error {
	if src == nil {
		return nil
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		if err := assign(p.Elem(), src); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	}
	switch src := src.(type) {
	case int64, uint64, float64: // of CBOR
		return assignNumber(dst, json.Number(fmt.Sprint(src)))
	case time.Time:
		if dst.Type() != timestampType {
			return mismatch("TIMESTAMP_VALUE", dst)
		}
		dst.Set(reflect.ValueOf(Timestamp{src.UTC().Round(time.Millisecond)}))
	case []byte:
		return mismatch("BLOB_VALUE", dst)
	case map[string]any:
		return assignObject(dst, src)
	case []any:
		return assignList(dst, src)
	case json.Number:
		return assignNumber(dst, src)
	case string:
		if dst.Kind() != reflect.String {
			return mismatch("STRING_VALUE", dst)
		}
		dst.SetString(src)
	case bool:
		if dst.Kind() != reflect.Bool {
			return mismatch("BOOLEAN_VALUE", dst)
		}
		dst.SetBool(src)
	}
	return nil
}

func assignObject(dst reflect.Value, src map[string]any) error {
	switch {
	case dst.Type() == timestampType:
	case dst.Kind() == reflect.Struct:
		for i := range dst.NumField() {
			if err := assign(dst.Field(i), src[memberName(dst.Type().Field(i))]); err != nil {
				return err
			}
		}
		return nil
	case dst.Kind() == reflect.Map:
		m := reflect.MakeMapWithSize(dst.Type(), len(src))
		for name, value := range src {
			item := reflect.New(dst.Type().Elem()).Elem()
			if err := assign(item, value); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(name), item)
		}
		dst.Set(m)
		return nil
	}
	return serializationErrorf("Start of structure or map found where not expected.")
}

func assignList(dst reflect.Value, src []any) error {
	if dst.Kind() != reflect.Slice {
		return serializationErrorf("Start of list found where not expected.")
	}
	list := reflect.MakeSlice(dst.Type(), len(src), len(src))
	for i, value := range src {
		if err := assign(list.Index(i), value); err != nil {
			return err
		}
	}
	dst.Set(list)
	return nil
}

func assignNumber(dst reflect.Value, src json.Number) error {
	f, err := src.Float64()
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return serializationErrorf("The number %s is out of range.", src)
	}
	switch {
	case dst.Kind() == reflect.Int64:
		n, err := strconv.ParseInt(src.String(), 10, 64)
		if err != nil {
			return serializationErrorf("The number %s is not a 64-bit integer.", src)
		}
		dst.SetInt(n)
	case dst.CanInt():
		if f != math.Trunc(f) || f < math.MinInt32 || f > math.MaxInt32 {
			return serializationErrorf("The number %s is not a 32-bit integer.", src)
		}
		dst.SetInt(int64(f))
	case dst.CanFloat():
		if dst.OverflowFloat(f) {
			return serializationErrorf("The number %s is out of range.", src)
		}
		dst.SetFloat(f)
	case dst.Type() == timestampType:
		if math.Abs(f) > maxTimestamp {
			return serializationErrorf("The number %s is out of range.", src)
		}
		dst.Set(reflect.ValueOf(timestampOf(f)))
	default:
		return mismatch("NUMBER_VALUE", dst)
	}
	return nil
}

// maxTimestamp is the end of the year 9999, in seconds.
var maxTimestamp = float64(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix())

func mismatch(found string, dst reflect.Value) error {
	wanted := map[reflect.Kind]string{
		reflect.String: "a String", reflect.Bool: "a Boolean", reflect.Int32: "an Integer", reflect.Int64: "a Long", reflect.Float32: "a Float", reflect.Float64: "a Double",
		reflect.Slice: "a List", reflect.Map: "a Map", reflect.Struct: "a Structure",
	}[dst.Kind()]
	if dst.Type() == timestampType {
		wanted = "a Timestamp"
	}
	return serializationErrorf("%s can not be converted to %s", found, wanted)
}

// A restDecoder reads the members of a request that travel in its path and
// headers. The first error stays.
type restDecoder struct {
	r   *http.Request
	err error
}

// label is what stands in the path where the template has its braces.
func (d *restDecoder) label(template string) *string {
	prefix, rest, _ := strings.Cut(template, "{")
	_, suffix, _ := strings.Cut(rest, "}")
	path := d.r.URL.EscapedPath()
	if len(path) < len(prefix)+len(suffix) || !strings.HasPrefix(path, prefix) || !strings.HasSuffix(path, suffix) {
		return nil
	}
	label, err := url.PathUnescape(path[len(prefix) : len(path)-len(suffix)])
	if err != nil {
		d.err = serializationErrorf("The path %s is not well formed.", path)
		return nil
	}
	return &label
}

// header is a header's value, as it was signed: repeated ones joined by commas.
// A header that is there but empty counts where the shape has a minimal length.
func (d *restDecoder) header(name string, k *constraint) *string {
	values := d.r.Header.Values(name)
	if len(values) == 0 {
		return nil
	}
	v := strings.Join(values, ",")
	if v == "" && k.min.n == 0 {
		return nil
	}
	return &v
}

func (d *restDecoder) integer(name string) *int32 {
	v := d.header(name, &constraint{})
	if v == nil {
		return nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(*v), 10, 32)
	if err != nil {
		d.err = serializationErrorf("The value of header %s is not an integer.", name)
		return nil
	}
	i := int32(n)
	return &i
}

// payload is the body. An empty one cannot be told from none, and is what the
// operation wants of the two.
func payload(body []byte, required bool) []byte {
	if len(body) > 0 {
		return body
	}
	if required {
		return []byte{}
	}
	return nil
}
