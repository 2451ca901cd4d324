package pull

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/grpcapi"
)

// daemon is a KubeArmor that does as the test likes. A nil function stands for a
// stream on which nothing comes.
type daemon struct {
	pb.UnimplementedLogServiceServer
	health func(nonce int32) (int32, error)
	alerts func(session int, stream grpc.ServerStreamingServer[pb.Alert]) error
	logs   func(session int, stream grpc.ServerStreamingServer[pb.Log]) error

	mu       sync.Mutex
	sessions int
}

func (d *daemon) HealthCheck(_ context.Context, m *pb.NonceMessage) (*pb.ReplyMessage, error) {
	if d.health == nil {
		return &pb.ReplyMessage{Retval: m.Nonce}, nil
	}
	n, err := d.health(m.Nonce)
	return &pb.ReplyMessage{Retval: n}, err
}

func (d *daemon) WatchAlerts(r *pb.RequestMessage, stream grpc.ServerStreamingServer[pb.Alert]) error {
	if r.Filter != "all" && r.Filter != "policy" {
		return nil
	}
	d.mu.Lock()
	session := d.sessions
	d.sessions++
	d.mu.Unlock()
	if d.alerts != nil {
		return d.alerts(session, stream)
	}
	<-stream.Context().Done()
	return nil
}

func (d *daemon) WatchLogs(r *pb.RequestMessage, stream grpc.ServerStreamingServer[pb.Log]) error {
	if r.Filter != "all" && r.Filter != "system" {
		return nil
	}
	if d.logs != nil {
		return d.logs(0, stream)
	}
	<-stream.Context().Done()
	return nil
}

// listen starts d at address and gives where it is.
func (d *daemon) listen(t *testing.T, address string) (at string, stop func()) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterLogServiceServer(s, d)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	stop = sync.OnceFunc(func() { s.Stop(); <-done })
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// store takes what is pulled.
type store struct {
	mu     sync.Mutex
	got    []string
	refuse func(calls int) bool
	calls  int
	came   chan struct{}
}

func newStore() *store { return &store{came: make(chan struct{}, 1)} }

func (s *store) take(_ context.Context, events []schema.Event) ([]schema.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.refuse != nil && s.refuse(s.calls) {
		return events, errors.New("queue is full")
	}
	for _, e := range events {
		s.got = append(s.got, e.Record().Resource)
	}
	select {
	case s.came <- struct{}{}:
	default:
	}
	return nil, nil
}

func (s *store) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// wait returns when n events were taken.
func (s *store) wait(t *testing.T, n int) []string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		if got := s.taken(); len(got) >= n {
			return got
		}
		select {
		case <-s.came:
		case <-limit:
			t.Fatalf("%d of %d came", len(s.taken()), n)
		}
	}
}

// fixture is a puller that runs.
type fixture struct {
	*Puller
	*store
	log  *lines
	stop func()
}

type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	wrote chan struct{}
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.text.Write(b)
}

// wait returns when the log has text n times.
func (l *lines) wait(t *testing.T, text string, n int) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		l.mu.Lock()
		all := l.text.String()
		l.mu.Unlock()
		if strings.Count(all, text) >= n {
			return
		}
		select {
		case <-l.wrote:
		case <-limit:
			t.Fatalf("%q is not %d times in the log:\n%s", text, n, all)
		}
	}
}

func pullFrom(t *testing.T, s *store, opts Options, change func(*peer)) *fixture {
	t.Helper()
	f := &fixture{store: s, log: &lines{wrote: make(chan struct{}, 1)}}
	opts.Take, opts.Metrics = s.take, prometheus.NewRegistry()
	opts.Log = slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	f.Puller = New(opts)
	for _, p := range f.peers {
		if change != nil {
			change(p)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	return f
}

func alertOf(resource any) *pb.Alert {
	return &pb.Alert{Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile, Resource: fmt.Sprint(resource)}
}

func numbers(from, to int) (want []string) {
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprint(i))
	}
	return want
}

