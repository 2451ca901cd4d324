package schema

import (
	"slices"
	"unicode/utf8"
)

// Clip shortens the strings of an alert or log that was built from what a
// workload did, so that Decode takes what MarshalJSON writes of it. Without it a
// program could hide from its policy behind an argument of a megabyte. It is for
// those who make events: it changes the event and its EventData, though not the
// Owner, ExecEvent and ATags, which events share.
func (e *Event) Clip() {
	r := e.Record()
	if r == nil {
		return
	}
	a := &Alert{Record: *r}
	if e.Alert != nil {
		a = e.Alert
	}
	// JSON makes up to six bytes of one; the keys take less than 2 KiB.
	for limit := 16 << 10; limit >= 64; limit /= 4 {
		if size := a.clip(limit); 6*size+2048 <= MaxEventBytes {
			break
		}
	}
	*r = a.Record
	e.text = ""
}

// clip shortens every string to at most limit bytes and gives the length of all.
func (a *Alert) clip(limit int) (size int) {
	cut := func(s *string) {
		if len(*s) > limit {
			*s = clip(*s, limit)
		}
		size += len(*s)
	}
	for _, f := range fields {
		if s, ok := f.in(a).(*string); ok {
			cut(s)
		}
	}
	a.ATags = slices.Clone(a.ATags[:min(len(a.ATags), MaxEntries)])
	for i := range a.ATags {
		cut(&a.ATags[i])
	}
	if a.Owner != nil {
		owner := *a.Owner
		cut(&owner.Ref)
		cut(&owner.Name)
		cut(&owner.Namespace)
		a.Owner = &owner
	}
	if a.ExecEvent != nil {
		exec := *a.ExecEvent
		cut(&exec.ExecID)
		cut(&exec.ExecutableName)
		a.ExecEvent = &exec
	}
	entries := 0
	for key, value := range a.EventData {
		if entries++; len(key) > limit || entries > MaxEntries {
			delete(a.EventData, key)
			continue
		}
		cut(&value)
		size += len(key)
		a.EventData[key] = value
	}
	return size
}

// clip cuts s to at most limit bytes between two characters, and marks the cut.
func clip(s string, limit int) string {
	const mark = "…"
	if len(s) <= limit {
		return s
	}
	end := limit - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
