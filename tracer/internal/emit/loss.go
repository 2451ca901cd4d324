package emit

import (
	"fmt"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

// reason is why an event was lost.
type reason uint8

const (
	bufferFull reason = iota
	refused
	notEncoded
	afterEnd
	reasons
)

var reasonTexts = [reasons]string{
	bufferFull: "buffer full",
	refused:    "refused by the sidekick",
	notEncoded: "not encodable",
	afterEnd:   "after the end",
}

// loss is what was lost in some stretch of time.
type loss struct {
	count [kinds]uint64
	why   [reasons]uint64
	since time.Time
}

func (l *loss) any() bool { return l.count[aLog]+l.count[anAlert] > 0 }

func (l *loss) add(k kind, why reason) {
	if !l.any() {
		l.since = time.Now()
	}
	l.count[k]++
	l.why[why]++
}

// message says it in words: "lost 2 alerts and 30 logs since …: 32 buffer full".
func (l *loss) message() string {
	var why []string
	for r, n := range l.why {
		if n > 0 {
			why = append(why, fmt.Sprintf("%d %s", n, reasonTexts[r]))
		}
	}
	return fmt.Sprintf("lost %d alerts and %d logs since %s: %s",
		l.count[anAlert], l.count[aLog], l.since.UTC().Format(time.RFC3339), strings.Join(why, ", "))
}

// event makes the KubeArmor event that reports l: the type and operation that
// KubeArmor uses when it drops alerts itself.
func (l *loss) event(origin schema.Origin, now time.Time) schema.Event {
	data := fmt.Sprintf("lostAlerts=%d lostLogs=%d since=%s", l.count[anAlert], l.count[aLog], l.since.UTC().Format(time.RFC3339))
	return schema.Event{Kind: schema.KindAlert, Alert: &schema.Alert{
		Record: schema.Record{
			Origin: origin, Timestamp: now.Unix(), UpdatedTime: now.UTC().Format("2006-01-02T15:04:05.000000Z"),
			Type: schema.TypeSystemEvent, Operation: schema.OperationAlertThreshold,
			Data: data, EventData: schema.EventData(schema.OperationAlertThreshold, "", data),
		},
		Message: l.message(),
	}}
}