// Against the sidekick's own server: both streams, with every peer.
func TestTakesFromEveryPeer(t *testing.T) {
	var peers []string
	var feeds []*feed.Feed
	for range 2 {
		shown := feed.New()
		s := grpcapi.New(grpcapi.Options{Feed: shown, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		t.Cleanup(func() { shown.End(); s.Stop(context.Background()); <-done })
		peers, feeds = append(peers, l.Addr().String()), append(feeds, shown)
	}
	f := pullFrom(t, newStore(), Options{Peers: peers, Logs: true}, nil)
	// Shown again and again, until the first has been there in time.
	for i, shown := range feeds {
		for _, e := range []schema.Event{
			{Kind: schema.KindAlert, Alert: &schema.Alert{Record: schema.Record{Resource: fmt.Sprint("alert ", i)}}},
			{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Resource: fmt.Sprint("log ", i)}}},
		} {
			for !slices.Contains(f.taken(), e.Record().Resource) {
				shown.Accepted([]schema.Packed{e.Pack()})
				select {
				case <-f.came:
				case <-time.After(10 * time.Millisecond):
				}
			}
		}
	}
	if errs := f.Ready(); len(errs) > 0 || testutil.ToFloat64(f.connected) != 2 {
		t.Errorf("not ready: %v", errs)
	}
	f.stop()
	if n := testutil.ToFloat64(f.received); int(n) != len(f.taken()) {
		t.Errorf("%v received, %d stored", n, len(f.taken()))
	}
	if testutil.ToFloat64(f.connected) != 0 {
		t.Error("connected after the end")
	}
}

// A peer that ends the stream, breaks it, sends what is too large or says no: what
// came before is stored, and what comes after is taken, for ever.
func TestReconnects(t *testing.T) {
	d := &daemon{}
	d.alerts = func(session int, stream grpc.ServerStreamingServer[pb.Alert]) error {
		if err := stream.Send(alertOf(session)); err != nil {
			return err
		}
		switch session {
		case 0:
			return nil
		case 1:
			return status.Error(codes.Internal, "broken")
		case 2:
			return stream.Send(alertOf(strings.Repeat("x", maxMessage)))
		case 3:
			return status.Error(codes.Unauthenticated, "no")
		}
		<-stream.Context().Done()
		return nil
	}
	address, stop := d.listen(t, "127.0.0.1:0")
	f := pullFrom(t, newStore(), Options{Peers: []string{address}}, nil)
	if got := f.wait(t, 5); !slices.Equal(got, numbers(0, 5)) {
		t.Errorf("got %v", got)
	}
	for _, reason := range []string{errEnded.Error(), "broken", "larger than max", "desc = no"} {
		f.log.wait(t, reason, 1)
	}

	// The peer goes, and comes back at the same address.
	stop()
	f.log.wait(t, "connection refused", 1)
	if errs := f.Ready(); len(errs) != 1 || !strings.Contains(errs[0].Error(), address+" is not connected") {
		t.Errorf("Ready says %v", errs)
	}
	d.listen(t, address)
	if got := f.wait(t, 6); !slices.Equal(got, numbers(0, 6)) {
		t.Errorf("got %v", got)
	}
}

func TestNotKubeArmor(t *testing.T) {
	d := &daemon{health: func(nonce int32) (int32, error) { return nonce + 1, nil }}
	address, _ := d.listen(t, "127.0.0.1:0")
	f := pullFrom(t, newStore(), Options{Peers: []string{address}}, nil)
	f.log.wait(t, "not KubeArmor", 2)
	f.stop()
	if d.sessions != 0 || len(f.taken()) != 0 {
		t.Error("it is watched all the same")
	}
}

func TestHealthCheckMayBeGone(t *testing.T) {
	d := &daemon{
		health: func(int32) (int32, error) { return 0, status.Error(codes.Unimplemented, "deprecated") },
		alerts: func(_ int, stream grpc.ServerStreamingServer[pb.Alert]) error {
			_ = stream.Send(alertOf(0))
			<-stream.Context().Done()
			return nil
		},
	}
	address, _ := d.listen(t, "127.0.0.1:0")
	pullFrom(t, newStore(), Options{Peers: []string{address}}, nil).wait(t, 1)
}

// relay forwards connections, and holds them without a word when it is told to.
func relay(t *testing.T, to string) (address string, hold func()) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	var current []net.Conn
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			mu.Lock()
			current = []net.Conn{in, out}
			mu.Unlock()
			t.Cleanup(func() { in.Close(); out.Close() })
			go func() { _, _ = io.Copy(out, in) }()
			go func() { _, _ = io.Copy(in, out) }()
		}
	}()
	return l.Addr().String(), func() {
		mu.Lock()
		defer mu.Unlock()
		current[1].Close() // the far side: the near one stays open, and nobody reads it
	}
}

