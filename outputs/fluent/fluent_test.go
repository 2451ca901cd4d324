package fluent_test

import (
	"context"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/fluent"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// server speaks the Forward protocol as its specification has it
// (https://github.com/fluent/fluentd/wiki/Forward-Protocol-Specification-v1), read with
// a MessagePack library instead of the client's.
type server struct {
	t   testing.TB
	key string // asked for, if there is one
	bin bool   // whether it writes byte strings, as Fluentd does, or text, as Fluent Bit
	ack func(chunk string) any

	mu     sync.Mutex
	events []event // guarded by mu
}

type event struct {
	Tag    string
	Time   time.Time
	Record map[string]any
}

func (s *server) serve(l net.Listener) string {
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = s.talk(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func (s *server) talk(conn net.Conn) error {
	r, w := msgp.NewReader(conn), msgp.NewWriter(conn)
	if s.key != "" {
		if err := s.handshake(r, w); err != nil {
			return err
		}
	}
	for {
		value, err := r.ReadIntf()
		if err != nil {
			return err
		}
		message, ok := value.([]any)
		if !ok || len(message) != 3 {
			return errors.New("not in forward mode")
		}
		tag, _ := message[0].(string)
		entries, _ := message[1].([]any)
		options, _ := message[2].(map[string]any)
		s.mu.Lock()
		for _, e := range entries {
			pair, _ := e.([]any)
			at, _ := pair[0].(*msgp.RawExtension)
			record, _ := pair[1].(map[string]any)
			s.events = append(s.events, event{tag, eventTime(pair[0], at), record})
		}
		s.mu.Unlock()
		chunk, _ := options["chunk"].(string)
		if s.ack == nil {
			continue
		}
		if err := w.WriteIntf(s.ack(chunk)); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// eventTime reads the extension: seconds and nanoseconds, 32 bits each.
func eventTime(value any, raw *msgp.RawExtension) time.Time {
	if t, ok := value.(interface{ UTC() time.Time }); ok { // the client's library registers its own
		return t.UTC()
	}
	if raw == nil || len(raw.Data) != 8 {
		return time.Time{}
	}
	b := raw.Data
	seconds := int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3])
	return time.Unix(seconds, int64(b[4])<<24|int64(b[5])<<16|int64(b[6])<<8|int64(b[7])).UTC()
}

func (s *server) handshake(r *msgp.Reader, w *msgp.Writer) error {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	var shown, auth any = nonce, []byte{}
	if !s.bin {
		shown, auth = string(nonce), ""
	}
	if err := w.WriteIntf([]any{"HELO", map[string]any{"nonce": shown, "auth": auth, "keepalive": true}}); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	value, err := r.ReadIntf()
	if err != nil {
		return err
	}
	ping, ok := value.([]any)
	if !ok || len(ping) != 6 || ping[0] != "PING" {
		return errors.New("no PING")
	}
	host, _ := ping[1].(string)
	salt := fmt.Sprintf("%s", ping[2])
	digest := func(host string) string {
		sum := sha512.Sum512([]byte(salt + host + string(nonce) + s.key))
		return hex.EncodeToString(sum[:])
	}
	if ping[3] != digest(host) {
		_ = w.WriteIntf([]any{"PONG", false, "shared_key mismatch: " + outputtest.Canary, "", ""})
		_ = w.Flush()
		return errors.New("another key")
	}
	if err := w.WriteIntf([]any{"PONG", true, "", "server", digest("server")}); err != nil {
		return err
	}
	return w.Flush()
}

func (s *server) taken() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.events
	s.events = nil
	return list
}

func acknowledge(chunk string) any { return map[string]any{"ack": chunk} }

func listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, fluent.Kind()) }

func TestGolden(t *testing.T) {
	s := &server{t: t, ack: acknowledge}
	o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": s.serve(listen(t, "tcp", "127.0.0.1:0")), "tag": "security.events"})
	var batch []schema.Event
	for _, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
		batch = append(batch, c.Event)
	}
	if err := outputtest.Deliver(t.Context(), t, o, batch); err != nil {
		t.Fatal(err)
	}
	got := s.taken()
	if len(got) != len(batch) {
		t.Fatalf("%d events, want %d", len(got), len(batch))
	}
	for i, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			body, err := json.Marshal(got[i])
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, c.Name+".json", body)
		})
	}
}

