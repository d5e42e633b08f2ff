package agent

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// faulty reads from r and fails with err after n bytes; without an err it hangs
// there until ctx ends.
type faulty struct {
	ctx context.Context
	r   io.Reader
	n   int
	err error
}

// faultyBody is the faulty reader of an object, which needs the context of the
// call that opened it.
func faultyBody(o *deferd.Object) (*faulty, bool) {
	if o == nil {
		return nil, false
	}
	b, ok := o.Body.(body)
	if !ok {
		return nil, false
	}
	f, ok := b.Reader.(*faulty)
	return f, ok
}

// A body is a reader that needs no closing.
type body struct{ io.Reader }

func (body) Close() error { return nil }

func (f *faulty) Read(p []byte) (int, error) {
	if f.n == 0 && f.err != nil {
		return 0, f.err
	}
	if f.n == 0 {
		<-f.ctx.Done()
		return 0, f.ctx.Err()
	}
	n, err := f.r.Read(p[:min(len(p), f.n)])
	f.n -= n
	return n, err
}

func TestInputIsResumed(t *testing.T) {
	tests := []struct {
		name  string
		fault faulty // of each opened object
		spent time.Duration
	}{
		{name: "broken off", fault: faulty{n: 300_000, err: io.ErrUnexpectedEOF}},
		{name: "ends early", fault: faulty{n: 300_000, err: io.EOF}},
		{name: "silent", fault: faulty{n: 300_000}, spent: 3 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				input := string(pattern(1_000_000))
				var got atomic.Pointer[string]
				b := start(t, func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil {
						panic(http.ErrAbortHandler)
					}
					s := string(body)
					got.Store(&s)
				}, func(b *bench, _ *Config) {
					b.work.input = input
					b.work.onInput = func(n int, g deferd.GetObject) (*deferd.Object, error) {
						f := tt.fault
						f.r = strings.NewReader(input[g.Offset:])
						return b.work.object(&f), nil
					}
				})
				b.work.add(deferd.Lease{Timeout: 5 * time.Second})
				if r := heard(b).Reason; r != deferd.ModelOK {
					t.Fatalf("reason %s, want %s: the clock does not run while S3 is waited for", r, deferd.ModelOK)
				}
				if s := got.Load(); *s != input {
					t.Errorf("the model saw %d bytes that are not the input's %d", len(*s), len(input))
				}
				want := []deferd.GetObject{{}, {Offset: 300_000, IfMatch: "etag"}, {Offset: 600_000, IfMatch: "etag"}, {Offset: 900_000, IfMatch: "etag"}}
				if diff := cmp.Diff(want, b.work.seen().inputs); diff != "" {
					t.Errorf("opened (-want +got):\n%s", diff)
				}
				if got := s0(b).Times; got.Download < tt.spent || got.Model > time.Second {
					t.Errorf("times %+v, want the wait of %s to be the download's", got, tt.spent)
				}
			})
		})
	}
}

// TestInputIsGivenUp breaks requests off: the model never sees the end of one,
// and the reason is the input's, not the model's.
func TestInputIsGivenUp(t *testing.T) {
	tests := []struct {
		name  string
		again error // what opening it again meets; nil: an object that brings nothing
		opens int
		want  said
	}{
		{name: "unavailable", again: deferd.Errorf(deferd.Unavailable, "SlowDown"), opens: 5, want: said{Reason: deferd.DownloadLost, Message: "ClientError: SlowDown"}},
		{name: "opens but brings nothing", opens: 5, want: said{Reason: deferd.DownloadLost, Message: "ClientError: The input object cannot be read to its end."}},
		{
			name: "replaced meanwhile", again: deferd.Errorf(deferd.Changed, "PreconditionFailed"), opens: 2,
			want: said{Reason: deferd.DownloadLost, Message: "ClientError: The input object was replaced while it was read."},
		},
		{
			name: "deleted meanwhile", again: deferd.Errorf(deferd.NotFound, "NoSuchKey"), opens: 2,
			want: said{
				Reason: deferd.Download, State: deferd.Failed, Message: "ClientError: NoSuchKey",
				Type: "text/plain; charset=utf-8", Body: "ClientError: NoSuchKey",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var whole atomic.Bool
				b := start(t, func(w http.ResponseWriter, r *http.Request) {
					if _, err := io.Copy(io.Discard, r.Body); err == nil {
						whole.Store(true)
					}
				}, func(b *bench, _ *Config) {
					b.work.onInput = func(n int, g deferd.GetObject) (*deferd.Object, error) {
						if n == 1 {
							return b.work.object(&faulty{n: 4, r: strings.NewReader(b.work.input), err: io.EOF}), nil
						}
						if tt.again != nil {
							return nil, tt.again
						}
						return b.work.object(&faulty{err: io.ErrUnexpectedEOF}), nil
					}
				})
				b.work.add(deferd.Lease{})
				if diff := cmp.Diff(tt.want, heard(b)); diff != "" {
					t.Errorf("the server heard (-want +got):\n%s", diff)
				}
				after(time.Minute)
				if whole.Load() {
					t.Error("the model saw a request that ended")
				}
				if got := len(b.work.seen().inputs); got != tt.opens {
					t.Errorf("opened %d times, want %d", got, tt.opens)
				}
				if got := b.agent.Busy(); got != 0 {
					t.Errorf("busy %d, want 0", got)
				}
			})
		})
	}
}

// TestInstanceGoneDuringInput: an instance that goes is to blame, not the
// input that was on its way.
func TestInstanceGoneDuringInput(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) {
			b.work.onInput = func(n int, g deferd.GetObject) (*deferd.Object, error) {
				return b.work.object(&faulty{n: 4, r: strings.NewReader(b.work.input)}), nil
			}
		})
		b.work.add(deferd.Lease{})
		after(10 * time.Second)
		close(b.gone)
		if got := heard(b).Reason; got != deferd.InstanceLost {
			t.Errorf("reason %s, want %s", got, deferd.InstanceLost)
		}
		if err := b.wait(); !errors.Is(err, ErrGone) {
			t.Errorf("Run returned %v, want ErrGone", err)
		}
	})
}

// TestLeaseLostBeforeTheModel: while nothing has reached the container, a lost
// lease frees the slot at once.
func TestLeaseLostBeforeTheModel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, echo, func(b *bench, _ *Config) {
			b.work.onInput = func(int, deferd.GetObject) (*deferd.Object, error) {
				return nil, deferd.Errorf(deferd.Unavailable, "SlowDown")
			}
			b.work.onExtend = func(e deferd.ExtendRequest) (deferd.Extension, error) {
				return deferd.Extension{Lost: e.Held}, nil
			}
		})
		after(4900 * time.Millisecond)
		b.work.add(deferd.Lease{})
		after(200 * time.Millisecond)
		if got := b.agent.Busy(); got != 0 {
			t.Errorf("busy %d after the lease was lost, want 0", got)
		}
		if got := b.container.calls.Load(); got != 0 {
			t.Errorf("%d requests, want none", got)
		}
	})
}
