package ingest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// Memory is of three kinds, which a request takes in this order: so whoever waits
// for one is waited for by nobody who has a later one, and work waits for nobody
// but the client who reads the answer.
type kind int

const (
	bodies   kind = iota // what has come
	unpacked             // a compressed body as it is uncompressed
	work                 // what is made of a body
	kinds
)

const (
	// Bounds of each kind, for all requests together. One body at a time is
	// uncompressed: how large it gets is not known before.
	bodiesBytes   = 24 << 20
	unpackedBytes = MaxBodyBytes
	workBytes     = 24 << 20

	// freeBody and freeItems are what every request may have beside that:
	// connections are bounded.
	freeBody  = 8 << 10
	freeItems = 16

	// A body is unpacked and packed again: that takes unpackedShare times its size.
	// Each item has a verdict and an answer, which for one of two bytes are far
	// more than the item.
	unpackedShare = 2
	itemBytes     = 1 << 10

	// metricsBytes is what a page of metrics takes.
	metricsBytes = 4 << 20

	// A request waits memoryWait for memory. For those who wait it is taken away
	// from clients that have sent, or read, for clientGrace and are not done.
	memoryWait  = 5 * time.Second
	clientGrace = 2 * time.Second
)

// errNoMemory is an error of take.
var errNoMemory = errors.New("too many large requests at once")

// budget is memory that requests share.
type budget struct {
	size  [kinds]int64
	free  [kinds]*semaphore.Weighted
	grace time.Duration
	wait  time.Duration
	noted func() // called for each request that got no memory, or lost it

	mu   sync.Mutex
	slow map[*reservation]kind // whose clients are waited for: to send their bodies, to read what work made
}

func newBudget(noted func()) *budget {
	r := &budget{
		size: [kinds]int64{bodiesBytes, unpackedBytes, workBytes},
		wait: memoryWait, grace: clientGrace, noted: noted,
		slow: map[*reservation]kind{},
	}
	for k, size := range r.size {
		r.free[k] = semaphore.NewWeighted(size)
	}
	return r
}

// reservation is the memory of one request.
type reservation struct {
	budget *budget
	client *http.ResponseController
	has    [kinds]int64
	since  time.Time
	cut    bool // it was taken away; guarded by budget.mu
}

func (r *budget) reserve(w http.ResponseWriter) *reservation {
	return &reservation{budget: r, client: http.NewResponseController(w), since: time.Now()}
}

// take has the hold grow to n bytes of a kind, if it has less. It waits for them.
func (h *reservation) take(ctx context.Context, k kind, n int64) error {
	more := min(n, h.budget.size[k]) - h.has[k]
	if more <= 0 {
		return nil
	}
	if !h.budget.free[k].TryAcquire(more) {
		if err := h.budget.acquire(ctx, k, more); err != nil {
			return err
		}
	}
	h.has[k] += more
	return nil
}

func (r *budget) acquire(ctx context.Context, k kind, n int64) error {
	r.reclaim(k, n)
	// By then all that are slow now have been so for long enough.
	again := time.AfterFunc(r.grace, func() { r.reclaim(k, n) })
	defer again.Stop()
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	if r.free[k].Acquire(ctx, n) != nil {
		r.noted()
		return errNoMemory
	}
	return nil
}

// shrink gives back what the hold has of a kind beyond n bytes.
func (h *reservation) shrink(k kind, n int64) {
	if less := h.has[k] - n; less > 0 {
		h.has[k] -= less
		h.budget.free[k].Release(less)
	}
}

// release ends the hold.
func (h *reservation) release() {
	h.stay()
	for k := range kinds {
		h.shrink(k, 0)
	}
}

// await says that the client is waited for from now on, and memory of this kind
// can be taken away.
func (h *reservation) await(k kind) {
	if h.has[k] == 0 {
		return
	}
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	h.budget.slow[h] = k
}

// stay says that the client is not waited for, and whether it still has what it
// had.
func (h *reservation) stay() bool {
	h.budget.mu.Lock()
	defer h.budget.mu.Unlock()
	delete(h.budget.slow, h)
	return !h.cut
}

// reclaim takes memory away from slow clients, from the slowest first, until it is
// n bytes: their connections time out at once.
func (r *budget) reclaim(k kind, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*reservation
	for h, of := range r.slow {
		if of == k && time.Since(h.since) >= r.grace {
			due = append(due, h)
		}
	}
	slices.SortFunc(due, func(a, b *reservation) int { return a.since.Compare(b.since) })
	for _, h := range due {
		if n <= 0 {
			return
		}
		n -= h.has[k]
		h.cut = true
		delete(r.slow, h)
		r.noted()
		// Errors are of servers that cannot; their requests end by themselves in time.
		if k == work {
			_ = h.client.SetWriteDeadline(time.Unix(1, 0))
		} else {
			_ = h.client.SetReadDeadline(time.Unix(1, 0))
		}
	}
}