// TestHandshake: a server that asks for a key gets events of who has it, on a socket
// file as well.
func TestHandshake(t *testing.T) {
	s := &server{t: t, ack: acknowledge, key: outputtest.Canary, bin: true}
	text := &server{t: t, ack: acknowledge, key: outputtest.Canary}
	if err := outputtest.Deliver(t.Context(), t, outputtest.New(t, fluent.Kind(), outputtest.Settings{
		"hostport": text.serve(listen(t, "tcp", "127.0.0.1:0")), "sharedkey": outputtest.Canary,
	}), []schema.Event{outputtest.Log()}); err != nil || len(text.taken()) != 1 {
		t.Errorf("a server that writes text: %v", err)
	}
	path := filepath.Join(t.TempDir(), "fluent.sock")
	s.serve(listen(t, "unix", path))
	for _, address := range []string{"unix://" + path, s.serve(listen(t, "tcp", "127.0.0.1:0"))} {
		for key, works := range map[string]bool{outputtest.Canary: true, "another" + outputtest.Canary: false, "": false} {
			o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": address, "sharedkey": key})
			outputtest.NoSecret(t, o)
			err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec()})
			if (err == nil) != works || len(s.taken()) > 0 != works || outputtest.Class(err) != outputs.Transient {
				t.Errorf("%s with key %t: %v", address, works, err)
			}
		}
	}
}

// TestTLS: the certificate of the server is checked.
func TestTLS(t *testing.T) {
	pair := httptest.NewTLSServer(nil)
	defer pair.Close()
	s := &server{t: t, ack: acknowledge}
	address := s.serve(tls.NewListener(listen(t, "tcp", "127.0.0.1:0"), pair.TLS))
	for _, tt := range []struct {
		more  outputtest.Settings
		works bool
	}{
		{outputtest.Settings{"tls": "true"}, false},
		{outputtest.Settings{"tls": "false"}, false},
		{outputtest.Settings{"tls": "true", "cacertfile": outputtest.CertificateFile(t, pair)}, true},
		{outputtest.Settings{"tls": "true", "checkcert": "false"}, true},
	} {
		o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": address}.With(tt.more))
		err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()})
		if (err == nil) != tt.works || outputtest.Class(err) != outputs.Transient {
			t.Errorf("%v: %v", tt.more, err)
		}
	}
}

// TestUnacknowledged: what is not acknowledged, or for another message, is not
// delivered.
func TestUnacknowledged(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("servers", func(t *testing.T) {
		for name, ack := range map[string]func(string) any{
			"none":    nil,
			"another": func(string) any { return map[string]any{"ack": "x" + outputtest.Canary} },
			"garbage": func(string) any { return "220 " + outputtest.Canary },
		} {
			s := &server{t: t, ack: ack}
			o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": s.serve(listen(t, "tcp", "127.0.0.1:0"))})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.BlockedExec(), outputtest.Log()})
			cancel()
			e, ok := errors.AsType[*outputs.Error](err)
			if !ok || e.Class != outputs.Transient || len(e.Failed) != 2 {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	outputtest.Leaks(t, before+1)
}

func TestUnreachable(t *testing.T) {
	l := listen(t, "tcp", "127.0.0.1:0")
	address := l.Addr().String()
	l.Close()
	for _, address := range []string{address, strings.Repeat("x", 64) + ".invalid:1", "unix:///nowhere/fluent.sock"} {
		o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": address})
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err == nil || outputtest.Class(err) != outputs.Transient {
			t.Errorf("%s: %v", address, err)
		}
	}
	o := outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": address})
	if err := outputtest.Deliver(t.Context(), t, o, nil); err != nil {
		t.Errorf("no events: %v", err)
	}
}

func TestSettings(t *testing.T) {
	for _, good := range []string{"127.0.0.1", "fluent-bit:24224", "[::1]:24224", "unix:///var/run/fluent.sock"} {
		outputtest.New(t, fluent.Kind(), outputtest.Settings{"hostport": good})
	}
	for want, settings := range map[string]outputtest.Settings{
		"FLUENTFORWARD_HOSTPORT": {"hostport": "tcp://127.0.0.1:24224"},
		"FLUENTFORWARD_TAG":      {"hostport": "localhost", "tag": "a b"},
		"FLUENTFORWARD_TLS":      {"hostport": "unix:///var/run/fluent.sock", "tls": "true"},
	} {
		outputtest.Refused(t, fluent.Kind(), settings, want)
	}
}