// A connection whose other end is gone without a word is found out, and made anew.
func TestHalfOpenConnection(t *testing.T) {
	d := &daemon{alerts: func(session int, stream grpc.ServerStreamingServer[pb.Alert]) error {
		_ = stream.Send(alertOf(session))
		<-stream.Context().Done()
		return nil
	}}
	behind, _ := d.listen(t, "127.0.0.1:0")
	address, hold := relay(t, behind)
	f := pullFrom(t, newStore(), Options{Peers: []string{address}}, func(p *peer) {
		p.checkEvery, p.checkTime = 20*time.Millisecond, time.Second
	})
	f.wait(t, 1)
	hold()
	if got := f.wait(t, 2); !slices.Equal(got, numbers(0, 2)) {
		t.Errorf("got %v", got)
	}
	f.log.wait(t, "health check: rpc error: code = DeadlineExceeded", 1)
}

// While the store refuses, the peer has to wait; nothing is lost, nothing comes
// twice or out of order.
func TestFullStoreHoldsThePeer(t *testing.T) {
	const sent = 4000
	var mu sync.Mutex
	sends := 0
	blocked := make(chan struct{})
	d := &daemon{alerts: func(session int, stream grpc.ServerStreamingServer[pb.Alert]) error {
		for i := range sent {
			m := alertOf(i)
			m.Message = strings.Repeat("x", 1024)
			held := time.AfterFunc(200*time.Millisecond, func() {
				mu.Lock()
				defer mu.Unlock()
				if sends < sent {
					select {
					case <-blocked:
					default:
						close(blocked)
					}
				}
			})
			err := stream.Send(m)
			held.Stop()
			if err != nil {
				return err
			}
			mu.Lock()
			sends++
			mu.Unlock()
		}
		<-stream.Context().Done()
		return nil
	}}
	address, _ := d.listen(t, "127.0.0.1:0")
	s := newStore()
	open := make(chan struct{})
	s.refuse = func(int) bool {
		select {
		case <-open:
			return false
		default:
			return true
		}
	}
	f := pullFrom(t, s, Options{Peers: []string{address}}, func(p *peer) {
		p.checkEvery = 10 * time.Millisecond // who waits is not taken for dead
	})
	<-blocked
	mu.Lock()
	if sends > sent/2 {
		t.Errorf("%d of %d were sent while the store was full", sends, sent)
	}
	mu.Unlock()
	f.log.wait(t, "cannot be stored", 1)
	close(open)
	if got := f.wait(t, sent); !slices.Equal(got, numbers(0, sent)) {
		t.Errorf("lost, twice or out of order: %d came", len(got))
	}
	if d.sessions != 1 {
		t.Errorf("%d connections", d.sessions)
	}
}

// What has been received is stored before Run returns, or the log says what is
// lost.
func TestStop(t *testing.T) {
	const sent = batch
	for _, full := range []bool{false, true} {
		d := &daemon{alerts: func(_ int, stream grpc.ServerStreamingServer[pb.Alert]) error {
			for i := range sent {
				_ = stream.Send(alertOf(i))
			}
			<-stream.Context().Done()
			return nil
		}}
		address, _ := d.listen(t, "127.0.0.1:0")
		s := newStore()
		var f *fixture
		stopped := make(chan struct{})
		s.refuse = func(int) bool {
			select {
			case <-stopped:
				return full
			default:
				return true
			}
		}
		f = pullFrom(t, s, Options{Peers: []string{address}}, nil)
		for testutil.ToFloat64(f.received) < sent {
			<-time.After(time.Millisecond)
		}
		close(stopped)
		f.stop()
		lost := strings.Contains(f.log.text.String(), "events received are lost")
		if got := f.taken(); full != lost || !full && !slices.Equal(got, numbers(0, sent)) {
			t.Errorf("full %v: lost %v, got %v", full, lost, got)
		}
	}
}

func TestTLSFails(t *testing.T) {
	address, _ := (&daemon{}).listen(t, "127.0.0.1:0")
	calls := 0
	f := pullFrom(t, newStore(), Options{Peers: []string{address}, TLS: func() (*tls.Config, error) {
		if calls++; calls == 1 {
			return nil, errors.New("no such file")
		}
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}}, nil)
	f.log.wait(t, "no such file", 1)
	f.log.wait(t, "first record does not look like a TLS handshake", 1)
}
