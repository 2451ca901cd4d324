package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/sidearmor/sidearmor/schema"
)

// key is what the events of a group have in common, as a hash: the workload chooses
// the texts, and they may be long.
type key [sha256.Size]byte

// keyOf is of policy or rule, operation, process, place and outcome.
func keyOf(e *schema.Event) key {
	h := sha256.New()
	text(h, string(e.Kind))
	if a := e.Alert; a != nil {
		text(h, a.PolicyName, a.Severity, a.Action)
	}
	if r := e.Record(); r != nil {
		text(h, r.Type, r.Operation, r.ProcessName, r.ClusterName, r.HostName, r.NamespaceName, r.PodName, r.ContainerName)
		if r.ContainerName == "" {
			text(h, r.ContainerID)
		}
	}
	if f := e.Falco; f != nil {
		text(h, f.Rule, f.Priority.String(), f.Source, f.Hostname)
		for _, field := range []string{"proc.name", "container.id", "container.name", "k8s.ns.name", "k8s.pod.name", "evt.type"} {
			text(h, output(f, field))
		}
	}
	var k key
	h.Sum(k[:0])
	return k
}

// coarseKey is of policy or rule and outcome, or of the outcome alone: for groups that
// are merged where too many wait.
func coarseKey(e *schema.Event, policy bool) key {
	h := sha256.New()
	text(h, "several", string(e.Kind))
	switch {
	case e.Alert != nil:
		text(h, e.Alert.Action)
		if policy {
			text(h, e.Alert.PolicyName, e.Alert.Severity)
		}
	case e.Falco != nil:
		text(h, e.Falco.Priority.String())
		if policy {
			text(h, e.Falco.Rule)
		}
	}
	var k key
	h.Sum(k[:0])
	return k
}

// text adds texts so that ("ab", "c") is not ("a", "bc").
func text(h hash.Hash, all ...string) {
	for _, s := range all {
		_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		_, _ = h.Write([]byte(s))
	}
}

func output(f *schema.FalcoEvent, field string) string {
	s, _ := f.OutputFields[field].(string)
	return s
}

// resource is what an event is about, "" when it is about nothing in particular.
func resource(e *schema.Event) string {
	switch {
	case e.Falco != nil:
		return output(e.Falco, "fd.name")
	case e.Record() != nil:
		return e.Record().Resource
	}
	return ""
}

// differ says whether it is worth to show both of two events of a group.
func differ(a, b *schema.Event) bool {
	if a.Falco != nil && b.Falco != nil {
		return resource(a) != resource(b) || output(a.Falco, "proc.cmdline") != output(b.Falco, "proc.cmdline")
	}
	if a.Record() != nil && b.Record() != nil {
		return resource(a) != resource(b) || a.Record().Source != b.Record().Source
	}
	return true
}
