package policies

import (
	"errors"
	"fmt"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Key is what makes two policies the same. One that watches may stand beside one
// that enforces.
type Key struct {
	Kind, Namespace, Name string
	Watches               bool
}

// KeyOf gives the key of a policy.
func KeyOf(d *spolicy.Document) Key {
	return Key{d.Kind, d.Namespace, d.Name, d.Mode == spolicy.Watch}
}

// String names a policy for people.
func (k Key) String() string {
	name := k.Name
	if k.Namespace != "" {
		name = k.Namespace + "/" + name
	}
	if k.Watches {
		name += " (watching)"
	}
	return name
}

// Read reads the policies of a text: all of them, or the error says what is wrong.
func Read(t Text, strict bool) ([]Policy, error) {
	parts, err := spolicy.Split(t.Place, strings.NewReader(t.Body))
	if err != nil {
		return nil, err
	}
	var all []Policy
	var errs []error
	for _, part := range parts {
		docs, err := part.Parse(strict)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, d := range docs {
			if t.Mode != spolicy.Enforce {
				d.Mode = t.Mode
			}
			all = append(all, Policy{Document: d, Text: part, Notes: rules.Unsupported([]spolicy.Document{d})})
		}
	}
	if len(errs) == 0 && strict {
		errs = twice(all)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

// twice finds policies of which another of the same text would count.
func twice(all []Policy) (errs []error) {
	seen := map[Key]string{}
	for i := range all {
		d, k := &all[i].Document, KeyOf(&all[i].Document)
		if origin, dup := seen[k]; dup {
			errs = append(errs, fmt.Errorf("%s: %s %s was already defined at %s", d.Origin, d.Kind, k, origin))
			continue
		}
		seen[k] = d.Origin
	}
	return errs
}

// lines takes an error apart for the log.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }

// origin is a policy and the source that it is from.
type origin struct {
	source string
	policy *Policy
}

// merger merges once.
type merger struct {
	*Hub
	last map[Key]origin
	now  map[string]string // what the log is told, or was and is still so
}

// add adds a policy where it counts, and tells the log of what is new.
func (m *merger) add(to *Merged, p *Policy) {
	k, source := KeyOf(&p.Document), to.Name
	if by := m.last[k]; by.policy != p {
		if m.news("replaced "+source+" "+p.Origin, by.source+" "+by.policy.Origin) {
			m.log.Warn("a policy is replaced by a later one of the same name", "policy", k.String(),
				"from", source, "at", p.Origin, "by_from", by.source, "by", by.policy.Origin)
		}
		to.Replaced = append(to.Replaced, Replaced{k, p.Origin, by.source, by.policy.Origin})
		return
	}
	to.Policies = append(to.Policies, *p)
	for _, w := range p.Warnings {
		if m.news("warning "+source+" "+w, "") {
			m.log.Warn("a policy may not mean what it says", "policy", k.String(), "from", source, "at", p.Origin, "what", w)
		}
	}
	for _, n := range p.Notes {
		if m.news("note "+source+" "+n.String(), "") {
			m.log.Warn("a part of a policy is not enforced", "policy", k.String(), "from", source, "at", n.At, "section", n.Section, "action", n.Action, "why", n.Why)
		}
	}
}

// news says whether it is new that something has a value.
func (m *merger) news(about, value string) bool {
	m.now[about] = value
	old, was := m.said[about]
	return !was || old != value
}
