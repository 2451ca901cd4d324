package config

import (
	"time"
)

const (
	defaultQueueBytes = 384 << 20
	// Below this a stream would have no room for a few events of the largest size.
	minQueueBytes = 24 << 20
	maxQueueBytes = 1 << 40

	defaultHistoryAge   = "1h"
	defaultHistoryBytes = 64 << 20
	minHistoryBytes     = 1 << 20
)

// Queue is how events are stored.
type Queue struct {
	Dir        string        // "" to choose one
	MaxBytes   int64         // of events that wait, alerts and logs together
	MaxAge     time.Duration // of events that wait; 0 for no limit
	SyncAlways bool          // whether each event is on the disk, and not only with the kernel, before it is answered
	History    History       // 0 with Cluster
	Cluster    *Cluster      // where events are stored instead; nil for Dir
}

// History bounds what of delivered events stays; 0 in either field is for none.
type History struct {
	MaxAge   time.Duration
	MaxBytes int64
}

func (l *loader) queue() Queue {
	q := Queue{Dir: l.text("queue.dir"), MaxBytes: l.size("queue.max_bytes")}
	if q.Cluster = l.cluster(); q.Cluster == nil {
		q.SyncAlways = l.choice("queue.sync") == "always"
		q.History = History{MaxAge: l.duration("history.max_age"), MaxBytes: l.size("history.max_bytes")}
	}
	return q
}
