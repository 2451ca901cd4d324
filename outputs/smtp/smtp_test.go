package smtp_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net"
	"net/http/httptest"
	"net/mail"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	lib "github.com/emersion/go-smtp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/outputs/smtp"
	"github.com/sidearmor/sidearmor/schema"
)

// box is a mail server that takes mails of who has the password.
type box struct {
	refuse map[string]*lib.SMTPError // by command

	mu    sync.Mutex
	mails []string // guarded by mu
	to    []string // guarded by mu
}

type session struct {
	*box
	authenticated bool
}

func (b *box) NewSession(*lib.Conn) (lib.Session, error) { return &session{box: b}, nil }
func (s *session) AuthMechanisms() []string              { return []string{sasl.Plain} }
func (s *session) Reset()                                {}
func (s *session) Logout() error                         { return nil }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "sidearmor" || password != outputtest.Canary {
			return lib.ErrAuthFailed
		}
		s.authenticated = true
		return nil
	}), nil
}

func (s *session) fails(command string) error {
	if e := s.refuse[command]; e != nil {
		return e
	}
	return nil
}

func (s *session) Mail(string, *lib.MailOptions) error {
	if !s.authenticated {
		return lib.ErrAuthRequired
	}
	return s.fails("MAIL")
}

func (s *session) Rcpt(to string, _ *lib.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = append(s.to, to)
	return s.fails("RCPT")
}

func (s *session) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.fails("DATA"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, string(body))
	return nil
}

// start gives the settings of a box with a certificate.
func start(t testing.TB, b *box) outputtest.Settings {
	t.Helper()
	pair := httptest.NewTLSServer(nil)
	t.Cleanup(pair.Close)
	srv := lib.NewServer(b)
	srv.TLSConfig, srv.Domain, srv.ErrorLog = pair.TLS, "localhost", slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return outputtest.Settings{
		"hostport": l.Addr().String(), "user": "sidearmor", "password": outputtest.Canary, "cacertfile": outputtest.CertificateFile(t, pair),
		"from": "SideArmor <sidearmor@example.com>", "to": "oncall@example.com, Security <security@example.com>",
	}
}

// parts reads a mail: its header and the texts of its parts.
func parts(t *testing.T, raw string) (mail.Header, map[string]string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatal(kind, err)
	}
	texts := map[string]string{}
	for r := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		part, err := r.NextPart() // it decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return m.Header, texts
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		texts[part.Header.Get("Content-Type")] = string(text)
	}
}

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, smtp.Kind()) }

func TestGolden(t *testing.T) {
	b := &box{}
	o := outputtest.New(t, smtp.Kind(), start(t, b))
	outputtest.NoSecret(t, o)
	one := func(t *testing.T, name string, err error) {
		t.Helper()
		if err != nil || len(b.mails) != 1 || len(b.to) != 2 {
			t.Fatalf("%d mails to %v, %v", len(b.mails), b.to, err)
		}
		raw := b.mails[0]
		b.mails, b.to = nil, nil
		header, texts := parts(t, raw)
		subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
		if err != nil || len(header) != 8 || strings.ContainsAny(subject, "\r\n") {
			t.Errorf("%v %v", header, err)
		}
		shown := texts["text/html; charset=utf-8"]
		if strings.Contains(shown, "<!") || strings.Contains(shown, "<a") || len(texts) != 2 {
			t.Errorf("markup of an event: %s", shown)
		}
		for line := range strings.Lines(raw) {
			if len(line) > 998 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		outputtest.Golden(t, name+".txt", []byte(subject+"\n\n"+texts["text/plain; charset=utf-8"]+"\n"+shown))
	}
	for _, c := range outputtest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			one(t, c.Name, outputtest.Deliver(t.Context(), t, o, []schema.Event{c.Event}))
		})
	}
	for _, c := range outputtest.Digests() {
		t.Run(c.Name, func(t *testing.T) {
			one(t, "digest-"+c.Name, o.(outputs.Digester).DeliverDigest(t.Context(), c.Digest))
		})
	}
	for _, c := range outputtest.Oversized() {
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{c.Event}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
}

