package grpcapi

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/logtest"
)

var update = flag.Bool("update", false, "write the golden files")

type fixture struct {
	*Server
	address string
	log     *logtest.Log
	closed  atomic.Bool // Stop was called
}

func (f *fixture) show(events ...schema.Event) {
	packed := make([]schema.Packed, len(events))
	for i := range events {
		packed[i] = events[i].Pack()
	}
	f.feed.Accepted(packed)
}

func serve(t *testing.T, opts Options) *fixture {
	t.Helper()
	f := &fixture{log: &logtest.Log{}}
	opts.Feed = feed.New()
	opts.Metrics, opts.Log = prometheus.NewRegistry(), slog.New(slog.NewTextHandler(f.log, nil))
	f.Server = New(opts)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.address = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if f.closed.CompareAndSwap(false, true) {
			f.feed.End()
			f.Stop(ctx)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return f
}

// client connects as karmor and kubearmor-relay do.
func (f *fixture) client(t *testing.T, creds credentials.TransportCredentials) (pb.LogServiceClient, *grpc.ClientConn) {
	t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient(f.address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewLogServiceClient(conn), conn
}

// alerts watches, and returns when nothing escapes any more.
func alerts(t *testing.T, ctx context.Context, c pb.LogServiceClient, filter string) pb.LogService_WatchAlertsClient {
	t.Helper()
	stream, err := c.WatchAlerts(ctx, &pb.RequestMessage{Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func alert(resource string) schema.Event {
	return schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{
		Record:     schema.Record{Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile, Resource: resource},
		PolicyName: "p", Action: schema.ActionBlock,
	}}
}

func TestHealth(t *testing.T) {
	f := serve(t, Options{Authorized: func([]string) bool { return false }})
	c, conn := f.client(t, nil)
	for _, nonce := range []int32{0, 1, -7, 1<<31 - 1} {
		reply, err := c.HealthCheck(t.Context(), &pb.NonceMessage{Nonce: nonce})
		if err != nil || reply.GetRetval() != nonce {
			t.Errorf("got %v, %v, want %d", reply, err, nonce)
		}
	}
	h := healthpb.NewHealthClient(conn)
	for _, service := range []string{"", "feeder.LogService"} {
		r, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{Service: service})
		if err != nil || r.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, r, err)
		}
	}
	w, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err == nil {
		_, err = w.Recv()
	}
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("Watch: %v", err)
	}
}

