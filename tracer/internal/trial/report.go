package trial

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Report is what became of a run.
type Report struct {
	Decisions []Decision `json:"decisions"` // in the order in which each was made first
	Others    int        `json:"others"`    // decisions that no rule is about, and that passed
	More      int        `json:"more"`      // decisions that are too many to tell apart
	Unused    []Rule     `json:"unused"`    // rules that were about nothing that the run did
}

// Decision is one that was made some times.
type Decision struct {
	Outcome   string `json:"outcome"` // denied, alerted or passed
	Times     int    `json:"times"`
	Operation string `json:"operation"`
	Program   string `json:"program"`  // that acts
	Resource  string `json:"resource"` // what it acts on
	By        *Rule  `json:"by"`       // nil for the default posture: no rule of an allow list names it
	Second    string `json:"second"`   // what would be so without that rule
	Next      *Rule  `json:"next"`     // the rule that would decide then; nil for none
}

// Outcomes.
const (
	Denied  = "denied"
	Alerted = "alerted" // passed, and told
	Passed  = "passed"
)

func outcome(v rules.Verdict) string {
	switch {
	case v.Deny:
		return Denied
	case v.Alert:
		return Alerted
	}
	return Passed
}

// Report tells of the decisions so far.
func (t *Trial) Report() (Report, error) {
	t.mu.Lock()
	decisions, report := slices.Clone(t.order), Report{Decisions: []Decision{}, Unused: []Rule{}, More: t.more}
	t.mu.Unlock()
	used := make([]bool, len(t.rules))
	without := map[int]*rules.Rules{}
	for _, d := range decisions {
		about := t.about(&d.access)
		for _, i := range about {
			used[i] = true
		}
		if len(about) == 0 && !d.verdict.Alert && !d.verdict.Deny {
			report.Others += d.times
			continue
		}
		told, err := t.explain(d, about, without)
		if err != nil {
			return Report{}, err
		}
		report.Decisions = append(report.Decisions, told)
	}
	for i, u := range used {
		if !u {
			report.Unused = append(report.Unused, t.rules[i])
		}
	}
	return report, nil
}

// about gives the rules that are about an access, each taken for itself.
func (t *Trial) about(a *rules.Access) (all []int) {
	for i, alone := range t.alone {
		v := alone.Decide(a)
		if v.PolicyName == t.docs[i].Name || allows(&t.docs[i]) && v.PolicyName == "" && alone.Wants()&a.Operation != 0 {
			all = append(all, i)
		}
	}
	return all
}

// allows says whether the rule of a document allows.
func allows(d *spolicy.Document) bool {
	switch {
	case len(d.Process) > 0:
		return d.Process[0].Action == spolicy.ActionAllow
	case len(d.File) > 0:
		return d.File[0].Action == spolicy.ActionAllow
	case len(d.Network) > 0:
		return d.Network[0].Action == spolicy.ActionAllow
	case len(d.Capabilities) > 0:
		return d.Capabilities[0].Action == spolicy.ActionAllow
	}
	return false
}

// explain finds the rule that made a decision, and what would be so without it.
func (t *Trial) explain(d *decision, about []int, without map[int]*rules.Rules) (Decision, error) {
	told := Decision{
		Outcome: outcome(d.verdict), Times: d.times, Operation: d.access.Operation.String(),
		Program: d.access.Source, Resource: resource(&d.access), Second: Passed,
	}
	first, err := t.decider(d, about, without)
	if err != nil || first < 0 {
		return told, err
	}
	told.By = &t.rules[first]
	rest, err := t.rest(first, without)
	if err != nil {
		return told, err
	}
	v := rest.Decide(&d.access)
	told.Second = outcome(v)
	if i, err := strconv.Atoi(v.PolicyName); err == nil {
		told.Next = &t.rules[i]
		return told, nil
	}
	for _, i := range about {
		if i != first && allows(&t.docs[i]) && v.PolicyName == "" {
			told.Next = &t.rules[i]
		}
	}
	return told, nil
}

// decider gives the number of the rule that made a decision; -1 for none.
func (t *Trial) decider(d *decision, about []int, without map[int]*rules.Rules) (int, error) {
	if i, err := strconv.Atoi(d.verdict.PolicyName); err == nil {
		return i, nil
	}
	if d.verdict.PolicyName != "" {
		return -1, nil
	}
	first := -1
	for _, i := range about {
		if !allows(&t.docs[i]) {
			continue
		}
		if first < 0 {
			first = i
		}
		rest, err := t.rest(i, without)
		if err != nil {
			return -1, err
		}
		if v := rest.Decide(&d.access); v.PolicyName != "" {
			return i, nil
		}
	}
	return first, nil
}

// rest gives the rules without one.
func (t *Trial) rest(i int, without map[int]*rules.Rules) (*rules.Rules, error) {
	if made := without[i]; made != nil {
		return made, nil
	}
	docs := slices.Delete(slices.Clone(t.docs), i, i+1)
	made, err := t.compile(docs)
	without[i] = made
	return made, err
}

// resource names what an access is about.
func resource(a *rules.Access) string {
	switch {
	case a.Operation == rules.Process:
		return strings.Join(append([]string{a.Path}, a.Args...), " ")
	case a.Operation&rules.Network != 0:
		return strings.TrimSpace(a.SockType + " " + a.Protocol)
	case a.Name != "":
		return strings.TrimSpace(a.Name + " " + a.Path)
	}
	return a.Path
}

// Text writes the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	for i := range r.Decisions {
		d := &r.Decisions[i]
		fmt.Fprintf(&b, "%s %d×: %s %s, by %s\n", d.Outcome, d.Times, d.Operation, quoted(d.Resource), quoted(d.Program))
		if d.By == nil {
			b.WriteString("  by the default posture: an allow list does not name it\n")
			continue
		}
		fmt.Fprintf(&b, "  by %s, %s: %s\n", d.By.At, d.By.Policy, d.By.Words)
		switch {
		case d.Next != nil:
			fmt.Fprintf(&b, "  else %s, by %s, %s: %s\n", d.Second, d.Next.At, d.Next.Policy, d.Next.Words)
		case d.Second != Passed:
			fmt.Fprintf(&b, "  else %s, by the default posture\n", d.Second)
		default:
			b.WriteString("  else passed: no other rule is about it\n")
		}
	}
	fmt.Fprintf(&b, "%d decisions were about what no rule names, and passed\n", r.Others)
	if r.More > 0 {
		fmt.Fprintf(&b, "%d decisions more are too many to be listed\n", r.More)
	}
	for _, u := range r.Unused {
		fmt.Fprintf(&b, "never asked: %s, %s: %s\n", u.At, u.Policy, u.Words)
	}
	return b.String()
}

// quoted keeps what a workload has named from moving the cursor of who reads it.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return strconv.Quote(s)
	}
	return s
}
