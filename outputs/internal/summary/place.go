package summary

import (
	"cmp"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// Place is the container that an event is about, for services that keep the events
// of one place together or in order: namespace/pod/container as far as they are
// known, else the host; "" when nothing is.
func Place(e *schema.Event) string {
	if f := e.Falco; f != nil {
		return cmp.Or(join(field(f, "k8s.ns.name"), field(f, "k8s.pod.name"), cmp.Or(field(f, "container.name"), field(f, "container.id"))), f.Hostname)
	}
	r := Record(e)
	return cmp.Or(join(r.NamespaceName, r.PodName, cmp.Or(r.ContainerName, r.ContainerID)), r.HostName)
}

func field(f *schema.FalcoEvent, name string) string {
	s, _ := f.OutputFields[name].(string)
	return s
}

func join(parts ...string) string {
	var known []string
	for _, p := range parts {
		if p != "" {
			known = append(known, p)
		}
	}
	return strings.Join(known, "/")
}
