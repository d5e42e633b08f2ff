package torture

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"
)

// A Deed is what the model does with a request.
type Deed string

const (
	Echo       Deed = "echo"        // answers 200
	Refuse     Deed = "refuse"      // answers with a status that is an error
	Busy       Deed = "busy"        // asks for patience some times, then answers 200
	Hang       Deed = "hang"        // answers 200 too late
	HangMiddle Deed = "hang-middle" // stops within the answer, for too long
	Garbage    Deed = "garbage"     // answers what is no HTTP
	Early      Deed = "early"       // refuses before it has read the input
	Stuck      Deed = "stuck"       // never answers, and does not notice that nobody waits
	DropBefore Deed = "drop-before" // closes the connection instead of answering
	DropMiddle Deed = "drop-middle" // closes it within the answer
	DropAfter  Deed = "drop-after"  // answers 200, whole, and closes it
	CrashOnce  Deed = "crash-once"  // ends its process, the first time
	Poison     Deed = "poison"      // ends its process each time
)

// Order tells the model what to do. It travels in the custom attributes.
type Order struct {
	Deed    Deed
	Delay   time.Duration // before the answer
	Status  int           // of Refuse, and of the answers of Busy that ask for patience
	Times   int           // how often Busy asks for patience
	Size    int           // at least so many bytes in the answer, if it is no Busy's; -1: none at all
	Chunked bool          // no Content-Length
}

// String writes the order as custom attributes carry it.
func (o Order) String() string {
	v := url.Values{"deed": {string(o.Deed)}}
	if o.Delay > 0 {
		v.Set("delay", o.Delay.String())
	}
	for name, n := range map[string]int{"status": o.Status, "times": o.Times, "size": o.Size} {
		if n != 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	if o.Chunked {
		v.Set("chunked", "1")
	}
	return v.Encode()
}

// ParseOrder reads what String wrote.
func ParseOrder(text string) (o Order, err error) {
	v, err := url.ParseQuery(text)
	if err != nil {
		return o, fmt.Errorf("read order: %w", err)
	}
	o.Deed, o.Chunked = Deed(v.Get("deed")), v.Has("chunked")
	if text := v.Get("delay"); text != "" {
		if o.Delay, err = time.ParseDuration(text); err != nil {
			return o, fmt.Errorf("read order: %w", err)
		}
	}
	for name, n := range map[string]*int{"status": &o.Status, "times": &o.Times, "size": &o.Size} {
		if text := v.Get(name); text != "" {
			if *n, err = strconv.Atoi(text); err != nil {
				return o, fmt.Errorf("read order: %w", err)
			}
		}
	}
	return o, nil
}

// Answers200 reports whether the order ends, if nothing else breaks, in an
// answer that is a success.
func (o Order) Answers200() bool {
	switch o.Deed {
	case Echo, Busy, DropAfter, CrashOnce:
		return true
	}
	return false
}

// answerHead is how a successful answer begins: whose it is, and of which input.
func answerHead(id string, input []byte) []byte {
	sum := sha256.Sum256(input)
	return fmt.Appendf(nil, "torture %s %s %d\n", id, hex.EncodeToString(sum[:]), len(input))
}

// answerBody is the whole successful answer to an input, which model and judge
// make out of nothing but the request.
func answerBody(id string, input []byte, o Order) []byte {
	if o.Size < 0 {
		return nil
	}
	body := answerHead(id, input)
	return pad(body, id, o.Size)
}

// refusalBody is the answer that is an error.
func refusalBody(id string, o Order) []byte {
	return pad(fmt.Appendf(nil, "torture %s refused with %d\n", id, o.Status), id, o.Size)
}

// inputBody is the input of a request.
func inputBody(id string, size int) []byte { return pad(nil, id, max(size, 1)) }

// pad fills b up to size with bytes that follow from the name.
func pad(b []byte, name string, size int) []byte {
	if len(b) >= size {
		return b
	}
	out := make([]byte, size)
	n := copy(out, b)
	seed := sha256.Sum256([]byte(name))
	rand.NewChaCha8(seed).Read(out[n:])
	return out
}