// TestRefusals: what a setting can put right is waited out, what is wrong with a mail
// is not, and no error says what the server said.
func TestRefusals(t *testing.T) {
	refusal := func(code int) *lib.SMTPError { return &lib.SMTPError{Code: code, Message: "no " + outputtest.Canary} }
	for name, tt := range map[string]struct {
		refuse map[string]*lib.SMTPError
		more   outputtest.Settings
		class  outputs.Class
		text   string
	}{
		"sender":      {map[string]*lib.SMTPError{"MAIL": refusal(550)}, nil, outputs.Transient, "MAIL: the server answered 550"},
		"recipient":   {map[string]*lib.SMTPError{"RCPT": refusal(550)}, nil, outputs.Transient, "RCPT: the server answered 550"},
		"later":       {map[string]*lib.SMTPError{"DATA": refusal(451)}, nil, outputs.Transient, "DATA: the server answered 451"},
		"mail":        {map[string]*lib.SMTPError{"DATA": refusal(554)}, nil, outputs.Permanent, "DATA: the server answered 554"},
		"password":    {nil, outputtest.Settings{"password": "wrong" + outputtest.Canary}, outputs.Transient, "AUTH: the server answered 535"},
		"no password": {nil, outputtest.Settings{"authmechanism": "none"}, outputs.Transient, "MAIL: the server answered 502"},
		"certificate": {nil, outputtest.Settings{"cacertfile": ""}, outputs.Transient, "failed to verify certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := outputtest.New(t, smtp.Kind(), start(t, &box{refuse: tt.refuse}).With(tt.more))
			err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.BlockedExec()})
			if err == nil || outputtest.Class(err) != tt.class || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestHang: a server that says nothing is left when the delivery is called off.
func TestHang(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := outputtest.New(t, smtp.Kind(), outputtest.Settings{"hostport": l.Addr().String(), "from": "a@example.com", "to": "b@example.com"})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.Log()})
	if !errors.Is(err, context.DeadlineExceeded) || outputtest.Class(err) != outputs.Transient {
		t.Errorf("%v", err)
	}
	l.Close()
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err == nil || outputtest.Class(err) != outputs.Transient {
		t.Errorf("%v", err)
	}
	cancel()
	outputtest.Leaks(t, before)
}

func TestText(t *testing.T) {
	b := &box{}
	o := outputtest.New(t, smtp.Kind(), start(t, b).With(outputtest.Settings{"outputformat": "text"}))
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil || !strings.Contains(b.mails[0], "Content-Type: text/plain; charset=utf-8\r\n") {
		t.Errorf("%v %v", err, b.mails)
	}
}

func TestSettings(t *testing.T) {
	good := outputtest.Settings{"hostport": "mail.example:587", "from": "a@example.com", "to": "b@example.com"}
	for _, more := range []outputtest.Settings{
		{"authmechanism": "external"}, {"authmechanism": "anonymous", "trace": "x"}, {"authmechanism": "oauthbearer", "token": "t"}, {"tls": "false"},
	} {
		outputtest.New(t, smtp.Kind(), good.With(more))
	}
	for want, more := range map[string]outputtest.Settings{
		"SMTP_HOSTPORT":      {"hostport": "mail.example"},
		"SMTP_FROM":          {"from": "nobody"},
		"SMTP_TO":            {"to": "a@example.com,\r\nBcc: x"},
		"SMTP_PASSWORD":      {"user": "u"},
		"SMTP_TOKEN":         {"authmechanism": "oauthbearer"},
		"SMTP_AUTHMECHANISM": {"authmechanism": "login"},
		"SMTP_OUTPUTFORMAT":  {"outputformat": "markdown"},
		"SMTP_TLS":           {"tls": "yes"},
	} {
		outputtest.Refused(t, smtp.Kind(), good.With(more), want)
	}
}
