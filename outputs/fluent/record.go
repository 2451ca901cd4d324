package fluent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/IBM/fluent-forward-go/fluent/protocol"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

// maxRecord keeps an event well below the 2 MB that Fluent Bit makes chunks of.
const maxRecord = 500_000

// entry is an event with its time and its JSON as a record.
func entry(e *schema.Event) (protocol.EntryExt, error) {
	body, err := e.Body()
	if err != nil {
		return protocol.EntryExt{}, err
	}
	d := json.NewDecoder(bytes.NewReader(clip.JSON(body, maxRecord)))
	d.UseNumber()
	var record map[string]any
	if err := d.Decode(&record); err != nil {
		return protocol.EntryExt{}, fmt.Errorf("make a record: %w", err)
	}
	t := e.Time()
	if t.Unix() < 0 {
		t = time.Unix(0, 0) // the protocol knows no time before
	}
	return protocol.EntryExt{Timestamp: protocol.EventTime{Time: t}, Record: numbers(record)}, nil
}

// numbers makes of JSON's numbers those of MessagePack.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return value
}
