package syslog_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/syslog"
	"github.com/sidearmor/sidearmor/schema"
)

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, syslog.Kind()) }

func events(cases []outputtest.Case) []schema.Event {
	var list []schema.Event
	for _, c := range cases {
		list = append(list, c.Event)
	}
	return list
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"json", "cef"} {
		r := listen(t, nil)
		o := outputtest.New(t, syslog.Kind(), with(r.settings(), "format", format))
		if err := o.Deliver(t.Context(), events(outputtest.Cases())); err != nil {
			t.Fatal(err)
		}
		r.all(t)
		outputtest.Golden(t, format+".txt", []byte(strings.Join(r.messages, "\n")+"\n"))
	}
}

// TestEvents: every event arrives, in order, by each protocol, parses, and is
// left as it was.
func TestEvents(t *testing.T) {
	cases := append(outputtest.Cases(), outputtest.Oversized()...)
	srv := certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ protocol, limit string }{
		{"tcp", "480"}, {"tcp", "8000"}, {"tcp", "1000000"}, {"tls", "8000"},
	} {
		t.Run(tt.protocol+"/"+tt.limit, func(t *testing.T) {
			var config *tls.Config
			if tt.protocol == "tls" {
				config = srv.TLS
			}
			r := listen(t, config)
			o := outputtest.New(t, syslog.Kind(), with(r.settings(), "protocol", tt.protocol, "maxlength", tt.limit, "cacertfile", ca))
			batch, twin := events(cases), events(append(outputtest.Cases(), outputtest.Oversized()...))
			if err := o.Deliver(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(batch, twin) {
				t.Error("the events were changed")
			}
			check(t, r.all(t), batch)
		})
	}
	if err := outputtest.New(t, syslog.Kind(), outputtest.Settings{"host": "127.0.0.1", "port": "1"}).Deliver(t.Context(), nil); err != nil {
		t.Errorf("no events: %v", err)
	}
}

func check(t *testing.T, got []received, batch []schema.Event) {
	t.Helper()
	if len(got) != len(batch) {
		t.Fatalf("%d messages, want %d", len(got), len(batch))
	}
	for i, g := range got {
		e := batch[i]
		if g.facility != 10 || g.kind != string(e.Kind) || g.data != "-" || g.process != "-" || !json.Valid([]byte(g.text)) {
			t.Errorf("message %d: %.500v", i, g)
		}
		if !e.Time().IsZero() && !g.time.Equal(e.Time().Truncate(time.Microsecond)) {
			t.Errorf("message %d is of %v, the event of %v", i, g.time, e.Time())
		}
	}
}

func TestUDP(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o := outputtest.New(t, syslog.Kind(), with(at(conn.LocalAddr()), "protocol", "udp", "maxlength", "1000000"))
	buffer := make([]byte, 1<<17)
	for _, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
		if err := o.Deliver(t.Context(), []schema.Event{c.Event}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := conn.ReadFrom(buffer)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(string(buffer[:n]))
		if err != nil || !json.Valid([]byte(m.text)) {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// TestFaults: whatever breaks passes, names the events, and waits no longer than
// it must.
func TestFaults(t *testing.T) {
	tell := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Write([]byte(text))
			_, _ = c.Read(make([]byte, 1<<20))
		}
	}
	for name, serve := range map[string]func(net.Conn){
		"reset":             func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) },
		"reset when it has": func(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)); _ = c.(*net.TCPConn).SetLinger(0) },
		"talks for ever":    tell(strings.Repeat("220 ready ", 1<<16)),
	} {
		t.Run(name, func(t *testing.T) {
			l := stub(t, serve)
			o := outputtest.New(t, syslog.Kind(), at(l.Addr()))
			batch := []schema.Event{outputtest.Log(), outputtest.BlockedExec()}
			wantTransient(t, o.Deliver(t.Context(), batch), 2)
		})
	}
	t.Run("refused", func(t *testing.T) {
		l := stub(t, nil)
		l.Close()
		o := outputtest.New(t, syslog.Kind(), at(l.Addr()))
		wantTransient(t, o.Deliver(t.Context(), []schema.Event{outputtest.Log()}), 1)
	})
	t.Run("no TLS there", func(t *testing.T) {
		l := stub(t, tell("HTTP/1.1 400 Bad Request\r\n\r\n"))
		o := outputtest.New(t, syslog.Kind(), with(at(l.Addr()), "protocol", "tls"))
		wantTransient(t, o.Deliver(t.Context(), []schema.Event{outputtest.Log()}), 1)
	})
	t.Run("unknown authority", func(t *testing.T) {
		srv := certificate(t)
		l := stub(t, func(c net.Conn) { _ = tls.Server(c, srv.TLS).Handshake() })
		o := outputtest.New(t, syslog.Kind(), with(at(l.Addr()), "protocol", "tls"))
		err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()})
		wantTransient(t, err, 1)
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o := outputtest.New(t, syslog.Kind(), listen(t, nil).settings())
		err := o.Deliver(ctx, []schema.Event{outputtest.Log()})
		wantTransient(t, err, 1)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v does not say that it was cancelled", err)
		}
	})
}

