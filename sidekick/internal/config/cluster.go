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

func clusterSettings() []setting {
	return []setting{
		{path: "queue.url", secret: true, isList: true, usage: "servers of a JetStream cluster, by commas, that stores events instead"},
		{path: "queue.user", usage: "user at the cluster, with QUEUE_PASSWORD"},
		{path: "queue.password", secret: true, usage: "password of QUEUE_USER"},
		{path: "queue.credsfile", usage: "file with a user's JWT and nkey seed, instead of a password"},
		{path: "queue.cacertfile", usage: "authorities of the servers' certificates, PEM; the system's without it"},
		{path: "queue.certfile", usage: "certificate to show to the servers, PEM"},
		{path: "queue.keyfile", usage: "its key, PEM"},
		{path: "queue.replicas", byDefault: strconv.Itoa(defaultReplicas), usage: "copies of each event in the cluster: 1, 3 or 5"},
		{path: "queue.name", byDefault: defaultQueueName, usage: "what the names of streams begin with"},
	}
}

// cluster is nil without QUEUE_URL.
func (l *loader) cluster() *Cluster {
	v := l.get(clusterSettings()[0])
	if v.text == "" {
		l.withoutEffect(clusterSettings()[1:], "there is no cluster without QUEUE_URL")
		return nil
	}
	l.withoutEffect([]setting{{path: "queue.dir"}, {path: "queue.sync"}}, "with QUEUE_URL events are stored in the cluster")
	text := func(path string) string { return l.get(setting{path: path}).text }
	c := &Cluster{
		User: text("queue.user"), Password: secret.New(l.get(setting{path: "queue.password", secret: true}).text),
		CredsFile: text("queue.credsfile"), CAFile: text("queue.cacertfile"),
		CertFile: text("queue.certfile"), KeyFile: text("queue.keyfile"),
		Replicas: l.replicas(), Name: l.queueName(),
	}
	l.clusterFiles(c)
	l.who(v, c, l.servers(v, c))
	return c
}

// withoutEffect warns of settings that are given in vain.
func (l *loader) withoutEffect(settings []setting, why string) {
	for _, s := range settings {
		if name := l.peek(s); name != "" {
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
			l.problem("%s: %s: %w", l.peek(setting{path: f.name}), f.path, errors.Unwrap(err))
		}
	}
}

func (l *loader) replicas() int {
	v := l.get(setting{path: "queue.replicas"})
	switch v.text {
	case "":
		return defaultReplicas
	case "1", "3", "5":
	default:
		l.problem("%s: %q is not 1, 3 or 5", v.name, v.text)
	}
	n, _ := strconv.Atoi(v.text) // what is wrong with it was said
	return n
}

func (l *loader) queueName() string {
	v := l.get(setting{path: "queue.name"})
	if v.text == "" {
		return defaultQueueName
	}
	if len(v.text) > maxQueueName || !regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`).MatchString(v.text) {
		l.problem("%s: %q is not made of at most %d letters, digits, - and _", v.name, v.text, maxQueueName)
	}
	return v.text
}
