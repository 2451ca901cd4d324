// Package simulate says what policies would have done to events of the past. The
// decisions are the tracer's own.
package simulate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/observed"
	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Outcome is what the policies would have done to an event.
type Outcome string

// The outcomes.
const (
	Denied  Outcome = "denied"
	Alerted Outcome = "alerted" // let through, and told
	Passed  Outcome = "passed"
)

// Group is events that came to the same.
type Group struct {
	Outcome   Outcome `json:"outcome"` // Denied or Alerted
	Policy    string  `json:"policy"`  // schema.DefaultPosture where an allow list does not name the resource
	Operation string  `json:"operation"`
	Program   string  `json:"program"` // that acts; for Process the one that starts Resource
	Resource  string  `json:"resource"`
	Before    string  `json:"before"` // the Result that the first of the events has
	Events    int     `json:"events"`
	First     string  `json:"first,omitempty"` // its time, as the event has it
}

// Report is all that came of a simulation.
type Report struct {
	Events   int            `json:"events"`
	Denied   int            `json:"denied"`
	Alerted  int            `json:"alerted"`
	Passed   int            `json:"passed"`
	Skipped  map[string]int `json:"skipped,omitempty"` // by reason
	Groups   []Group        `json:"groups"`            // denied ones first, then by the number of events
	More     int            `json:"more,omitempty"`    // events whose groups are too many to tell apart
	Unused   []string       `json:"unused,omitempty"`  // policies that no event's container is selected by
	NotDone  []string       `json:"notEnforced,omitempty"`
	selected map[string]bool
	groups   map[Group]*Group
}

// maxGroups bounds the memory of a simulation.
const maxGroups = 10000

// Simulation tries documents on events, one after the other.
type Simulation struct {
	docs    []policy.Document
	posture rules.Posture
	rules   map[string]*rules.Rules // by target
	report  Report
}

// New makes a simulation. The error names a posture that does not exist.
func New(docs []policy.Document, posture rules.Posture) (*Simulation, error) {
	if _, err := rules.Needs(docs, posture); err != nil {
		return nil, err
	}
	s := &Simulation{docs: docs, posture: posture, rules: map[string]*rules.Rules{}}
	s.report = Report{Skipped: map[string]int{}, selected: map[string]bool{}, groups: map[Group]*Group{}}
	for _, n := range rules.Unsupported(docs) {
		s.report.NotDone = append(s.report.NotDone, n.String())
	}
	return s, nil
}

// Add tries an event.
func (s *Simulation) Add(e *schema.Event) {
	var r *schema.Record
	switch e.Kind {
	case schema.KindAlert:
		r = &e.Alert.Record
	case schema.KindLog:
		r = &e.Log.Record
	default:
		s.skip("it is Falco's: rules are about KubeArmor's events")
		return
	}
	a, err := observed.Access(r)
	if err != nil {
		s.skip(err.Error())
		return
	}
	compiled, err := s.compiled(r)
	if err != nil {
		s.skip(err.Error())
		return
	}
	s.report.Events++
	v := compiled.Decide(&a)
	switch {
	case v.Deny:
		s.report.Denied++
		s.count(Denied, &a, &v, r)
	case v.Alert:
		s.report.Alerted++
		s.count(Alerted, &a, &v, r)
	default:
		s.report.Passed++
	}
}

func (s *Simulation) skip(why string) { s.report.Skipped[why]++ }

// compiled gives the rules for the container of an event.
func (s *Simulation) compiled(r *schema.Record) (*rules.Rules, error) {
	key := fmt.Sprintf("%q %q %q %q", r.NamespaceName, r.PodName, r.ContainerName, r.Labels)
	if found, ok := s.rules[key]; ok {
		return found, nil
	}
	target := observed.Target(r)
	for i := range s.docs {
		if s.docs[i].Selects(target) {
			s.report.selected[s.docs[i].Name] = true
		}
	}
	made, err := rules.Compile(s.docs, target, s.posture)
	if err != nil {
		return nil, err
	}
	if len(s.rules) < maxGroups {
		s.rules[key] = made
	}
	return made, nil
}

func (s *Simulation) count(o Outcome, a *rules.Access, v *rules.Verdict, r *schema.Record) {
	key := Group{Outcome: o, Policy: v.PolicyName, Operation: a.Operation.String(), Program: a.Source, Resource: a.Path}
	if a.Operation == rules.Network {
		key.Resource = r.Resource
	}
	g, ok := s.report.groups[key]
	if !ok {
		if len(s.report.groups) == maxGroups {
			s.report.More++
			return
		}
		first := key
		first.Before, first.First = r.Result, r.UpdatedTime
		g = &first
		s.report.groups[key] = g
	}
	g.Events++
}

// Report tells what came of the events so far.
func (s *Simulation) Report() Report {
	r := s.report
	r.Groups = make([]Group, 0, len(r.groups))
	for _, g := range r.groups {
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(-cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(b.Events, a.Events),
			cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Program, b.Program), cmp.Compare(a.Resource, b.Resource))
	})
	for i := range s.docs {
		if name := s.docs[i].Name; !r.selected[name] && r.Events > 0 {
			r.Unused = append(r.Unused, name)
		}
	}
	return r
}
