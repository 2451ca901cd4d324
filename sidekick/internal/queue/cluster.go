package queue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	clusterWait    = 30 * time.Second // for a cluster that is coming up
	clusterTimeout = 5 * time.Second  // to connect, and for one answer

	// A connection that says nothing is given up after two of these.
	clusterPing = 5 * time.Second
)

// Cluster says where an external JetStream is, and as whom to use it. Several
// sidekicks with the same name in it share one queue.
type Cluster struct {
	Servers []string // nats://host:port or tls://host:port, without a user
	User    string   // "" for none
	// At most one of these is set, Password with User.
	Password, Token secret.String

	CredsFile         string // a user's JWT and nkey seed; "" for none
	CAFile            string // of the servers' certificates; "" for the system's
	CertFile, KeyFile string // shown to the servers; "" for none

	Replicas int           // of the streams that are created: 1, 3 or 5
	Name     string        // the names of streams and subjects begin with it
	Wait     time.Duration // how long Open waits for the cluster; 0 is 30 s

	ackWait time.Duration // for tests; 0 is clusterAckWait
	tryFor  time.Duration // for tests; 0 is publishWait
}

func (c *Cluster) servers() string { return strings.Join(c.Servers, ", ") }

// join connects and makes the streams.
func (q *Queue) join(ctx context.Context) error {
	return q.waitFor(ctx, q.tryJoin)
}

// waitFor tries until it succeeds, since a cluster may be coming up or choosing a
// leader, or until it is clear that it does not help, or has lasted too long.
func (q *Queue) waitFor(ctx context.Context, try func(context.Context) error) error {
	if q.cluster == nil {
		return try(ctx)
	}
	wait := orDefault(q.cluster.Wait, clusterWait)
	bounded, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var before error
	for tried := false; ; tried = true {
		err := q.once(bounded, try)
		if err == nil || hopeless(err) {
			return err
		}
		if bounded.Err() != nil && before != nil {
			err = before // the last attempt had no time to find out
		}
		before = err
		if !tried {
			q.log.Warn("cluster of the queue is not ready, waiting for it", "error", err, "at_most", wait.String())
		}
		select {
		case <-bounded.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(reopenDelay / 2):
		}
	}
}

// once bounds one try: what is asked while there is no leader is never answered.
func (q *Queue) once(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	return try(ctx)
}

func (q *Queue) tryJoin(ctx context.Context) error {
	if q.conn == nil || q.conn.IsClosed() {
		var err error
		if q.conn, err = q.connect(); err != nil {
			return err
		}
		js, err := jetstream.New(q.conn, jetstream.WithPublishAsyncMaxPending(2*clusterPublishers*chunk),
			jetstream.WithPublishAsyncTimeout(attemptTimeout), jetstream.WithDefaultTimeout(clusterTimeout))
		if err != nil {
			return fmt.Errorf("use JetStream: %w", err)
		}
		q.js = scoped{JetStream: js, name: q.cluster.Name}
	}
	if err := q.joinStreams(ctx); err != nil {
		return q.explain(err)
	}
	if most := int(q.conn.MaxPayload()) - payloadOverhead; most < q.maxMessage {
		q.log.Warn("servers take smaller messages than events can be, larger ones are refused; raise their max_payload",
			"largest_event_bytes", most, "max_payload", MaxMessageBytes+payloadOverhead)
		q.maxMessage = most
	}
	return nil
}

// explain says of an error of the client what its user can make of it.
func (q *Queue) explain(err error) error {
	last := q.conn.LastError()
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("JetStream is not turned on at %s, or not for this user: %w", q.cluster.servers(), err)
	case errors.Is(last, nats.ErrPermissionViolation):
		return fmt.Errorf("%w: %w", err, last)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("JetStream does not answer at %s, are most of its servers up?: %w", q.cluster.servers(), err)
	}
	return err
}

// hopeless says whether waiting does not help.
func hopeless(err error) bool {
	for _, final := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported, nats.ErrPermissionViolation,
		jetstream.ErrJetStreamNotEnabledForAccount, errMismatch,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && slices.Contains([]jetstream.ErrorCode{errCodeNotClustered, errCodeSubjectsOverlap}, api.ErrorCode)
}

func (q *Queue) connect() (*nats.Conn, error) {
	d := &namingDialer{}
	conn, err := nats.Connect(strings.Join(q.cluster.Servers, ","), append(q.connOptions(), nats.SetCustomDialer(d))...)
	if err == nil {
		return conn, nil
	}
	if unreachable := d.failures(); unreachable != nil {
		if errors.Is(err, nats.ErrNoServers) {
			err = unreachable
		} else {
			err = errors.Join(unreachable, err)
		}
	}
	return nil, fmt.Errorf("connect to %s: %w", q.cluster.servers(), err)
}

func (q *Queue) connOptions() []nats.Option {
	c, log := q.cluster, q.log
	options := []nats.Option{
		nats.Name("sidearmor"), nats.NoEcho(), nats.Timeout(clusterTimeout),
		nats.PingInterval(clusterPing), nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1), nats.ReconnectWait(reopenDelay / 4),
		nats.IgnoreAuthErrorAbort(), // credentials that are replaced may be wrong for a while
		// What cannot be sent now fails now, and is tried again by whoever knows
		// whether it still matters.
		nats.ReconnectBufSize(-1),
		nats.SyncQueueLen(2 * pullEvents),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("connection to the cluster of the queue is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			log.Info("connected to the cluster of the queue again", "server", c.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("cluster of the queue says", "error", err)
		}),
	}
	if slices.ContainsFunc(c.Servers, func(s string) bool { return strings.HasPrefix(s, "tls://") }) {
		options = append(options, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	if c.CAFile != "" {
		options = append(options, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		options = append(options, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	switch {
	case c.CredsFile != "":
		options = append(options, nats.UserCredentials(c.CredsFile))
	case c.User != "":
		options = append(options, nats.UserInfo(c.User, c.Password.Reveal()))
	case !c.Token.IsZero():
		options = append(options, nats.Token(c.Token.Reveal()))
	}
	return options
}

// namingDialer remembers why a server could not be reached, which the library
// does not tell.
type namingDialer struct {
	mu   sync.Mutex
	errs []error // guarded by mu
}

// Dial implements nats.CustomDialer.
func (d *namingDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: clusterTimeout}).Dial(network, address)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && len(d.errs) < 10 {
		d.errs = append(d.errs, err)
	}
	return conn, err
}

// failures are those of the first connection; later ones are in the log.
func (d *namingDialer) failures() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	texts := make([]string, 0, len(d.errs))
	for _, err := range d.errs {
		texts = append(texts, err.Error())
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// leave hands to the others what this process has read, and ends the connection.
func (q *Queue) leave() {
	if q.conn == nil || q.conn.IsClosed() {
		return
	}
	q.leaveConsumers()
	_ = q.conn.FlushTimeout(clusterTimeout) // without it the others wait a minute
	q.conn.Close()
}
