package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

const (
	defaultQueueName = "sidearmor"
	defaultReplicas  = 3
	// Names of streams are names of directories in the cluster.
	maxQueueName = 40
)

// Cluster is the JetStream cluster that holds the queue instead of QUEUE_DIR.
type Cluster struct {
	Servers []string // nats://host:port or tls://host:port, without who connects
	User    string
	// At most one of these is set, Password with User.
	Password, Token secret.String

	CredsFile string // a user's JWT and nkey seed; "" for none
	CAFile    string // of the servers' certificates; "" for the system's
	CertFile  string // shown to the servers; "" for none
	KeyFile   string
	Replicas  int    // of each stream: 1, 3 or 5
	Name      string // what the names of streams and subjects begin with
}

// cluster is nil without QUEUE_URL.
func (l *loader) cluster() *Cluster {
	v := l.get("queue.url")
	if v.text == "" {
		l.withoutEffect("there is no cluster without QUEUE_URL", "queue.user", "queue.password", "queue.credsfile",
			"queue.cacertfile", "queue.certfile", "queue.keyfile", "queue.replicas", "queue.name")
		return nil
	}
	l.withoutEffect("with QUEUE_URL events are stored in the cluster", "queue.dir", "queue.sync")
	replicas, _ := strconv.Atoi(l.choice("queue.replicas"))
	c := &Cluster{
		User: l.text("queue.user"), Password: secret.New(l.text("queue.password")),
		CredsFile: l.text("queue.credsfile"), CAFile: l.text("queue.cacertfile"),
		CertFile: l.text("queue.certfile"), KeyFile: l.text("queue.keyfile"),
		Replicas: replicas, Name: l.queueName(),
	}
	l.clusterFiles(c)
	l.who(v, c, l.servers(v, c))
	return c
}

// withoutEffect warns of settings that are given in vain.
func (l *loader) withoutEffect(why string, paths ...string) {
	for _, path := range paths {
		if name := l.peek(path); name != "" {
			l.off = append(l.off, fmt.Sprintf("%s has no effect: %s", name, why))
		}
	}
}

// servers takes the servers and their user apart. A user within one address counts
// for all, since a cluster tells of servers that no address is of.
func (l *loader) servers(v value, c *Cluster) (user *url.Userinfo) {
	for server := range strings.SplitSeq(v.text, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err != nil || u.Hostname() == "" || (u.Scheme != "nats" && u.Scheme != "tls") || strings.Trim(u.Path, "/") != "" {
			l.problem("%s: server %d is not nats://host:port or tls://host:port", v.name, len(c.Servers)+1)
			return nil
		}
		if u.User != nil {
			if user != nil && user.String() != u.User.String() {
				l.problem("%s: the servers are given with different users", v.name)
			}
			user = u.User
		}
		c.Servers = append(c.Servers, u.Scheme+"://"+u.Host)
	}
	return user
}

// who finds out as whom to connect.
func (l *loader) who(v value, c *Cluster, user *url.Userinfo) {
	given := c.User != "" || !c.Password.IsZero()
	switch {
	case user != nil && given:
		l.problem("%s holds a user, and so does QUEUE_USER or QUEUE_PASSWORD: use one", v.name)
	case c.CredsFile != "" && (user != nil || given):
		l.problem("QUEUE_CREDSFILE and a user are both set: use one")
	case given && (c.User == "" || c.Password.IsZero()):
		l.problem("QUEUE_USER and QUEUE_PASSWORD: one is missing")
	case user != nil:
		if password, ok := user.Password(); ok {
			c.User, c.Password = user.Username(), secret.New(password)
		} else {
			c.Token = secret.New(user.Username())
		}
	}
}

func (l *loader) clusterFiles(c *Cluster) {
	if (c.CertFile == "") != (c.KeyFile == "") {
		l.problem("QUEUE_CERTFILE and QUEUE_KEYFILE: one is missing")
	}
	for _, f := range []struct{ name, path string }{
		{"queue.credsfile", c.CredsFile},
		{"queue.cacertfile", c.CAFile},
		{"queue.certfile", c.CertFile},
		{"queue.keyfile", c.KeyFile},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(f.path); err != nil {
			l.problem("%s: %s: %w", l.peek(f.name), f.path, errors.Unwrap(err))
		}
	}
}

func (l *loader) queueName() string {
	v, _ := l.given("queue.name")
	if len(v.text) > maxQueueName || !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`).MatchString(v.text) {
		l.problem("%s: %q is not made of at most %d letters, digits, - and _", v.name, v.text, maxQueueName)
	}
	return v.text
}
