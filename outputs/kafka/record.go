package kafka

import (
	"cmp"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

// maxBody is what fits, with the rest of a record, into a batch of the size that
// brokers take by default (message.max.bytes, 1 MiB). Longer events are cut.
const (
	maxBody = 960_000
	maxKey  = 1000
)

// Headers of a record: the body has neither.
const (
	headerID   = "event_id"
	headerKind = "event_kind"
)

// recordOf makes the record of an event. Its time is that of writing, not of the
// event: brokers delete by it, and may refuse one that lies in the future.
func recordOf(e *schema.Event) (*kgo.Record, error) {
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	r := &kgo.Record{
		Value: clip.JSON(body, maxBody),
		Headers: []kgo.RecordHeader{
			{Key: headerID, Value: []byte(e.ID)},
			{Key: headerKind, Value: []byte(e.Kind)},
		},
	}
	if k := key(e); k != "" {
		r.Key = []byte(clip.Bytes(k, maxKey))
	}
	return r, nil
}

// key is the container that an event is about, so that all of its events are in
// one partition, in order: namespace/pod/container as far as they are known,
// else the host.
func key(e *schema.Event) string {
	if f := e.Falco; f != nil {
		return cmp.Or(join(field(f, "k8s.ns.name"), field(f, "k8s.pod.name"), cmp.Or(field(f, "container.name"), field(f, "container.id"))), f.Hostname)
	}
	var r *schema.Record
	switch {
	case e.Alert != nil:
		r = &e.Alert.Record
	case e.Log != nil:
		r = &e.Log.Record
	default:
		return ""
	}
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
