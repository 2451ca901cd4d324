// Package grpcapi shows events, as they are stored, to whoever reads from
// KubeArmor over gRPC: karmor, kubearmor-relay, another sidekick. It takes no
// events, and keeps none for those who are not there.
package grpcapi

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/loglimit"
)

// Bounds on what clients can cost. A request has a few bytes, and a client three
// streams.
const (
	maxConnections = 64
	maxStreams     = 16      // of a connection
	maxWatchers    = 64      // of all connections
	maxRequest     = 4 << 10 // of the services here
	maxHeaders     = 16 << 10
	handshakeTime  = 10 * time.Second
	idleTime       = 5 * time.Minute // of a connection without a stream
	pingAfter      = 20 * time.Second
	pingTime       = 10 * time.Second
	minPing        = 10 * time.Second // a client that pings more often is cut off
)

// Options are what the server works with.
type Options struct {
	TLS        *tls.Config               // nil for none
	Authorized func(shown []string) bool // whether one may watch who shows these authorization headers; nil when everybody may
	Feed       *feed.Feed                // what is shown; whoever has Stop called ends it before
	// Register adds further services; nil adds none. Their requests have at most
	// MaxRequest bytes.
	Register   func(grpc.ServiceRegistrar)
	MaxRequest int
	Metrics    prometheus.Registerer
	Log        *slog.Logger
}

// Server is KubeArmor's LogService.
type Server struct {
	grpc       *grpc.Server
	health     *health.Server
	log        *slog.Logger
	authorized func([]string) bool

	feed     *feed.Feed
	stopping chan struct{} // closed when the server stops
	slots    chan struct{} // one for each watcher

	watchers     prometheus.Gauge
	dropped      prometheus.Counter
	slow         loglimit.Counter
	unauthorized loglimit.Counter
}

// New makes a server and registers its metrics.
func New(opts Options) *Server {
	s := &Server{
		health:     health.NewServer(),
		log:        opts.Log,
		authorized: opts.Authorized,
		feed:       opts.Feed,
		stopping:   make(chan struct{}),
		slots:      make(chan struct{}, maxWatchers),
		watchers: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sidearmor_grpc_clients", Help: "Streams of alerts, logs and messages that clients of the gRPC service have open.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sidearmor_grpc_dropped_events_total", Help: "Events that clients of the gRPC service missed because they read too slowly.",
		}),
	}
	opts.Metrics.MustRegister(s.watchers, s.dropped)
	options := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxRecvMsgSize(max(maxRequest, opts.MaxRequest)),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.WaitForHandlers(true),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime, Time: pingAfter, Timeout: pingTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
	}
	if opts.TLS != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(opts.TLS)))
	}
	s.grpc = grpc.NewServer(options...)
	pb.RegisterLogServiceServer(s.grpc, service{server: s})
	if opts.Register != nil {
		opts.Register(s.grpc)
	}
	healthpb.RegisterHealthServer(s.grpc, probe{server: s.health})
	s.health.SetServingStatus(pb.LogService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	return s
}

// missed tells of events that a watcher has missed.
func (s *Server) missed(events int) {
	if events == 0 {
		return
	}
	s.dropped.Add(float64(events))
	if n := s.slow.Add(events, time.Now()); n > 0 {
		s.log.Warn("clients of the gRPC service read too slowly and miss events", "events", n)
	}
}

// Serve answers those who connect at l, until Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(netutil.LimitListener(l, maxConnections)); err != nil {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	return nil
}

// Stop gives watchers what they have yet to get of the feed, which has ended, ends
// their streams, and cuts off those that are not done when ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	close(s.stopping)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Warn("clients of the gRPC service were cut off")
		s.grpc.Stop()
		<-done
	}
}
