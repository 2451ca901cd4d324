package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	defaultQueueBytes = 384 << 20
	// Below this a stream would have no room for a few events of the largest size.
	minQueueBytes = 24 << 20
	maxQueueBytes = 1 << 40
)

// Queue is how events are stored.
type Queue struct {
	Dir        string        // "" to choose one
	MaxBytes   int64         // of events that wait, alerts and logs together
	MaxAge     time.Duration // of events that wait; 0 for no limit
	SyncAlways bool          // whether each event is on the disk, and not only with the kernel, before it is answered
	Cluster    *Cluster      // where events are stored instead; nil for Dir
}

func queueSettings() []setting {
	return []setting{
		{path: "queue.dir", usage: "directory where events are stored"},
		{path: "queue.max_bytes", byDefault: fmt.Sprintf("%dMiB", defaultQueueBytes>>20), usage: "room for events, in bytes or with KiB, MiB, GiB"},
		{path: "queue.sync", byDefault: "interval", usage: "interval, or always: each event is on the disk before it is answered"},
	}
}

func (l *loader) queue() Queue {
	q := Queue{Dir: l.get(setting{path: "queue.dir"}).text, MaxBytes: defaultQueueBytes}
	if v := l.get(setting{path: "queue.max_bytes"}); v.text != "" {
		n, err := parseBytes(v.text)
		if err != nil {
			l.problem("%s: %w", v.name, err)
		}
		q.MaxBytes = n
	}
	if q.Cluster = l.cluster(); q.Cluster == nil {
		q.SyncAlways = l.syncAlways()
	}
	return q
}

func (l *loader) syncAlways() bool {
	v := l.get(setting{path: "queue.sync"})
	switch v.text {
	case "", "interval":
	case "always":
		return true
	default:
		l.problem("%s: %q is neither interval nor always", v.name, v.text)
	}
	return false
}

// parseBytes reads a number of bytes, or one with a unit.
func parseBytes(text string) (int64, error) {
	number, shift := text, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(text, unit); ok {
			number, shift = strings.TrimSpace(n), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes, such as 500000000 or 512MiB", text)
	}
	if n > maxQueueBytes>>shift || n<<shift < minQueueBytes {
		return 0, fmt.Errorf("%q is not within 24MiB and 1024GiB", text)
	}
	return n << shift, nil
}
