package nats_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/nats"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// start runs a NATS server in this process.
func start(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoLog, o.NoSigs, o.StoreDir = "127.0.0.1", true, true, t.TempDir()
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(&o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
}

func newOutput(t *testing.T, s outputtest.Settings) outputs.Output {
	t.Helper()
	o := outputtest.New(t, nats.Kind(), s)
	t.Cleanup(func() { o.(io.Closer).Close() })
	return o
}

func connect(t *testing.T, s *server.Server, opts ...client.Option) *client.Conn {
	t.Helper()
	nc, err := client.Connect(s.ClientURL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func subscribe(t *testing.T, nc *client.Conn, subject string) *client.Subscription {
	t.Helper()
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func receive(t *testing.T, sub *client.Subscription) *client.Msg {
	t.Helper()
	m, err := sub.NextMsg(30 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, nats.Kind()) }

func TestGolden(t *testing.T) {
	s := start(t, server.Options{})
	sub := subscribe(t, connect(t, s), ">")
	o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL()})
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{c.Event}); err != nil {
				t.Fatal(err)
			}
			m := receive(t, sub)
			text, err := json.Marshal(struct {
				Subject string
				Header  client.Header
				Data    json.RawMessage
			}{m.Subject, m.Header, m.Data})
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", text)
		})
	}
}

func TestSubjects(t *testing.T) {
	s := start(t, server.Options{})
	sub := subscribe(t, connect(t, s), ">")
	for template, want := range map[string]string{
		"falco.<priority>.<rule>":         "falco.critical.ksp_web_block_downloaders",
		"sec.<namespace>.<kind>.<action>": "sec.shop.alert.block",
		"plain":                           "plain",
		"<priority>-x":                    "critical-x",
	} {
		o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL(), "subjecttemplate": template})
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec()}); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, sub).Subject; got != want {
			t.Errorf("%q: got %q, want %q", template, got, want)
		}
	}
	o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL(), "subjecttemplate": "a.<rule>.<namespace>"})
	e := outputtest.Hostile()
	e.Alert.PolicyName, e.Alert.NamespaceName = strings.Repeat("ab*>. \r\n", 1000), "..."
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, sub).Subject; len(got) > 120 || strings.ContainsAny(got, "*> \r\n") || strings.Contains(got, "..") {
		t.Errorf("a workload chose the subject %q", got)
	}
}

func TestEventsAreNotChanged(t *testing.T) {
	s := start(t, server.Options{})
	o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL()})
	for i, e := range append(outputtest.Cases(), outputtest.Oversized()...) {
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{e.Event}); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if twin := append(outputtest.Cases(), outputtest.Oversized()...)[i]; !reflect.DeepEqual(e, twin) {
			t.Errorf("%s was changed", e.Name)
		}
	}
	if err := outputtest.Deliver(t.Context(), t, o, nil); err != nil {
		t.Errorf("no events: %v", err)
	}
}

// TestTooLarge: an event that the server does not take is cut; one that it does
// not take even so keeps no other back.
func TestTooLarge(t *testing.T) {
	big := outputtest.BlockedExec()
	big.Alert.Message = strings.Repeat("x", 64<<10)
	batch := []schema.Event{outputtest.Falco(), big, outputtest.Falco()}
	for _, tt := range []struct {
		payload int32
		failed  []int
	}{{32 << 10, nil}, {400, []int{1}}} {
		s := start(t, server.Options{MaxPayload: tt.payload})
		sub := subscribe(t, connect(t, s), ">")
		o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL(), "subjecttemplate": "x"})
		err := outputtest.Deliver(t.Context(), t, o, batch)
		e, ok := errors.AsType[*outputs.Error](err)
		if ok != (tt.failed != nil) || (ok && (e.Class != outputs.Permanent || !slices.Equal(e.Failed, tt.failed))) {
			t.Errorf("payload of %d: %#v (%v)", tt.payload, e, err)
		}
		for range len(batch) - len(tt.failed) {
			if m := receive(t, sub); !json.Valid(m.Data) {
				t.Errorf("not JSON: %.300s", m.Data)
			}
		}
	}
}

