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

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/kubearmor"
	"github.com/sidearmor/sidearmor/sidekick/internal/loglimit"
)

// Bounds on what clients can cost. A request has a few bytes, and a client three
// streams.
const (
	maxConnections = 64
	maxStreams     = 16 // of a connection
	maxWatchers    = 64 // of all connections
	maxRequest     = 4 << 10
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
	Metrics    prometheus.Registerer
	Log        *slog.Logger
}

// Server is KubeArmor's LogService.
type Server struct {
	grpc       *grpc.Server
	health     *health.Server
	log        *slog.Logger
	authorized func([]string) bool

	alerts   feed[*pb.Alert]
	logs     feed[*pb.Log]
	messages feed[*pb.Message] // KubeArmor's daemon says something there when it debugs; nothing is said here
	slots    chan struct{}     // one for each watcher

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
		grpc.MaxRecvMsgSize(maxRequest),
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
	healthpb.RegisterHealthServer(s.grpc, probe{server: s.health})
	s.health.SetServingStatus(pb.LogService_ServiceDesc.ServiceName, healthpb.HealthCheckResponse_SERVING)
	return s
}

// Show gives events to those who watch. It does not wait for them. Falco's events
// have no place in KubeArmor's service and are left out.
func (s *Server) Show(events []schema.Packed) {
	alerts, logs := s.alerts.watched(), s.logs.watched()
	missed := 0
	for i := range events {
		kind := events[i].Kind
		if !(alerts && kind == schema.KindAlert || logs && kind == schema.KindLog) {
			continue
		}
		switch e, err := events[i].Event(); {
		case err != nil: // of none that was taken
			s.log.Error("event that is stored cannot be shown", "id", events[i].ID, "error", err)
		case kind == schema.KindAlert:
			missed += s.alerts.add(kubearmor.AlertMessage(e.Alert))
		default:
			missed += s.logs.add(kubearmor.LogMessage(e.Log))
		}
	}
	if missed == 0 {
		return
	}
	s.dropped.Add(float64(missed))
	if n := s.slow.Add(missed, time.Now()); n > 0 {
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

// Stop gives watchers what they have yet to get, ends their streams, and cuts off
// those that are not done when ctx ends.
func (s *Server) Stop(ctx context.Context) {
	s.health.Shutdown()
	s.alerts.finish()
	s.logs.finish()
	s.messages.finish()
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
