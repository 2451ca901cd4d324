package nats

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	connectTimeout = 5 * time.Second
	// headerBytes is room for the headers of a message, which count as payload:
	// the version line and the id.
	headerBytes = 512
	// minBody is what an event is cut to at the most; a server that does not
	// even take this refuses it.
	minBody = 512
)

type settings struct {
	servers   secret.String // may hold user:password@
	creds     string
	subject   subject
	jetstream bool
	tls       *tls.Config // nil for Go's own
}

func parse(v outputs.Values) (settings, error) {
	s := settings{servers: secret.New(v.String("hostport")), creds: v.String("credsfile")}
	for server := range strings.SplitSeq(v.String("hostport"), ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Hostname() == "" || (u.Scheme != "nats" && u.Scheme != "tls") {
			return s, fmt.Errorf("%s: not an address of the form nats://host:port or tls://host:port", v.Name("hostport"))
		}
	}
	var err error
	if s.subject, err = parseSubject(v.String("subjecttemplate")); err != nil {
		return s, fmt.Errorf("%s: %w", v.Name("subjecttemplate"), err)
	}
	if s.jetstream, err = outputs.Bool(v, "jetstream"); err != nil {
		return s, err
	}
	if s.creds != "" {
		if _, err := os.Stat(s.creds); err != nil {
			return s, fmt.Errorf("%s: %w", v.Name("credsfile"), errors.Unwrap(err))
		}
	}
	if s.tls, err = tlsclient.Config(v); err != nil {
		return s, err
	}
	return s, nil
}

func (s *settings) options() []nats.Option {
	options := []nats.Option{
		nats.Name("sidearmor"),
		nats.Timeout(connectTimeout),
		nats.NoReconnect(),
		nats.NoCallbacksAfterClientClose(),
		// The library's own prints to stderr; what goes wrong is read from the
		// connection when a delivery ends.
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
	}
	if s.tls != nil {
		options = append(options, nats.Secure(s.tls.Clone()))
	}
	if s.creds != "" {
		options = append(options, nats.UserCredentials(s.creds))
	}
	return options
}
