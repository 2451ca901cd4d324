package syslog_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// received is a message, taken apart by RFC 5424.
type received struct {
	facility, severity       int
	time                     time.Time
	host, app, process, kind string
	data, text               string
}

var syntax = regexp.MustCompile(`(?s)^<(0|[1-9][0-9]{0,2})>1 (\S+) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (-|\[.*\]) (.*)$`)

func parse(m string) (received, error) {
	parts := syntax.FindStringSubmatch(m)
	if parts == nil {
		return received{}, fmt.Errorf("not RFC 5424: %.200q", m)
	}
	pri, _ := strconv.Atoi(parts[1])
	if pri > 191 {
		return received{}, fmt.Errorf("priority %d", pri)
	}
	r := received{
		facility: pri / 8, severity: pri % 8, host: parts[3], app: parts[4], process: parts[5],
		kind: parts[6], data: parts[7], text: parts[8],
	}
	if parts[2] == "-" {
		return r, nil
	}
	var err error
	// The format is stricter than Go's parser: at most six digits, T and Z large.
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$`).MatchString(parts[2]) {
		return r, fmt.Errorf("timestamp %s", parts[2])
	}
	r.time, err = time.Parse(time.RFC3339Nano, parts[2])
	return r, err
}

// receiver is a syslog server that takes nothing but what the RFCs allow.
type receiver struct {
	t        *testing.T
	listener net.Listener

	mu       sync.Mutex
	messages []string // guarded by mu
	wg       sync.WaitGroup
}

// listen starts a receiver, with TLS when config is not nil.
func listen(t *testing.T, config *tls.Config) *receiver {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	r := &receiver{t: t, listener: l}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		l.Close()
		r.wg.Wait()
	})
	return r
}

func (r *receiver) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() {
			defer conn.Close()
			if err := r.read(bufio.NewReader(conn)); err != nil {
				r.t.Error(err)
			}
		})
	}
}

// read reads octet-counted messages (RFC 6587 3.4.1) to the end.
func (r *receiver) read(in *bufio.Reader) error {
	for {
		digits, err := in.ReadString(' ')
		if errors.Is(err, io.EOF) && digits == "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read count %q: %w", digits, err)
		}
		n, err := strconv.Atoi(strings.TrimSuffix(digits, " "))
		if err != nil || n <= 0 || digits[0] == '0' {
			return fmt.Errorf("count %q", digits)
		}
		message := make([]byte, n)
		if _, err := io.ReadFull(in, message); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
		r.mu.Lock()
		r.messages = append(r.messages, string(message))
		r.mu.Unlock()
	}
}

func (r *receiver) all(t *testing.T) []received {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []received
	for _, m := range r.messages {
		got, err := parse(m)
		if err != nil {
			t.Error(err)
		}
		list = append(list, got)
	}
	return list
}

func (r *receiver) settings() outputtest.Settings { return at(r.listener.Addr()) }

func at(address net.Addr) outputtest.Settings {
	host, port, _ := net.SplitHostPort(address.String())
	return outputtest.Settings{"host": host, "port": port}
}

func with(settings outputtest.Settings, more ...string) outputtest.Settings {
	all := outputtest.Settings{}.With(settings)
	for i := 0; i+1 < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// certificate is one for 127.0.0.1, as the tests of net/http use it.
func certificate(t *testing.T) *httptest.Server {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	return srv
}
