package objectserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/deferd/deferd"
)

// loadVerb makes this binary the load of the power-loss tests.
const loadVerb = "power-loss-load"

func TestMain(m *testing.M) {
	if len(os.Args) > 3 && os.Args[1] == loadVerb {
		life, err := strconv.Atoi(os.Args[3])
		if err == nil {
			err = runLoad(os.Args[2], life)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A deed is what the load asks of the store. It says so on its output before
// and after, so that a recording knows what the store had promised when.
type deed struct {
	Do      string
	Key     string `json:",omitempty"`
	Size    int    `json:",omitempty"`
	Version int    `json:",omitempty"` // of the key's content
	Upload  string `json:",omitempty"`
	Part    int    `json:",omitempty"`
	ETag    string `json:",omitempty"`
}

const (
	sayBegan   = "began "
	sayEnded   = "ended "
	sayRefused = "refused "
)

// A load is some clients at work.
type load struct {
	*Store
	mu sync.Mutex // guards stdout: a line is said as a whole
}

func (l *load) say(word string, d deed) {
	b, err := json.Marshal(d)
	if err != nil {
		panic(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Println(word + string(b))
}

// do says what it does; f may add to the deed what is known only afterwards.
func (l *load) do(d *deed, f func() error) error {
	l.say(sayBegan, *d)
	err := f()
	if err != nil {
		l.say(sayRefused, *d)
		return err
	}
	l.say(sayEnded, *d)
	return nil
}

// bodyOf is what a version of a key holds.
func bodyOf(key string, version, n int) []byte {
	line := fmt.Sprintf("%s version %d\n", key, version)
	return []byte(strings.Repeat(line, n/len(line)+1)[:n])
}

// loadBucket is where the load's objects are.
const loadBucket = "load"

func place(key string) deferd.Location { return deferd.Location{Bucket: loadBucket, Key: key} }

const (
	clients = 4
	keys    = 10 // of each client
)

// runLoad works on the store below dir until everything is done, and ends as if
// it were killed. Its segments are small, so that there are many and they are
// cleaned.
func runLoad(dir string, life int) error {
	s, err := Open(filepath.Join(dir, "objects"), Options{SegmentSize: 60 << 10})
	if err != nil {
		return err
	}
	l := &load{Store: s}
	ctx := context.Background()
	for range 10 {
		if err = s.CreateBucket(ctx, loadBucket); err == nil || deferd.CodeOf(err) == deferd.Exists {
			break
		}
	}
	if err != nil && deferd.CodeOf(err) != deferd.Exists {
		return err
	}
	l.say(sayEnded, deed{Do: "create"})
	if life > 0 {
		l.look(ctx)
	}
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() { l.work(ctx, c, life, rand.New(rand.NewPCG(uint64(c), uint64(life)))) })
	}
	wg.Wait()
	return nil
}

// look says what is there: nobody may take that back.
func (l *load) look(ctx context.Context) {
	for i := range clients * keys {
		d := deed{Do: "saw", Key: fmt.Sprintf("%d/%d", i/keys, i%keys)}
		body, err := read(ctx, l.Store, d.Key)
		if err != nil && deferd.CodeOf(err) != deferd.NotFound {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		d.Size = len(body)
		if err == nil && len(body) > 0 {
			// Of very short bodies the version cannot be told.
			if _, err := fmt.Sscanf(string(body), d.Key+" version %d\n", &d.Version); err != nil {
				continue
			}
		}
		l.say(sayEnded, d)
	}
}

// work is a client with keys of its own.
func (l *load) work(ctx context.Context, client, life int, random *rand.Rand) {
	for i := range 30 {
		d := deed{Key: fmt.Sprintf("%d/%d", client, random.IntN(keys)), Version: 1000*life + i + 1}
		put := l.Put
		switch n := random.IntN(24); {
		case n == 0:
			l.upload(ctx, d, random)
			continue
		case n < 4:
			d.Do = "delete"
		case n < 6:
			d.Do, d.Size = "put", smallObject+1+random.IntN(50_000)
		default:
			d.Do, d.Size = "put", 30+random.IntN(12_000)
			if n < 12 {
				put = l.putEarly
			}
			if n < 9 {
				// Nobody is told that this one is there.
				l.say(sayBegan, d)
				_ = l.PutEarly(ctx, place(d.Key), deferd.ObjectAttributes{}, bodyOf(d.Key, d.Version, d.Size))
				continue
			}
		}
		// A refusal leaves the key as it was, or, where the disk failed, as it
		// was asked to be.
		_ = l.do(&d, func() error {
			if d.Do == "delete" {
				return l.Delete(ctx, place(d.Key))
			}
			return put(ctx, place(d.Key), deferd.ObjectAttributes{}, bodyOf(d.Key, d.Version, d.Size))
		})
	}
}

// putEarly shows an object, and waits until it is durable.
func (l *load) putEarly(ctx context.Context, at deferd.Location, a deferd.ObjectAttributes, body []byte) error {
	if err := l.PutEarly(ctx, at, a, body); err != nil {
		return err
	}
	return l.AwaitDurable(ctx)
}

// upload makes an object of one or two parts, and aborts or forgets some.
func (l *load) upload(ctx context.Context, d deed, random *rand.Rand) {
	parts := [][]byte{nil}
	if d.Size = 30 + random.IntN(10_000); random.IntN(3) == 0 {
		d.Size += minPart
		parts = append(parts, nil)
	}
	body := bodyOf(d.Key, d.Version, d.Size)
	for i := range parts {
		n := min(len(body), minPart)
		parts[i], body = body[:n], body[n:]
	}
	u := deferd.Upload{Location: place(d.Key)}
	create := d
	create.Do = "create upload"
	if l.do(&create, func() (err error) {
		u.ID, err = l.CreateUpload(ctx, u.Location, deferd.ObjectAttributes{})
		create.Upload = u.ID
		return err
	}) != nil {
		return
	}
	for i, b := range parts {
		p := create
		p.Do, p.Part, p.Size = "part", i+1, len(b)
		err := l.do(&p, func() error {
			part, err := l.UploadPart(ctx, u, p.Part, int64(len(b)), bytes.NewReader(b))
			u.Parts, p.ETag = append(u.Parts, part), part.ETag
			return err
		})
		if err != nil {
			return
		}
	}
	c := create
	switch random.IntN(4) {
	case 0:
		c.Do = "abort"
		_ = l.do(&c, func() error { return l.AbortUpload(ctx, u) })
	case 1: // left alone
	default:
		c.Do = "complete"
		err := errors.New("not tried")
		for i := 0; i < 5 && err != nil; i++ {
			err = l.do(&c, func() error { return l.CompleteUpload(ctx, u) })
		}
	}
}
