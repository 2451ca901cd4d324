package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/access"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/grpcapi"
	"github.com/sidearmor/sidearmor/sidekick/internal/ingest"
	"github.com/sidearmor/sidearmor/sidekick/internal/policygrpc"
	"github.com/sidearmor/sidearmor/sidekick/internal/pull"
)

// telemetry is KubeArmor's way of carrying events: those who read them from here,
// and those whom they are read from. Either may be absent.
type telemetry struct {
	log      *slog.Logger
	feed     *feed.Feed
	listener net.Listener
	server   *grpcapi.Server
	puller   *pull.Puller
}

// openTelemetry listens, if it is to. It connects nowhere.
func openTelemetry(ctx context.Context, cfg config.Config, tokens api.Tokens, policies *policySide, f *feed.Feed, metrics prometheus.Registerer, log *slog.Logger) (*telemetry, error) {
	t := &telemetry{log: log, feed: f}
	if cfg.GRPC.Address == "" {
		return t, nil
	}
	opts := grpcapi.Options{Feed: f, Metrics: metrics, Log: log}
	if cfg.GRPC.Policies != config.PoliciesOff {
		opts.Register, opts.MaxRequest = policies.overGRPC(cfg, tokens, log), policygrpc.MaxRequest
	}
	if tokens.Read != nil || tokens.Post != nil {
		opts.Authorized = func(shown []string) bool { return mayRead(tokens, shown) }
	}
	if n := cfg.Listen.TLS; n != nil {
		var err error
		if opts.TLS, err = access.TLS(access.Files{Cert: n.CertFile, Key: n.KeyFile, CA: n.CAFile}, log); err != nil {
			return nil, err
		}
	}
	var err error
	if t.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.GRPC.Address); err != nil {
		return nil, fmt.Errorf("listen on GRPC_LISTEN: %w", err)
	}
	t.server = grpcapi.New(opts)
	return t, nil
}

// mayRead says whether authorization headers have a token that may read. Without
// AUTH_TOKEN_READ those of AUTH_TOKEN may, as they could before there were scopes.
func mayRead(tokens api.Tokens, shown []string) bool {
	r := &http.Request{Header: http.Header{"Authorization": shown}}
	valid := tokens.Read
	if valid == nil {
		valid = tokens.Post
	}
	return valid(r) || tokens.Admin != nil && tokens.Admin(r)
}

// pullFrom prepares to take events from KubeArmor, if that is wanted.
func (t *telemetry) pullFrom(k config.KubeArmor, intake *ingest.Intake, metrics prometheus.Registerer) {
	if len(k.Peers) == 0 {
		return
	}
	opts := pull.Options{Peers: k.Peers, Logs: k.Logs, Metrics: metrics, Log: t.log}
	opts.Take = func(ctx context.Context, events []schema.Event) ([]schema.Event, error) {
		return intake.Take(ctx, "kubearmor", events)
	}
	if k.TLS != nil {
		opts.TLS = k.TLS.Config
	}
	t.puller = pull.New(opts)
}

// close is for one that was never run.
func (t *telemetry) close() {
	if t.listener != nil {
		t.listener.Close()
	}
}

// run carries events: it takes none after ctx ends, and shows them until stop,
// which finishes what is under way.
func (t *telemetry) run(ctx context.Context) (stop func()) {
	stopPuller, stopServer := func() {}, func() {}
	if t.puller != nil {
		stopPuller = start(ctx, t.puller.Run)
	}
	if t.server != nil {
		stopServer = t.serve(context.WithoutCancel(ctx))
	}
	return func() {
		stopPuller()
		t.feed.End() // nothing is taken any more
		stopServer()
	}
}

func (t *telemetry) serve(ctx context.Context) (stop func()) {
	t.log.Info("listening for gRPC", "grpc_address", t.listener.Addr().String())
	wait := start(ctx, func(context.Context) {
		if err := t.server.Serve(t.listener); err != nil {
			t.log.Error("gRPC is not served any more", "error", err)
		}
	})
	return func() {
		bounded, cancel := context.WithTimeout(ctx, requestsTimeout)
		defer cancel()
		t.server.Stop(bounded)
		wait()
	}
}

// store gives the queue with what else has to do with it: who watches what is
// stored, and where it may come from.
func (t *telemetry) store(q ingest.Store) ingest.Store {
	return store{Store: q, telemetry: t}
}

type store struct {
	ingest.Store
	*telemetry
}

// Publish tells of what has been stored. A batch that comes again is told of again.
func (s store) Publish(ctx context.Context, events []schema.Packed, once bool) error {
	err := s.Store.Publish(ctx, events, once)
	var some interface{ Refused() map[int]error }
	switch {
	case err == nil:
		s.feed.Accepted(events)
	case errors.As(err, &some):
		refused := some.Refused()
		for i := range events {
			if refused[i] == nil {
				s.feed.Accepted(events[i : i+1])
			}
		}
	}
	return err
}

// Ready says what keeps events from being stored, and from being taken.
func (s store) Ready(ctx context.Context) error {
	err := s.Store.Ready(ctx)
	if s.puller == nil {
		return err
	}
	// In one list: who asks looks at each by itself.
	errs := s.puller.Ready()
	if err != nil {
		errs = append(problems(err), errs...)
	}
	return errors.Join(errs...)
}
