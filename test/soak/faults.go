package main

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// fault is one way to fail.
type fault int

const (
	none fault = iota
	serverError
	rateLimit
	hang   // no answer for up to 12 s, which is beyond the sidekick's 10
	reset  // the connection, after the request
	broken // half an answer
	refuse // no new connections for up to 3 s
	partly // the beginning of a batch is taken
)

// faults says when a receiver fails and how.
type faults struct {
	mu      sync.Mutex
	random  *rand.Rand
	mean    time.Duration // between failures; 0 for none
	kinds   int
	due     time.Time
	again   int // so many requests more fail at once
	stopped bool
	counts  [partly + 1]int
}

func newFaults(o options, stream uint64, partial bool) *faults {
	f := &faults{random: rand.New(rand.NewPCG(o.seed, stream)), mean: o.failEvery, kinds: int(refuse)}
	if partial {
		f.kinds = int(partly)
	}
	f.plan()
	return f
}

func (f *faults) plan() {
	f.due = time.Now().Add(time.Duration(f.random.ExpFloat64() * float64(f.mean)))
}

// next says how to treat a request; chance is a number for what the fault leaves
// open.
func (f *faults) next() (kind fault, chance int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	chance = f.random.IntN(1 << 30)
	switch {
	case f.stopped || f.mean == 0:
		return none, chance
	case f.again > 0:
		f.again--
	case time.Now().Before(f.due):
		return none, chance
	case f.random.IntN(3) == 0: // a row of failures, for longer backoffs
		f.again = 1 + f.random.IntN(3)
	}
	kind = fault(1 + f.random.IntN(f.kinds))
	f.counts[kind]++
	f.plan()
	return kind, chance
}

// stop ends all failures.
func (f *faults) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

func (f *faults) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.counts {
		n += c
	}
	return n
}

// answer fails the request.
func (k fault) answer(w http.ResponseWriter, req *http.Request, chance int) {
	switch k {
	case rateLimit:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case hang:
		select {
		case <-req.Context().Done(): // the sidekick has given up, or is gone
		case <-time.After(time.Duration(chance%12_000) * time.Millisecond):
		}
		panic(http.ErrAbortHandler)
	case reset:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.Close()
	case broken:
		w.Header().Set("Content-Length", "1000")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "begins")
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}
