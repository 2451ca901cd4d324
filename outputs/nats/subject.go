package nats

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
)

// maxToken bounds what an event gives to a subject: a workload must not make
// one that a server refuses (max_control_line is 4096 bytes).
const maxToken = 100

// subject is a template: parts of even index are text, the others are names of
// tokens.
type subject []string

// token is what an event has for the name of a token; not ok if there is no
// such token.
func token(name string, e *schema.Event, f *schema.FalcoEvent) (value string, ok bool) {
	switch name {
	case "priority":
		return f.Priority.String(), true
	case "rule":
		return f.Rule, true
	case "kind":
		return string(e.Kind), true
	case "action":
		return text(f, "Action"), true
	case "namespace":
		return text(f, "k8s.ns.name"), true
	}
	return "", false
}

func parseSubject(template string) (subject, error) {
	var s subject
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "<")
		s = append(s, before)
		if !found {
			break
		}
		name, after, closed := strings.Cut(after, ">")
		if _, ok := token(name, &schema.Event{}, &schema.FalcoEvent{}); !ok || !closed {
			return nil, fmt.Errorf("%q: there is no token <%s>", template, name)
		}
		s, rest = append(s, name), after
	}
	sample := s.with(func(string) string { return "x" })
	if sample == "" || strings.ContainsAny(sample, " \t\r\n*>") || strings.HasPrefix(sample, "$") {
		return nil, fmt.Errorf("%q is not a subject to publish to", template)
	}
	for part := range strings.SplitSeq(sample, ".") {
		if part == "" {
			return nil, errors.New("a part of the subject between dots is empty")
		}
	}
	return s, nil
}

func (s subject) of(e *schema.Event) string {
	f := e.ToFalco()
	return s.with(func(name string) string {
		value, _ := token(name, e, &f)
		return slug(value)
	})
}

func (s subject) with(value func(string) string) string {
	var b strings.Builder
	for i, part := range s {
		if i%2 == 1 {
			part = value(part)
		}
		b.WriteString(part)
	}
	return b.String()
}

// slug makes a token of a subject as FalcoSidekick does: lower-case letters and
// digits, whatever else is in between becomes one underscore.
func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case b.Len() >= maxToken:
			return strings.TrimRight(b.String(), "_")
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	return cmp.Or(strings.TrimRight(b.String(), "_"), "none")
}

func text(f *schema.FalcoEvent, field string) string {
	s, _ := f.OutputFields[field].(string)
	return s
}

// headerValue makes an id fit to stand in a header.
func headerValue(id string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, id[:min(len(id), 256)])
}
