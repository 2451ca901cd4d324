package kafka

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
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
func (s *settings) recordOf(e *schema.Event) (*kgo.Record, error) {
	body, err := s.encode(e)
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
	// By the place, so that all events of a container are in one partition, in order.
	if k := summary.Place(e); k != "" {
		r.Key = []byte(clip.Bytes(k, maxKey))
	}
	return r, nil
}