// TestTLS: the connection is encrypted and the server's certificate checked.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	defer srv.Close()
	s := start(t, server.Options{TLSConfig: &tls.Config{Certificates: srv.TLS.Certificates}, TLSTimeout: 10})
	file := outputtest.CertificateFile(t, srv)
	address := "tls://" + s.Addr().String()
	err := outputtest.Deliver(t.Context(), t, newOutput(t, outputtest.Settings{"hostport": address}), []schema.Event{outputtest.Log()})
	if err == nil || outputtest.Class(err) != outputs.Transient || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("unknown authority: %v", err)
	}
	o := newOutput(t, outputtest.Settings{"hostport": address, "cacertfile": file})
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
		t.Error(err)
	}
}

// TestForbidden: the server takes what may not be published without an answer;
// it must not count as delivered.
func TestForbidden(t *testing.T) {
	s := start(t, server.Options{Users: []*server.User{{
		Username: "writer", Password: outputtest.Canary,
		Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: []string{"allowed.>"}}},
	}}})
	address := "nats://writer:" + outputtest.Canary + "@" + s.Addr().String()
	err := outputtest.Deliver(t.Context(), t, newOutput(t, outputtest.Settings{"hostport": address}), []schema.Event{outputtest.Log()})
	if err == nil || outputtest.Class(err) != outputs.Transient || !strings.Contains(strings.ToLower(err.Error()), "permissions violation") {
		t.Errorf("got %v", err)
	}
	o := newOutput(t, outputtest.Settings{"hostport": address, "subjecttemplate": "allowed.<kind>"})
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
		t.Error(err)
	}
	o.(io.Closer).Close()
	outputtest.NoSecret(t, o)
	wrong := strings.Replace(address, outputtest.Canary, "x"+outputtest.Canary, 1)
	err = outputtest.Deliver(t.Context(), t, newOutput(t, outputtest.Settings{"hostport": wrong}), []schema.Event{outputtest.Log()})
	if err == nil || outputtest.Class(err) != outputs.Transient || !strings.Contains(err.Error(), "Authorization") {
		t.Errorf("wrong password: %v", err)
	}
}

func TestJetStream(t *testing.T) {
	s := start(t, server.Options{JetStream: true})
	o := newOutput(t, outputtest.Settings{"hostport": s.ClientURL(), "jetstream": "true"})
	var batch []schema.Event
	for i := range 300 {
		e := outputtest.Log()
		e.ID = fmt.Sprint(i)
		batch = append(batch, e)
	}
	err := outputtest.Deliver(t.Context(), t, o, batch)
	if err == nil || outputtest.Class(err) != outputs.Transient || !strings.Contains(err.Error(), "no stream") {
		t.Fatalf("without a stream: %v", err)
	}
	js, err := jetstream.New(connect(t, s))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"falco.>"}, MaxMsgSize: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // delivered twice, stored once
		if err := outputtest.Deliver(t.Context(), t, o, batch); err != nil {
			t.Fatal(err)
		}
	}
	info, err := stream.Info(t.Context())
	if err != nil || info.State.Msgs != 300 {
		t.Errorf("%d messages are stored (%v)", info.State.Msgs, err)
	}
	var ids []string
	for i := range batch {
		m, err := stream.GetMsg(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, m.Header.Get(client.MsgIdHdr))
	}
	var want []string
	for _, e := range batch {
		want = append(want, e.ID)
	}
	if diff := cmp.Diff(want, ids); diff != "" {
		t.Errorf("order: %s", diff)
	}
	big := outputtest.BlockedExec()
	big.Alert.Message = strings.Repeat("x", 64<<10)
	err = outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Falco(), big})
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{1}) {
		t.Errorf("above the stream's limit: %#v (%v)", e, err)
	}
}