// TestHang: a server that takes everything and never closes, or never reads, is
// left when the delivery is called off.
func TestHang(t *testing.T) {
	for name, events := range map[string]int{"never closes": 1, "never reads": 20_000} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			l := stub(t, func(c net.Conn) {
				if events == 1 {
					_, _ = c.Read(make([]byte, 64<<10))
				}
				close(arrived)
				<-release
			})
			defer close(release)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-arrived
				cancel()
			}()
			o := outputtest.New(t, syslog.Kind(), at(l.Addr()))
			batch := make([]schema.Event, events)
			for i := range batch {
				batch[i] = outputtest.Log()
			}
			wantTransient(t, o.Deliver(ctx, batch), events)
		})
	}
}

// TestRestart: what a server that went away did not read is not taken for
// delivered, and the next delivery makes a new connection.
func TestRestart(t *testing.T) {
	before := runtime.NumGoroutine()
	r := listen(t, nil)
	o := outputtest.New(t, syslog.Kind(), r.settings())
	for range 3 {
		if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log()}); err != nil {
			t.Fatal(err)
		}
	}
	r.listener.Close()
	wantTransient(t, o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}), 1)
	l, err := net.Listen("tcp", r.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	again := &receiver{t: t, listener: l}
	again.wg.Go(again.accept)
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil {
		t.Fatal(err)
	}
	l.Close()
	again.wg.Wait()
	r.wg.Wait()
	if len(r.all(t)) != 3 || len(again.all(t)) != 1 {
		t.Errorf("%d and %d messages", len(r.messages), len(again.messages))
	}
	for deadline := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("goroutines are left over")
		}
	}
}

func TestConcurrency(t *testing.T) {
	r := listen(t, nil)
	batch := events(outputtest.Cases())
	var wg sync.WaitGroup
	for range 4 {
		o := outputtest.New(t, syslog.Kind(), r.settings())
		wg.Go(func() {
			if err := o.Deliver(t.Context(), batch); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(r.all(t)); got != 4*len(batch) {
		t.Errorf("%d messages", got)
	}
}

func TestSeverities(t *testing.T) {
	r := listen(t, nil)
	o := outputtest.New(t, syslog.Kind(), r.settings())
	var batch []schema.Event
	for p := schema.PriorityEmergency; p >= schema.PriorityDefault; p-- {
		e := outputtest.Falco()
		e.Falco.Priority = p
		batch = append(batch, e)
	}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	for i, m := range r.all(t) {
		want := i
		if i == 8 {
			want = 6 // without a priority: informational
		}
		if m.severity != want || m.app != "falco" || m.host != "test-host" {
			t.Errorf("%v: %+v", batch[i].Falco.Priority, m)
		}
	}
}

// TestCEF pins FalcoSidekick's form for its own test event.
func TestCEF(t *testing.T) {
	r := listen(t, nil)
	o := outputtest.New(t, syslog.Kind(), with(r.settings(), "format", "CEF"))
	e := outputtest.Falco()
	e.Falco.Rule = `a|b\c`
	e.Falco.Output = "x=y\nz"
	if err := o.Deliver(t.Context(), []schema.Event{e}); err != nil {
		t.Fatal(err)
	}
	want := `CEF:0|Falcosecurity|Falco|1.0|Falco Event|a\|b\\c|0|uuid=b8f8e8a0-0f4d-4b63-8d3f-6a8f0f0c0a01 start=2001-01-01T01:10:00Z ` +
		`msg=x\=y\\nz source=syscalls hostname=test-host outputfields=proc.name:falcosidekick proc.tty:1234 tags=test,example`
	if got := r.all(t)[0].text; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string // "" for taken
	}{
		"only a host":  {outputtest.Settings{}, ""},
		"service link": {outputtest.Settings{"port": "tcp://10.0.0.1:514"}, ""},
		"IPv6":         {outputtest.Settings{"host": "[::1]", "protocol": "TLS"}, ""},
		"port":         {outputtest.Settings{"port": "65536"}, "SYSLOG_PORT"},
		"host":         {outputtest.Settings{"host": "tcp://x"}, "SYSLOG_HOST"},
		"protocol":     {outputtest.Settings{"protocol": "relp"}, "SYSLOG_PROTOCOL"},
		"format":       {outputtest.Settings{"format": "leef"}, "SYSLOG_FORMAT"},
		"length":       {outputtest.Settings{"maxlength": "8k"}, "SYSLOG_MAXLENGTH"},
		"short":        {outputtest.Settings{"maxlength": "479"}, "SYSLOG_MAXLENGTH"},
		"tls":          {outputtest.Settings{"cacertfile": "/nowhere"}, "TLSCLIENT_CACERTFILE"},
	} {
		k := syslog.Kind()
		_, err := k.New(outputtest.Values(t, k, with(outputtest.Settings{"host": "logs.example"}, flat(tt.settings)...)))
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want an error that names %q", name, err, tt.want)
		}
	}
}

func flat(s outputtest.Settings) []string {
	var list []string
	for k, v := range s {
		list = append(list, k, v)
	}
	return list
}

// stub serves one connection after the other; nil leaves them.
func stub(t *testing.T, serve func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if serve != nil {
				serve(c)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l
}

func wantTransient(t testing.TB, err error, failed int) {
	t.Helper()
	oe, ok := errors.AsType[*outputs.Error](err)
	if !ok || oe.Class != outputs.Transient || len(oe.Failed) != failed {
		t.Errorf("got %#v, want a transient error for %d events", err, failed)
	}
	if err != nil && bytes.ContainsAny([]byte(err.Error()), "\n\x00") {
		t.Errorf("error text %q", err)
	}
}