// Every field arrives under the name that KubeArmor's clients print.
func TestFieldsAsKubeArmorNamesThem(t *testing.T) {
	f := serve(t, Options{})
	c, _ := f.client(t, nil)
	alerts := alerts(t, t.Context(), c, "all")
	logs, err := c.WatchLogs(t.Context(), &pb.RequestMessage{Filter: "all"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := logs.Header(); err != nil {
		t.Fatal(err)
	}
	var sent []schema.Event
	for _, name := range []string{"alert", "log"} {
		text, err := os.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		e, err := schema.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, e)
	}
	f.show(sent...)
	gotAlert, err := alerts.Recv()
	if err != nil {
		t.Fatal(err)
	}
	gotLog, err := logs.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	enc := json.NewEncoder(&all)
	enc.SetIndent("", "  ")
	for _, m := range []any{gotAlert, gotLog} { // encoding/json, as karmor has it
		if err := enc.Encode(m); err != nil {
			t.Fatal(err)
		}
	}
	if *update {
		if err := os.WriteFile("testdata/received.golden", all.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/received.golden")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(all.Bytes(), want) {
		t.Errorf("differs from testdata/received.golden (-update writes it):\n%s", &all)
	}
}

// As with KubeArmor, a stream with another filter ends at once, without an error.
func TestFilters(t *testing.T) {
	f := serve(t, Options{})
	c, _ := f.client(t, nil)
	for filter, open := range map[string][2]bool{
		"all": {true, true}, "policy": {true, false}, "system": {false, true}, "": {}, "ALL": {}, "x": {},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		a, err := c.WatchAlerts(ctx, &pb.RequestMessage{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		l, err := c.WatchLogs(ctx, &pb.RequestMessage{Filter: filter})
		if err != nil {
			t.Fatal(err)
		}
		for i, stream := range []grpc.ClientStream{a, l} {
			if open[i] {
				if h, err := stream.Header(); err != nil || h == nil {
					t.Errorf("%q, stream %d: not open: %v", filter, i, err)
				}
				continue
			}
			if err := stream.RecvMsg(&pb.Alert{}); !errors.Is(err, io.EOF) {
				t.Errorf("%q, stream %d: %v", filter, i, err)
			}
		}
		cancel()
	}
	m, err := c.WatchMessages(t.Context(), &pb.RequestMessage{Filter: "all"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Header(); err != nil {
		t.Errorf("messages: %v", err)
	}
}

// Each gets its own kind, in order, from when it joined; Falco's events nobody.
func TestWhoGetsWhat(t *testing.T) {
	f := serve(t, Options{})
	c, _ := f.client(t, nil)
	f.show(alert("before"))
	first, second := alerts(t, t.Context(), c, "all"), alerts(t, t.Context(), c, "policy")
	f.show(
		schema.Event{Kind: schema.KindFalco, Falco: &schema.FalcoEvent{Rule: "r"}},
		alert("0"),
		schema.Event{Kind: schema.KindLog, Log: &schema.Log{}},
		alert("1"),
	)
	f.show()
	f.show(alert("2"))
	for _, stream := range []pb.LogService_WatchAlertsClient{first, second} {
		for i := range 3 {
			m, err := stream.Recv()
			if err != nil || m.GetResource() != fmt.Sprint(i) {
				t.Errorf("got %v, %v, want %d", m, err, i)
			}
		}
	}
	if n := testutil.ToFloat64(f.watchers); n != 2 {
		t.Errorf("%v watchers", n)
	}
}

// A client that does not read misses the oldest, of which it and the log are told,
// and holds up neither ingest nor other clients.
func TestSlowClientMissesTheOldest(t *testing.T) {
	const size, sent = 64 << 10, 400 // three times what is held
	f := serve(t, Options{})
	c, _ := f.client(t, nil)
	slow, fast := alerts(t, t.Context(), c, "all"), alerts(t, t.Context(), c, "all")
	padding := strings.Repeat("x", size)
	for i := range sent {
		e := alert(fmt.Sprint(i))
		e.Alert.Message = padding
		f.show(e)
		if m, err := fast.Recv(); err != nil || m.GetResource() != fmt.Sprint(i) {
			t.Fatalf("fast client: %v, %v, want %d", m, err, i)
		}
	}
	last, got := -1, 0
	for last != sent-1 {
		m, err := slow.Recv()
		if err != nil {
			t.Fatalf("after %d: %v", got, err)
		}
		var n int
		if _, err := fmt.Sscan(m.GetResource(), &n); err != nil || n <= last {
			t.Fatalf("%d comes after %d", n, last)
		}
		last = n
		got++
	}
	if missed := int(testutil.ToFloat64(f.dropped)); missed == 0 || missed != sent-got {
		t.Errorf("%d of %d came, %d were counted as missed", got, sent, missed)
	}
	if n := strings.Count(f.log.String(), "read too slowly"); n != 1 {
		t.Errorf("the log tells it %d times:\n%s", n, f.log)
	}
}

func TestTokens(t *testing.T) {
	f := serve(t, Options{Authorized: func(shown []string) bool { return slices.Equal(shown, []string{"Bearer good"}) }})
	c, _ := f.client(t, nil)
	for _, shown := range []string{"", "Bearer bad", "Bearer good"} {
		ctx := t.Context()
		if shown != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", shown)
		}
		stream, err := c.WatchAlerts(ctx, &pb.RequestMessage{Filter: "all"})
		if err != nil {
			t.Fatal(err)
		}
		if shown == "Bearer good" {
			if h, err := stream.Header(); err != nil || h == nil {
				t.Errorf("with the token: %v", err)
			}
			continue
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%q: %v", shown, err)
		}
	}
	if log := f.log.String(); !strings.Contains(log, "requests=1") || strings.Contains(log, "bad") {
		t.Errorf("log: %s", log)
	}
}

// certificate signs itself, for a server and a client.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}

func TestTLS(t *testing.T) {
	own, pool := certificate(t)
	strange, _ := certificate(t)
	// As access.TLS gives it for HTTP: HTTP/1.1 alone, and decided at each connection.
	current := &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	f := serve(t, Options{TLS: &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current, nil },
	}})
	for name, c := range map[string]struct {
		creds credentials.TransportCredentials
		code  codes.Code
	}{
		"with the certificate": {credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{own}}), codes.OK},
		"with another":         {credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{strange}}), codes.Unavailable},
		"without":              {credentials.NewTLS(&tls.Config{RootCAs: pool}), codes.Unavailable},
		"without TLS":          {insecure.NewCredentials(), codes.Unavailable},
	} {
		client, _ := f.client(t, c.creds)
		if _, err := client.HealthCheck(t.Context(), &pb.NonceMessage{}); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBounds(t *testing.T) {
	f := serve(t, Options{})
	var clients []pb.LogServiceClient
	for range maxWatchers/maxStreams + 1 {
		c, _ := f.client(t, nil)
		clients = append(clients, c)
	}
	for i := range maxWatchers {
		alerts(t, t.Context(), clients[i/maxStreams], "all")
	}
	one := clients[len(clients)-1]
	stream, err := one.WatchAlerts(t.Context(), &pb.RequestMessage{Filter: "all"})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more watcher: %v", err)
	}
	stream, err = one.WatchAlerts(t.Context(), &pb.RequestMessage{Filter: strings.Repeat("x", maxRequest)})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large request: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("x", maxHeaders))
	if _, err := one.HealthCheck(ctx, &pb.NonceMessage{}); status.Code(err) == codes.OK {
		t.Error("large headers are taken")
	}
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("HTTP/1.1 is not cut off: %v", err)
	}
	if _, err := one.HealthCheck(t.Context(), &pb.NonceMessage{}); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// Stop hands out what is held, and waits for nobody who does not read.
func TestStop(t *testing.T) {
	f := serve(t, Options{})
	c, _ := f.client(t, nil)
	reads, stuck := alerts(t, t.Context(), c, "all"), alerts(t, t.Context(), c, "all")
	big := alert(strings.Repeat("r", 100<<10))
	const sent = 20 // more than a stream's window
	for range sent {
		f.show(big)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	f.closed.Store(true)
	f.feed.End()
	go func() { defer close(stopped); f.Stop(ctx) }()
	for i := range sent {
		if _, err := reads.Recv(); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if _, err := reads.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
	cancel()
	<-stopped
	for {
		if _, err := stuck.Recv(); err != nil {
			break
		}
	}
	if !strings.Contains(f.log.String(), "cut off") {
		t.Errorf("log: %s", f.log)
	}
}
