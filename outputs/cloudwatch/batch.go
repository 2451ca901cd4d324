package cloudwatch

import (
	"cmp"
	"slices"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

// Limits of PutLogEvents
// (https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html).
const (
	maxRequestBytes  = 1 << 20 // messages and overhead together
	eventOverhead    = 26      // bytes that each event counts beyond its message
	maxRequestEvents = 10000
	maxRequestSpan   = 24 * time.Hour
	maxMessage       = maxRequestBytes - eventOverhead
)

// entry is one event as it is sent.
type entry struct {
	index   int // in the batch
	message string
	millis  int64 // since the epoch
}

func (e *entry) size() int { return len(e.message) + eventOverhead }

// entriesOf encodes a batch (CloudWatch Logs finds fields only in what is JSON), in the order of time that the API demands: events
// of equal time stay in their order. refused are the events that cannot be
// encoded.
func entriesOf(batch []schema.Event) (entries []entry, refused []int) {
	entries = make([]entry, 0, len(batch))
	for i := range batch {
		body, err := batch[i].Body()
		if err != nil {
			refused = append(refused, i)
			continue
		}
		entries = append(entries, entry{index: i, message: string(clip.JSON(body, maxMessage)), millis: millis(&batch[i])})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.millis, b.millis) })
	return entries, refused
}

// millis is when an event happened; when that is not known, when it came.
func millis(e *schema.Event) int64 {
	t := e.Time()
	if t.IsZero() {
		t = e.Received
	}
	return max(t.UnixMilli(), 0)
}

// split divides entries, which are in order, into requests within the limits.
func split(entries []entry) [][]entry {
	var requests [][]entry
	first, bytes := 0, 0
	for i := range entries {
		span := time.Duration(entries[i].millis-entries[first].millis) * time.Millisecond
		full := i-first == maxRequestEvents || bytes+entries[i].size() > maxRequestBytes || span > maxRequestSpan
		if i > first && full {
			requests = append(requests, entries[first:i])
			first, bytes = i, 0
		}
		bytes += entries[i].size()
	}
	if first < len(entries) {
		requests = append(requests, entries[first:])
	}
	return requests
}

func indexes(list []entry) []int {
	all := make([]int, len(list))
	for i := range list {
		all[i] = list[i].index
	}
	return all
}
