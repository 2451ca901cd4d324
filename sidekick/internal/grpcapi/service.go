package grpcapi

import (
	"context"
	"errors"
	"io"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/kubearmor"
)

// service is the interface of the protocol: its methods are for clients only.
type service struct {
	pb.UnimplementedLogServiceServer
	server *Server
}

// HealthCheck gives the number back, by which clients know that they have found a
// LogService. Everybody may ask.
func (service) HealthCheck(_ context.Context, m *pb.NonceMessage) (*pb.ReplyMessage, error) {
	return &pb.ReplyMessage{Retval: m.GetNonce()}, nil
}

func (s service) WatchAlerts(r *pb.RequestMessage, stream grpc.ServerStreamingServer[pb.Alert]) error {
	if f := r.GetFilter(); f != kubearmor.FilterAll && f != kubearmor.FilterPolicy {
		return nil // as KubeArmor does
	}
	return watch(s.server, s.server.feed.Alerts, stream, func(e *schema.Event) error {
		return stream.Send(kubearmor.AlertMessage(e.Alert))
	})
}

func (s service) WatchLogs(r *pb.RequestMessage, stream grpc.ServerStreamingServer[pb.Log]) error {
	if f := r.GetFilter(); f != kubearmor.FilterAll && f != kubearmor.FilterSystem {
		return nil
	}
	return watch(s.server, s.server.feed.Logs, stream, func(e *schema.Event) error {
		return stream.Send(kubearmor.LogMessage(e.Log))
	})
}

// WatchMessages stays open and silent, as with a KubeArmor that does not debug: its
// daemon says something there when it does, and nothing is said here.
func (s service) WatchMessages(_ *pb.RequestMessage, stream grpc.ServerStreamingServer[pb.Message]) error {
	leave, err := s.server.enter(stream)
	if err != nil {
		return err
	}
	defer leave()
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	select {
	case <-stream.Context().Done():
		return status.FromContextError(stream.Context().Err()).Err()
	case <-s.server.stopping:
		return nil
	}
}

// enter lets a watcher in who may watch, and while there is a place.
func (s *Server) enter(stream grpc.ServerStream) (leave func(), err error) {
	if err := s.admit(stream.Context()); err != nil {
		return nil, err
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return nil, status.Errorf(codes.ResourceExhausted, "%d streams are open already", maxWatchers)
	}
	s.watchers.Inc()
	return func() {
		s.watchers.Dec()
		<-s.slots
	}, nil
}

// watch sends what l gets from now on, until the client leaves or l ends.
func watch(s *Server, l *feed.Log[*feed.Event], stream grpc.ServerStream, send func(*schema.Event) error) error {
	leave, err := s.enter(stream)
	if err != nil {
		return err
	}
	defer leave()
	ctx, r := stream.Context(), l.Listen()
	defer func() {
		s.missed(r.Close())
		s.log.Debug("client of the gRPC service has left", "client", from(ctx), "missed_events", r.Missed())
	}()
	// The headers tell a client that nothing escapes it any more.
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		shared, missed, err := r.Next(ctx)
		s.missed(missed)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return status.FromContextError(err).Err()
		}
		e, err := shared.Read()
		if err != nil { // of none that was taken
			s.log.Error("event that is stored cannot be shown", "id", shared.ID, "error", err)
			continue
		}
		if err := send(&e); err != nil {
			return err
		}
	}
}

// admit lets those watch who may. It says the same whatever is wrong.
func (s *Server) admit(ctx context.Context) error {
	if s.authorized == nil || s.authorized(metadata.ValueFromIncomingContext(ctx, "authorization")) {
		return nil
	}
	if n := s.unauthorized.Add(1, time.Now()); n > 0 {
		s.log.Warn("gRPC clients without a valid token are refused", "requests", n, "last_from", from(ctx))
	}
	return status.Error(codes.Unauthenticated, "a valid token is required, as authorization: Bearer TOKEN")
}

func from(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}

// probe is the health service without Watch, whose streams would be held open by
// whoever likes. Clients take it for healthy then.
type probe struct {
	healthpb.UnimplementedHealthServer
	server *health.Server
}

// Check says whether events are shown. Everybody may ask.
func (p probe) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return p.server.Check(ctx, r)
}
