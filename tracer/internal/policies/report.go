package policies

import (
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// statement is something that the log is told once, until it is no longer so.
type statement struct {
	about key    // the policy; its zero is all together
	text  string // "" of a policy's selection, of which there is one
}

// report says what became of each policy, as far as it was not said before.
type report struct {
	*Hub
	now map[statement]string
}

// news says whether it is new that a statement has a value.
func (r *report) news(s statement, value string) bool {
	r.now[s] = value
	old, was := r.said[s]
	return !was || old != value
}

// report tells the log what is in force. h.mu is held.
func (h *Hub) report(docs []spolicy.Document, replaced []replacement, compiled *rules.Rules, generation uint64) {
	r := &report{Hub: h, now: map[statement]string{}}
	for _, d := range replaced {
		if r.news(statement{keyOf(d.old), "replaced " + d.old.Origin}, d.by.Origin) {
			h.log.Warn("a policy is replaced by a later one of the same name", "policy", keyOf(d.old).String(), "at", d.old.Origin, "by", d.by.Origin)
		}
	}
	selecting := 0
	for i := range docs {
		for _, w := range docs[i].Warnings {
			if r.news(statement{keyOf(&docs[i]), w}, "") {
				h.log.Warn("a policy may not mean what it says", "policy", keyOf(&docs[i]).String(), "at", docs[i].Origin, "what", w)
			}
		}
		if r.selection(&docs[i]) {
			selecting++
		}
	}
	for _, n := range compiled.Notes() {
		r.note(n)
	}
	if missing := compiled.Wants() &^ (h.held | rules.NetworkAccept); h.fixed && missing != 0 && r.news(statement{text: "held"}, missing.Words()) {
		h.log.Error("rules are not enforced: the filter was not made for what they are about; name it in --hold (TRACER_HOLD) at the start", "operations", missing.Words())
	}
	for old := range h.said {
		if _, still := r.now[old]; !still && old.text == "" {
			h.log.Info("a policy has been taken away", "policy", old.about.String())
		}
	}
	h.said = r.now
	h.log.Info("policies in force", "generation", generation, "documents", len(docs), "selecting", selecting,
		"operations", compiled.Wants().Words(), "container", h.target.Container, "namespace", h.target.Namespace)
}

// selection says whether a policy selects this container, and why not.
func (r *report) selection(d *spolicy.Document) (selects bool) {
	subject := statement{about: keyOf(d)}
	if pending := d.Awaits(r.target); pending != 0 {
		if r.news(subject, "unknown") {
			r.log.Info("whether a policy selects this container is not known yet", "policy", keyOf(d).String(), "at", d.Origin, "missing", awaited(r.target, pending))
		}
		return d.Selects(r.target)
	}
	if misses := d.Misses(r.target); len(misses) > 0 {
		why := strings.Join(misses, "; ")
		if r.news(subject, d.Origin+": "+why) {
			r.log.Warn("a policy does not select this container", "policy", keyOf(d).String(), "at", d.Origin, "why", why)
		}
		return false
	}
	if r.news(subject, d.Origin) {
		r.log.Info("a policy selects this container", "policy", keyOf(d).String(), "at", d.Origin)
	}
	return true
}

// note tells what of a policy in force is not enforced: loudest what was meant to
// deny.
func (r *report) note(n rules.Note) {
	if !r.news(statement{text: n.String()}, "") {
		return
	}
	if n.Action == spolicy.ActionBlock {
		r.log.Error("a Block rule is not enforced", "policy", n.Policy, "at", n.At, "section", n.Section, "why", n.Why)
		return
	}
	r.log.Warn("a part of a policy is not enforced", "policy", n.Policy, "at", n.At, "section", n.Section, "action", n.Action, "why", n.Why)
}
