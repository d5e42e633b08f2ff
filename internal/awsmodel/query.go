package awsmodel

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DecodeQuery is Decode for a request of the query protocol. Its lists are
// numbered, from whatever number on, below "member".
func DecodeQuery(values url.Values, v any) error {
	root := node{}
	for key := range values {
		if err := root.put(key, values.Get(key)); err != nil {
			return err
		}
	}
	return assignNode(reflect.ValueOf(v).Elem(), &root)
}

// A node is a parameter with the parameters below it.
type node struct {
	value string
	set   bool // there is a value
	below map[string]*node
}

func (n *node) put(key, value string) error {
	names := strings.SplitN(key, ".", maxDepth+1)
	if len(names) > maxDepth {
		return serializationErrorf("The parameter %.100s is nested too deep.", key)
	}
	for _, name := range names {
		if n.below == nil {
			n.below = map[string]*node{}
		}
		if n.below[name] == nil {
			n.below[name] = &node{}
		}
		n = n.below[name]
	}
	n.value, n.set = value, true
	return nil
}

// assignNode stores a parameter in dst.
func assignNode(dst reflect.Value, n *node) error {
	if n == nil {
		return nil
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		if err := assignNode(p.Elem(), n); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	}
	switch {
	case dst.Type() == timestampType:
		return assignTime(dst, n.value)
	case dst.Kind() == reflect.Struct:
		for i := range dst.NumField() {
			if err := assignNode(dst.Field(i), n.below[memberName(dst.Type().Field(i))]); err != nil {
				return err
			}
		}
		return nil
	case dst.Kind() == reflect.Slice:
		return assignMembers(dst, n.below["member"])
	}
	return assignText(dst, n)
}

// assignMembers stores the numbered parameters below "member"; an empty list
// comes without any.
func assignMembers(dst reflect.Value, members *node) error {
	if members == nil {
		dst.Set(reflect.MakeSlice(dst.Type(), 0, 0))
		return nil
	}
	var numbers []int
	for name := range members.below {
		n, err := strconv.Atoi(name)
		if err != nil {
			return serializationErrorf("The parameter %.100s is not numbered.", name)
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	list := reflect.MakeSlice(dst.Type(), len(numbers), len(numbers))
	for i, n := range numbers {
		if err := assignNode(list.Index(i), members.below[strconv.Itoa(n)]); err != nil {
			return err
		}
	}
	dst.Set(list)
	return nil
}

func assignText(dst reflect.Value, n *node) error {
	if !n.set {
		return serializationErrorf("Start of structure or map found where not expected.")
	}
	switch {
	case dst.Kind() == reflect.String:
		dst.SetString(n.value)
	case dst.Kind() == reflect.Bool:
		b, err := strconv.ParseBool(n.value)
		if err != nil {
			return serializationErrorf("%.100q can not be converted to a Boolean", n.value)
		}
		dst.SetBool(b)
	case dst.CanInt(), dst.CanFloat():
		if _, err := strconv.ParseFloat(n.value, 64); err != nil {
			return serializationErrorf("%.100q can not be converted to a number", n.value)
		}
		return assign(dst, json.Number(n.value))
	default:
		return mismatch("STRING_VALUE", dst)
	}
	return nil
}

// assignTime reads a time as the query protocol writes it, or as seconds.
func assignTime(dst reflect.Value, text string) error {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			dst.Set(reflect.ValueOf(Timestamp{t.UTC().Round(time.Millisecond)}))
			return nil
		}
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return assign(dst, json.Number(text))
	}
	return serializationErrorf("%.100q can not be converted to a Timestamp", text)
}

// EncodeQuery writes the answer to an operation of the query protocol: the
// result, if the operation has one, and the request's ID.
func EncodeQuery(namespace, operation string, result any, requestID string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>", operation, namespace)
	if result != nil {
		writeElement(&b, operation+"Result", reflect.ValueOf(result))
	}
	b.WriteString("<ResponseMetadata><RequestId>")
	xml.EscapeText(&b, []byte(requestID))
	fmt.Fprintf(&b, "</RequestId></ResponseMetadata></%sResponse>", operation)
	return b.Bytes()
}

// writeElement writes a member of an answer; what is absent has no element.
func writeElement(b *bytes.Buffer, name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			writeElement(b, name, v.Elem())
		}
		return
	case reflect.Slice, reflect.Map:
		if v.IsNil() {
			return
		}
	}
	b.WriteString("<" + name + ">")
	switch {
	case v.Type() == timestampType:
		b.WriteString(v.Interface().(Timestamp).UTC().Format("2006-01-02T15:04:05.000Z"))
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			writeElement(b, memberName(v.Type().Field(i)), v.Field(i))
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			writeElement(b, "member", v.Index(i))
		}
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			b.WriteString("<entry>")
			writeElement(b, "key", key)
			writeElement(b, "value", v.MapIndex(key))
			b.WriteString("</entry>")
		}
	case v.CanFloat():
		b.WriteString(strconv.FormatFloat(v.Float(), 'f', -1, 64))
	default:
		xml.EscapeText(b, fmt.Append(nil, v.Interface()))
	}
	b.WriteString("</" + name + ">")
}

// memberName is AWS's name of a member.
func memberName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}
