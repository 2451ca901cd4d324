package syslog

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// style is how messages look.
type style struct {
	format string
	limit  int // bytes of a message
}

// facility is authpriv: security messages that not everybody may read
// (RFC 5424 6.2.1).
const facility = 10

// maxHostname is RFC 5424's.
const maxHostname = 255

// message is <PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID SD MSG.
func (s *style) message(e *schema.Event) ([]byte, error) {
	app, host := "kubearmor", summary.Record(e).HostName
	if e.Falco != nil {
		app, host = "falco", e.Falco.Hostname
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "<%d>1 %s %s %s - %s - ", facility*8+severity(e.Priority()), timestamp(e.Time()), hostname(host), app, e.Kind)
	room := s.limit - b.Len()
	if s.format == formatCEF {
		b.WriteString(clip.Bytes(cef(e), room))
		return b.Bytes(), nil
	}
	body, err := e.Body()
	if err != nil {
		return nil, err
	}
	b.Write(clip.JSON(body, room))
	return b.Bytes(), nil
}

// severity is syslog's, 0 to 7, of Falco's priorities, which have its names.
func severity(p schema.Priority) int {
	if p == schema.PriorityDefault {
		p = schema.PriorityInformational
	}
	return int(schema.PriorityEmergency - p)
}

// timestamp has the six digits that RFC 5424 allows.
func timestamp(t time.Time) string {
	if t.Year() <= 1 || t.Year() > 9999 {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// hostname is one word of the characters that names and addresses have. RFC 5424
// allows more, but receivers make file names of it, and an event's host is what
// its sender says.
func hostname(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.', r == ':':
			return r
		}
		return '_'
	}, s[:min(len(s), maxHostname)])
	if strings.Trim(s, ".") == "" {
		return "-"
	}
	return s
}
