// Package emit carries events to the sidekick: it buffers them within a bound
// of bytes, posts them in batches, in order, and again until they are taken,
// and reports what it had to drop. It does not fill in who an event is about.
package emit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// Format is what is posted.
type Format string

// The formats.
const (
	KubeArmor Format = "kubearmor" // NDJSON batches of KubeArmor alerts and logs, for the sidekick
	Falco     Format = "falco"     // one Falco event per request, for a stock FalcoSidekick
)

// DefaultBufferBytes bounds the buffer when Options does not.
const DefaultBufferBytes = 16 << 20

const (
	maxBatchAge    = 100 * time.Millisecond // an event waits no longer for company
	maxBatchBytes  = 256 << 10
	maxBatchEvents = 1000
	// lastTry bounds the one attempt that is made at the end when nothing ever
	// answered at a URL that nobody asked for.
	lastTry = 500 * time.Millisecond
	// reportEvery spaces the reports of loss while loss goes on.
	reportEvery = 10 * time.Second
)

// Options says how to make an Emitter. Only URL is needed.
type Options struct {
	URL      string // http, https or unix (unix:///path), may hold credentials; "" discards events, without counting them as lost
	URLGiven bool   // the user named URL: it is worth waiting for at the end
	Format   Format // "" is KubeArmor

	Token     secret.String // shown to the sidekick, over what URL has; zero is none
	TokenFile string        // instead of Token: a file with it, read for each request, since it may change
	Prove     bool          // nothing is sent to who does not prove that it knows the token: see peer.Options

	// TLS, for an https URL: authorities to trust instead of the system's, read at
	// the start; a certificate to show, read for each connection. "" is none.
	CAFile, CertFile, KeyFile string

	BufferBytes int                  // bound on the memory that waiting events take; 0 is DefaultBufferBytes
	Origin      func() schema.Origin // who the reports of loss are about; nil leaves that empty
	Logger      *slog.Logger         // nil is silent
	Transport   http.RoundTripper    // nil is the package's own
}

// Emitter sends events. Make one with New, start Run once, end it with Close.
type Emitter struct {
	options Options
	logger  *slog.Logger
	client  *client
	encoder encoder
	buffer  *buffer

	arrived chan struct{} // capacity 1: there is a first event, or enough for a batch
	closing chan struct{} // closed by Close: send what is there, then end
	done    chan struct{} // closed when Run has ended

	started atomic.Bool
	closed  sync.Once
	halt    chan struct{} // closed by stop: end at once
	halted  sync.Once

	answered  atomic.Bool // something at URL took or refused a batch, ever
	delivered atomic.Uint64
	requests  atomic.Uint64

	way way // of the sending goroutine alone
}

// way is what the sending goroutine knows of the way to the sidekick.
type way struct {
	up, down bool      // what became of the last batch; neither before the first
	barred   bool      // the last batch was answered with 401 or 403
	reported time.Time // when loss was last reported
}

// Stats counts events since the start.
type Stats struct {
	Emitted, Delivered      uint64
	LostAlerts, LostLogs    uint64 // never to be delivered, for whatever reason
	PendingAlerts           int    // waiting or being sent
	PendingLogs             int
	PendingBytes, PeakBytes int // as counted against Options.BufferBytes
	Requests                uint64
}

// New makes an Emitter. It fails on a URL or a format that cannot be used; the
// error does not repeat the URL, which may hold a password.
func New(o Options) (*Emitter, error) {
	if o.BufferBytes <= 0 {
		o.BufferBytes = DefaultBufferBytes
	}
	if o.Format == "" {
		o.Format = KubeArmor
	}
	if o.Format != KubeArmor && o.Format != Falco {
		return nil, fmt.Errorf("emit: unknown format %q", o.Format)
	}
	e := &Emitter{
		options: o, logger: o.Logger, encoder: encoder{format: o.Format}, buffer: newBuffer(o.BufferBytes),
		arrived: make(chan struct{}, 1),
		closing: make(chan struct{}), halt: make(chan struct{}), done: make(chan struct{}),
	}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	if o.URL == "" {
		return e, nil
	}
	var err error
	if e.client, err = newClient(o); err != nil {
		return nil, fmt.Errorf("emit: %w", err)
	}
	return e, nil
}

