package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Variables that the model reads.
const (
	dirVariable      = "TORTURE_DIR"
	slotsVariable    = "TORTURE_SLOTS"
	endpointVariable = "TORTURE_ENDPOINT"
)

// Files in the directory that a model shares with all others and with the judge.
const (
	journalFile = "journal"
	onceDir     = "once"  // marks of what is done once only
	lockDir     = "locks" // held by the kernel as long as an attempt runs in a living process
)

// ModelMain runs torture's model, and returns an exit status.
func ModelMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serveModel(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "torture-model:", err)
		return 1
	}
	return 0
}

// A model does what requests order it to, and writes it down.
type model struct {
	dir     string
	of      string
	slots   int
	journal journal

	mu      sync.Mutex
	running int
}

func serveModel(ctx context.Context) error {
	m := &model{dir: os.Getenv(dirVariable), of: os.Getenv(endpointVariable)}
	m.slots, _ = strconv.Atoi(os.Getenv(slotsVariable))
	var err error
	if m.journal, err = openJournal(filepath.Join(m.dir, journalFile)); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("SAGEMAKER_BIND_TO_PORT"))
	if err != nil {
		return err
	}
	if err := m.journal.add(Entry{Event: Listening, Of: m.of, Address: l.Addr().String(), Slots: m.slots}); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ping", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /who", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid()) })
	mux.HandleFunc("POST /signal/{n}", signalSelf)
	mux.HandleFunc("POST /invocations", m.invoke)
	s := &http.Server{Handler: mux}
	go func() {
		<-ctx.Done()
		s.Shutdown(context.WithoutCancel(ctx))
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// signalSelf kills or freezes this process. Who asks for it need not know by a
// number, which may be somebody else's by now, whom it hits.
func signalSelf(_ http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.PathValue("n"))
	if err == nil {
		syscall.Kill(os.Getpid(), syscall.Signal(n))
	}
}

func (m *model) invoke(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Amzn-SageMaker-Inference-Id")
	order, err := ParseOrder(r.Header.Get("X-Amzn-SageMaker-Custom-Attributes"))
	if err != nil || id == "" {
		http.Error(w, "no order", http.StatusBadRequest)
		return
	}
	a, err := m.begin(id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	// Whatever happens below, leave comes before the client can see the end.
	defer a.leave(Cut, 0)
	if order.Deed == Early {
		a.answer(w, order.Status, refusalBody(a.id, order), order)
		return
	}
	input, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	a.obey(w, r, order, input)
}

// An attempt is one request being dealt with.
type attempt struct {
	m    *model
	id   string
	lock *os.File
	once sync.Once
}

func (m *model) begin(id string) (*attempt, error) {
	f, err := os.OpenFile(filepath.Join(m.dir, lockDir, id), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	overlap := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running++
	a := &attempt{m: m, id: id, lock: f}
	return a, m.journal.add(Entry{Event: Start, ID: id, Running: m.running, Overlap: overlap, Slots: m.slots})
}

// leave ends the attempt; the first call counts. It is made before the last
// byte of the answer, since the platform may send the next request at once.
func (a *attempt) leave(how string, status int) {
	a.once.Do(func() {
		a.m.mu.Lock()
		defer a.m.mu.Unlock()
		a.m.running--
		a.m.journal.add(Entry{Event: End, ID: a.id, How: how, Status: status})
		a.lock.Close()
	})
}

// first reports whether something is done for the first time, in whatever
// process.
func (a *attempt) first(what string) bool {
	f, err := os.OpenFile(filepath.Join(a.m.dir, onceDir, a.id+"."+what), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func (a *attempt) obey(w http.ResponseWriter, r *http.Request, o Order, input []byte) {
	switch o.Deed {
	case Stuck:
		select {}
	case HangMiddle:
		a.hangMiddle(w, r, o, input)
		return
	}
	select {
	case <-time.After(o.Delay):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	switch o.Deed {
	case Refuse:
		a.answer(w, o.Status, refusalBody(a.id, o), o)
	case DropBefore:
		a.leave(Dropped, 0)
		panic(http.ErrAbortHandler)
	case DropMiddle:
		a.raw(w, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n%s", inputBody(a.id, 1000)))
	case Garbage:
		a.raw(w, "SSH-2.0-torture\r\n")
	case DropAfter:
		w.Header().Set("Connection", "close")
		a.answer(w, http.StatusOK, answerBody(a.id, input, o), o)
	case CrashOnce, Poison:
		if o.Deed == Poison || a.first("crash") {
			a.m.journal.add(Entry{Event: End, Of: a.m.of, ID: a.id, How: Crashed})
			os.Exit(3)
		}
		a.answer(w, http.StatusOK, answerBody(a.id, input, o), o)
	case Busy:
		for n := range o.Times {
			if a.first("busy" + strconv.Itoa(n)) {
				w.Header().Set("Retry-After", "1")
				a.leave(Asked, o.Status)
				w.WriteHeader(o.Status)
				return
			}
		}
		a.answer(w, http.StatusOK, answerBody(a.id, input, o), o)
	default:
		a.answer(w, http.StatusOK, answerBody(a.id, input, o), o)
	}
}

// answer writes the whole answer. The last byte follows after leave.
func (a *attempt) answer(w http.ResponseWriter, status int, body []byte, o Order) {
	h := w.Header()
	h.Set("Content-Type", "application/x-torture")
	h.Set("X-Amzn-SageMaker-Custom-Attributes", a.id)
	if status/100 == 3 {
		h.Set("Location", "/elsewhere")
	}
	if !o.Chunked {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	rc := http.NewResponseController(w)
	if o.Chunked {
		rc.Flush()
	}
	last := max(0, len(body)-1)
	if _, err := w.Write(body[:last]); err != nil {
		panic(http.ErrAbortHandler) // left as Cut
	}
	a.leave(Answered, status)
	w.Write(body[last:])
}

// hangMiddle writes half of the answer, waits, and goes on.
func (a *attempt) hangMiddle(w http.ResponseWriter, r *http.Request, o Order, input []byte) {
	body := answerBody(a.id, input, o)
	w.Header().Set("X-Amzn-SageMaker-Custom-Attributes", a.id)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	half := len(body) / 2
	_, err := w.Write(body[:half])
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	select {
	case <-time.After(o.Delay):
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	}
	if _, err := w.Write(body[half : len(body)-1]); err != nil {
		panic(http.ErrAbortHandler)
	}
	a.leave(Answered, http.StatusOK)
	w.Write(body[len(body)-1:])
}

// raw writes what it is told and closes the connection.
func (a *attempt) raw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	io.WriteString(conn, text)
	a.leave(Dropped, 0)
}
