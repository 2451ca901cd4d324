package summary

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// Digest is a number of alike KubeArmor events in words. The Summary is of what they
// share: its Headline and Facts have the pattern of the resources.
type Digest struct {
	Summary
	Title    string   // "Blocked 1234 times: cat tried to read /etc/*"
	Examples []string // of the events, one line each
}

// OfDigest summarises a digest of alerts or logs. Falco events bring their own words.
func OfDigest(d *outputs.Digest) Digest {
	shared := generalised(d)
	s := Of(&shared)
	r := Record(&shared)
	facts := append(Times(d), Fact{Name: "Program", Value: r.ProcessName, Code: true})
	for _, f := range s.Facts {
		switch f.Name {
		case "Program", "Parent", "Result", "Severity": // are of one event, or below
		case "Policy":
			f.Detail = severity(shared.Alert.Severity)
			if f.Detail != "" {
				f.Detail = "severity " + f.Detail
			}
			facts = append(facts, f)
		default:
			facts = append(facts, f)
		}
	}
	s.Facts = nonEmpty(facts)
	s.More = slices.DeleteFunc(s.More, func(f Fact) bool {
		return f.Name == "Directory" || f.Name == "Terminal" || f.Name == "Call"
	})
	s.When = clock(d.Last)
	out := Digest{Summary: s, Title: fmt.Sprintf("%s %s %d times: %s", s.Outcome.Icon(), s.Outcome, d.Count, s.Headline)}
	for i := range d.Examples {
		out.Examples = append(out.Examples, example(&d.Examples[i]))
	}
	return out
}

// Times are how many events there are, and when the first and the last were.
func Times(d *outputs.Digest) []Fact {
	events := strconv.Itoa(d.Count)
	if d.Mixed {
		events += ", of several programs or places"
	}
	return []Fact{
		{Name: "Events", Value: events},
		{Name: "First", Value: clock(d.First)},
		{Name: "Last", Value: clock(d.Last)},
	}
}

// generalised is a copy of the first event about what the pattern matches. What
// differs between several kinds is not named.
func generalised(d *outputs.Digest) schema.Event {
	first := &d.Examples[0]
	c := schema.Event{ID: first.ID, Received: first.Received, Kind: first.Kind, Alert: first.Alert, Log: first.Log, Falco: first.Falco}
	var record *schema.Record
	switch {
	case c.Alert != nil:
		a := *c.Alert
		c.Alert, record = &a, &a.Record
	case c.Log != nil:
		l := *c.Log
		c.Log, record = &l, &l.Record
	default:
		return c
	}
	record.Resource = d.Resource
	if d.Mixed {
		record.ProcessName, record.Source, record.ParentProcessName = "*", "", ""
		record.PodName, record.ContainerName, record.ContainerID = "*", "*", ""
	}
	return c
}

// example is when, by what and about what an event was.
func example(e *schema.Event) string {
	r := Record(e)
	text := program(r)
	if object := target(r).Value; !strings.Contains(text, object) {
		text = strings.TrimSpace(text + " " + object)
	}
	return fmt.Sprintf("%s %s (pid %d)", e.Time().UTC().Format("15:04:05.000"), text, r.PID)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }
