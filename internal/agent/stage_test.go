package agent

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/deferd/deferd"
)

// pattern is n bytes of which no two parts are alike.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8 + i>>16)
	}
	return p
}

func answerWith(code int, body []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "a/b")
		w.WriteHeader(code)
		w.Write(body)
	}
}

func TestStaging(t *testing.T) {
	const large = 10_000_000
	tests := []struct {
		name  string
		code  int
		size  int
		parts []int // sizes; nil: the body travels in the settle
		key   string
	}{
		{name: "as large as a settle takes", code: 200, size: deferd.MaxStaged},
		{name: "one byte more", code: 200, size: deferd.MaxStaged + 1, parts: []int{deferd.MaxStaged + 1}, key: "output=true"},
		{name: "one part exactly", code: 200, size: partSize, parts: []int{partSize}, key: "output=true"},
		{name: "two parts", code: 200, size: large, parts: []int{partSize, large - partSize}, key: "output=true"},
		{name: "large failure", code: 500, size: large, parts: []int{partSize, large - partSize}, key: "output=false"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				body := pattern(tt.size)
				b := start(t, answerWith(tt.code, body), nil)
				b.work.add(deferd.Lease{})
				heard(b)
				o := s0(b).Outcome
				if got, want := o.Size, int64(tt.size); got != want {
					t.Errorf("size %d, want %d", got, want)
				}
				stored := o.Body
				if tt.parts != nil {
					stored = bytes.Join(b.work.seen().parts, nil)
					var got []int
					for i, p := range o.Upload.Parts {
						if p.Number != i+1 {
							t.Errorf("part %d has number %d", i+1, p.Number)
						}
						got = append(got, int(p.Size))
					}
					if diff := cmp.Diff(tt.parts, got); diff != "" {
						t.Errorf("parts (-want +got):\n%s", diff)
					}
					if o.Upload.Location.Key != tt.key || o.Body != nil {
						t.Errorf("upload %v and %d bytes in the settle, want an upload to %s alone", o.Upload, len(o.Body), tt.key)
					}
				}
				if !bytes.Equal(stored, body) {
					t.Errorf("stored %d bytes that are not the model's %d", len(stored), len(body))
				}
				if o.ContentType != "a/b" || o.ModelStatus != tt.code {
					t.Errorf("type %q, status %d; want a/b and %d", o.ContentType, o.ModelStatus, tt.code)
				}
			})
		})
	}
}

func TestAnswerWithNowhereToGo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, answerWith(200, pattern(10_000_000)), func(b *bench, _ *Config) {
			b.work.onUpload = func() (*deferd.Upload, error) { return nil, nil }
		})
		b.work.add(deferd.Lease{})
		heard(b)
		o := s0(b).Outcome
		if o.State != deferd.Completed || o.Upload != nil || o.Body != nil || o.Size != 10_000_000 {
			t.Errorf("outcome %s with upload %v, %d bytes, size %d; want Completed, dropped, 10 MB", o.State, o.Upload, len(o.Body), o.Size)
		}
	})
}

func TestAnswerBrokenInTheMiddle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "20000000")
			w.Write(pattern(10_000_000))
			panic(http.ErrAbortHandler)
		}, nil)
		b.work.add(deferd.Lease{})
		if got := heard(b); got.Reason != deferd.ModelNoAnswer {
			t.Errorf("reason %s, want %s", got.Reason, deferd.ModelNoAnswer)
		}
		if s0(b).Outcome.Upload != nil {
			t.Error("the settle names the upload of half an answer")
		}
	})
}

// TestEndlessAnswer has a model that never stops.
func TestEndlessAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, func(w http.ResponseWriter, r *http.Request) {
			chunk := make([]byte, 4<<20)
			for n := 0; ; n++ {
				if _, err := w.Write(chunk); err != nil {
					return
				}
				if n > deferd.MaxInput/len(chunk) {
					time.Sleep(time.Second)
				}
			}
		}, func(b *bench, _ *Config) {
			b.work.onUpload = func() (*deferd.Upload, error) { return nil, nil }
		})
		b.work.add(deferd.Lease{})
		got := heard(b)
		if got.State != deferd.Failed || !strings.Contains(got.Message, "larger than") {
			t.Errorf("heard %+v, want a failure that says why", got)
		}
		if err := b.wait(); !errors.Is(err, ErrStuck) {
			t.Errorf("Run returned %v, want ErrStuck", err)
		}
	})
}

func TestStoreRefusesParts(t *testing.T) {
	tests := []struct {
		name string
		down time.Duration
		err  error
		want deferd.Reason
	}{
		{name: "for a while", down: 9 * time.Minute, err: deferd.Errorf(deferd.Unavailable, "SlowDown"), want: deferd.ModelOK},
		{name: "for too long", down: time.Hour, err: deferd.Errorf(deferd.Unavailable, "SlowDown"), want: deferd.UploadLost},
		{name: "for good", down: time.Hour, err: deferd.Errorf(deferd.Denied, "AccessDenied"), want: deferd.UploadLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				began := time.Now()
				b := start(t, answerWith(200, pattern(10_000_000)), func(b *bench, _ *Config) {
					b.work.onPart = func(int) error {
						if time.Since(began) < tt.down {
							return tt.err
						}
						return nil
					}
				})
				b.work.add(deferd.Lease{Timeout: 30 * time.Second}) // less than the store takes
				if got := heard(b).Reason; got != tt.want {
					t.Errorf("reason %s, want %s", got, tt.want)
				}
				if got := time.Since(began); tt.want == deferd.UploadLost && (got < 10*time.Minute || got > 11*time.Minute) {
					t.Errorf("given up after %s, want some 10 minutes", got)
				}
				if tt.want == deferd.ModelOK {
					if got := s0(b).Times; got.Model > time.Second || got.Upload < 8*time.Minute {
						t.Errorf("times %+v, want the wait to be the upload's", got)
					}
				}
			})
		})
	}
}

func TestLeaseLostWhileStaging(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := start(t, answerWith(200, pattern(20_000_000)), func(b *bench, _ *Config) {
			b.work.onPart = func(n int) error {
				if n == 2 {
					return deferd.Errorf(deferd.Lost, "the lease is not current")
				}
				return nil
			}
		})
		b.work.add(deferd.Lease{})
		after(time.Minute)
		if got := b.work.seen().settles + b.work.seen().releases; got != 0 {
			t.Errorf("%d verdicts about a lost lease, want none", got)
		}
		if got := b.agent.Busy(); got != 0 {
			t.Errorf("busy %d, want 0", got)
		}
	})
}