// TestServerGone: the failure is transient, and the same output delivers once
// the server is back.
func TestServerGone(t *testing.T) {
	for _, js := range []string{"false", "true"} {
		first := start(t, server.Options{JetStream: true})
		port := first.Addr().(*net.TCPAddr).Port
		settings := outputtest.Settings{"hostport": first.ClientURL(), "jetstream": js}
		o := newOutput(t, settings)
		makeStream := func(s *server.Server) {
			stream, err := jetstream.New(connect(t, s))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.CreateStream(t.Context(), jetstream.StreamConfig{Name: "E", Subjects: []string{"falco.>"}}); err != nil {
				t.Fatal(err)
			}
		}
		makeStream(first)
		batch := []schema.Event{outputtest.Log()}
		if err := outputtest.Deliver(t.Context(), t, o, batch); err != nil {
			t.Fatal(err)
		}
		first.Shutdown()
		first.WaitForShutdown()
		for range 2 {
			if err := outputtest.Deliver(t.Context(), t, o, batch); err == nil || outputtest.Class(err) != outputs.Transient {
				t.Errorf("gone: %v", err)
			} else if !strings.Contains(err.Error(), "refused") && !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "EOF") {
				t.Errorf("gone, without the reason: %v", err)
			}
		}
		makeStream(start(t, server.Options{JetStream: true, Port: port}))
		if err := outputtest.Deliver(t.Context(), t, o, batch); err != nil {
			t.Errorf("back: %v", err)
		}
	}
}

// TestCalledOff: a server that does not speak is left as soon as the delivery is
// called off, and so is one that stops to.
func TestCalledOff(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, greeting := range []string{
		"",
		"INFO {\"server_id\":\"x\",\"version\":\"2.12.0\",\"headers\":true,\"max_payload\":1048576}\r\n",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		peer := make(chan net.Conn, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, _ = io.WriteString(conn, greeting)
				if greeting != "" { // answers the first PING, then no more
					buf := make([]byte, 64<<10)
					for n := 0; err == nil && !strings.Contains(string(buf[:n]), "PING"); {
						var got int
						got, err = conn.Read(buf[n:])
						n += got
					}
					_, _ = io.WriteString(conn, "PONG\r\n")
					_, _ = conn.Read(buf)
				}
			}
			cancel()
			peer <- conn
		}()
		o := newOutput(t, outputtest.Settings{"hostport": "nats://" + l.Addr().String()})
		err := outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.Log()})
		if outputtest.Class(err) != outputs.Transient || !errors.Is(err, context.Canceled) {
			t.Errorf("greeting %q: %v", greeting, err)
		}
		if err := outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.Log()}); !errors.Is(err, context.Canceled) {
			t.Errorf("called off before: %v", err)
		}
		o.(io.Closer).Close()
		(<-peer).Close()
	}
	l.Close()
	outputtest.Leaks(t, before)
}

func TestRefusedSettings(t *testing.T) {
	creds := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(creds, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"scheme":   {outputtest.Settings{"hostport": "http://a:" + outputtest.Canary + "@b"}, "NATS_HOSTPORT"},
		"no host":  {outputtest.Settings{"hostport": "nats://x,nats://" + outputtest.Canary + "@:"}, "NATS_HOSTPORT"},
		"token":    {outputtest.Settings{"subjecttemplate": "a.<pod>"}, "NATS_SUBJECTTEMPLATE"},
		"open":     {outputtest.Settings{"subjecttemplate": "a.<kind"}, "NATS_SUBJECTTEMPLATE"},
		"wildcard": {outputtest.Settings{"subjecttemplate": "a.*"}, "NATS_SUBJECTTEMPLATE"},
		"space":    {outputtest.Settings{"subjecttemplate": "a b"}, "NATS_SUBJECTTEMPLATE"},
		"dots":     {outputtest.Settings{"subjecttemplate": "a..b"}, "NATS_SUBJECTTEMPLATE"},
		"system":   {outputtest.Settings{"subjecttemplate": "$JS.<kind>"}, "NATS_SUBJECTTEMPLATE"},
		"flag":     {outputtest.Settings{"jetstream": "maybe"}, "NATS_JETSTREAM"},
		"creds":    {outputtest.Settings{"credsfile": creds + "x"}, "NATS_CREDSFILE"},
	} {
		t.Run(name, func(t *testing.T) {
			outputtest.Refused(t, nats.Kind(), outputtest.Settings{"hostport": "nats://127.0.0.1:4222"}.With(tt.settings), tt.want)
		})
	}
}