// Emit takes an event, of which it keeps nothing but strings. It waits for nobody
// and never fails: where there is no room it drops the oldest log, or this event
// if it is a log and there is none, or else the oldest alert, and counts it.
func (e *Emitter) Emit(ev schema.Event) {
	if e.client == nil {
		return
	}
	e.encoder.encode(&ev, func(text []byte, err error) {
		if err != nil {
			e.logger.Error("an event cannot be sent", "error", err)
			e.buffer.fail(kindOf(&ev))
			return
		}
		maxBytes, maxEvents := e.batchLimits()
		events, bytes := e.buffer.push(kindOf(&ev), text)
		// The sender waits for the first event, and then for a full batch.
		if events == 1 || events == maxEvents || bytes >= maxBytes && bytes-len(text) < maxBytes {
			select {
			case e.arrived <- struct{}{}:
			default:
			}
		}
	})
}

// Run sends until Close has emptied the buffer or ctx ends, which
// leaves unsent what is there. It is called once and returns ctx's error.
func (e *Emitter) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errors.New("emit: Run was called twice")
	}
	defer close(e.done)
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		select {
		case <-e.halt:
			cancel()
		case <-work.Done():
		}
	})
	e.sendAll(work)
	cancel()
	helpers.Wait()
	if e.client != nil {
		e.client.close()
	}
	return ctx.Err()
}

// stop ends Run without sending what waits.
func (e *Emitter) stop() { e.halted.Do(func() { close(e.halt) }) }

// Close takes no more events, sends those that wait, and returns when that is
// done or ctx ends, with an error that says how many were left. At a URL that
// is a mere default and never answered, it tries once, briefly.
func (e *Emitter) Close(ctx context.Context) error {
	e.closed.Do(func() {
		e.buffer.close()
		close(e.closing)
	})
	e.await(ctx)
	if s := e.Stats(); s.PendingAlerts+s.PendingLogs > 0 {
		return fmt.Errorf("emit: %d alerts and %d logs were not delivered", s.PendingAlerts, s.PendingLogs)
	}
	return nil
}

// await waits for the end of Run, and brings it about when it takes too long.
func (e *Emitter) await(ctx context.Context) {
	timer := time.NewTimer(lastTry)
	defer timer.Stop()
	select {
	case <-e.done:
		return
	case <-ctx.Done():
	case <-timer.C:
		if !e.quiet() {
			select {
			case <-e.done:
				return
			case <-ctx.Done():
			}
		}
	}
	e.stop()
	if e.started.Load() { // or else there is no Run to wait for
		<-e.done
	}
}

// quiet says that nobody asked for the URL and nothing ever answered there.
func (e *Emitter) quiet() bool { return !e.options.URLGiven && !e.answered.Load() }

func (e *Emitter) isClosing() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// SetEngine says how the tracer holds calls: the sidekick counts events by it.
func (e *Emitter) SetEngine(name string) {
	if e.client != nil {
		e.client.engine.Store(&name)
	}
}

// Stats may be called at any time.
func (e *Emitter) Stats() Stats {
	s := e.buffer.stats()
	s.Delivered, s.Requests = e.delivered.Load(), e.requests.Load()
	return s
}

// wait sleeps for d, less once Close was called, and reports whether to go on.
func (e *Emitter) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	closing := e.closing
	if e.isClosing() {
		closing = nil // it must not cut every wait of a flush to nothing
		timer.Reset(min(d, maxBatchAge))
	}
	select {
	case <-timer.C:
	case <-closing:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// backoff doubles from 50 ms to its top, each value with up to half of it taken
// off at random so that many tracers do not knock together.
type backoff struct{ next, top time.Duration }

func (b *backoff) step() time.Duration {
	d := max(b.next, 50*time.Millisecond)
	b.next = min(2*d, b.top)
	return d - rand.N(d/2+1)
}
