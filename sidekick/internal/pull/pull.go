// Package pull takes alerts and logs from KubeArmor, its relay or another sidekick
// over gRPC, and hands them to who stores them. It does not store, and does not
// ask for what was sent while it was away: the protocol cannot.
package pull

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second

	// A session that lasted so long, or brought an event, was a success: the next
	// attempt comes soon.
	longEnough = time.Minute
)

// Options are what a puller works with.
type Options struct {
	Peers []string                    // host:port
	Logs  bool                        // whether logs are wanted, and not alerts alone
	TLS   func() (*tls.Config, error) // asked for each connection; nil for none
	// Take stores events and gives those that it cannot store now, with the reason.
	Take    func(ctx context.Context, events []schema.Event) (later []schema.Event, err error)
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Puller takes from all peers.
type Puller struct {
	peers     []*peer
	connected prometheus.Gauge
	received  prometheus.Counter
}

// New makes a puller and registers its metrics.
func New(opts Options) *Puller {
	p := &Puller{
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sidearmor_kubearmor_connected", Help: "Peers of KUBEARMOR_GRPC that are connected.",
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sidearmor_kubearmor_received_total", Help: "Alerts and logs received from the peers of KUBEARMOR_GRPC.",
		}),
	}
	opts.Metrics.MustRegister(p.connected, p.received)
	for _, address := range opts.Peers {
		p.peers = append(p.peers, &peer{
			Options: opts, address: address, log: opts.Log.With("peer", address),
			connected: p.connected, received: p.received, checkEvery: checkEvery, checkTime: checkTime,
		})
	}
	return p
}

// Run takes events until ctx ends, and returns when all that was received is
// stored, or cannot be.
func (p *Puller) Run(ctx context.Context) {
	var peers sync.WaitGroup
	for _, one := range p.peers {
		peers.Go(func() { one.run(ctx) })
	}
	peers.Wait()
}

// Ready says, with an error for each, which peers are not connected.
func (p *Puller) Ready() []error {
	var errs []error
	for _, one := range p.peers {
		if !one.up.Load() {
			errs = append(errs, disconnected(one.address))
		}
	}
	return errs
}

// disconnected is the address of a peer.
type disconnected string

func (d disconnected) Error() string {
	return fmt.Sprintf("KubeArmor at %s is not connected", string(d))
}

// Degraded says that events are stored nevertheless, when they come otherwise.
func (disconnected) Degraded() bool { return true }

// peer is one of those that events are taken from.
type peer struct {
	Options
	address   string
	log       *slog.Logger
	connected prometheus.Gauge
	received  prometheus.Counter
	up        atomic.Bool
	events    atomic.Uint64 // received

	checkEvery, checkTime time.Duration
}

// run connects again and again. The log tells of each loss, and of failing once.
func (p *peer) run(ctx context.Context) {
	quiet := false
	for failures := 0; ctx.Err() == nil; failures++ {
		before, began := p.events.Load(), time.Now()
		reached, err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.events.Load() > before || time.Since(began) > longEnough {
			failures = 0
		}
		level := slog.LevelWarn
		if quiet && !reached {
			level = slog.LevelDebug
		}
		p.log.Log(ctx, level, "not connected to KubeArmor, trying again", "error", err)
		quiet = !reached
		pause(ctx, failures)
	}
}

// store returns when all events are stored. Once ctx has ended it tries for the
// last time.
func (p *peer) store(ctx context.Context, events []schema.Event) {
	for failures := 0; len(events) > 0; failures++ {
		last := ctx.Err() != nil
		var err error
		// The store is open until all that take have returned.
		events, err = p.Take(context.WithoutCancel(ctx), events)
		switch {
		case len(events) == 0:
		case last:
			p.log.Error("events received are lost: stopped while they could not be stored", "events", len(events), "error", err)
			return
		default:
			if failures == 0 {
				p.log.Warn("events received cannot be stored, KubeArmor waits", "error", err)
			}
			pause(ctx, failures)
		}
	}
}

// pause waits longer after each failure, half of it by chance, so that many
// sidekicks do not come back at once.
func pause(ctx context.Context, failures int) {
	d := maxPause
	if failures < 6 {
		d = min(firstPause<<failures, maxPause)
	}
	select {
	case <-time.After(d/2 + rand.N(d/2)):
	case <-ctx.Done():
	}
}

var errEnded = errors.New("the stream has ended")
