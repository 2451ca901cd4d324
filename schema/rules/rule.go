package rules

import (
	"slices"
	"strconv"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

const defaultPosture = "DefaultPosture"

// limits are what a rule says besides its target: it sets a kind of access
// apart, reading, by the owner, without a terminal, with these arguments only,
// and is about the rest. Without limits there is no such kind.
type limits struct {
	readOnly  bool
	ownerOnly bool
	noTTY     bool     // pts: false
	args      []string // allowedArgs; nil for any
}

func (l *limits) restrict() bool { return l.readOnly || l.ownerOnly || l.noTTY || l.args != nil }

// permit says whether a is of the kind that is set apart.
func (l *limits) permit(a *Access) bool {
	return (!l.readOnly || a.Operation != FileWrite) && (!l.ownerOnly || a.Owner) &&
		(!l.noTTY || !a.HasTTY) && (l.args == nil || l.take(a))
}

// take says whether every argument is among the allowed ones.
func (l *limits) take(a *Access) bool {
	if a.ArgsCut {
		return false
	}
	for _, arg := range a.Args {
		if !slices.Contains(l.args, arg) {
			return false
		}
	}
	return true
}

// concern leaves of op what the rule can be about: with readOnly alone, never a
// read.
func (l *limits) concern(op Operation) Operation {
	if l.readOnly && !l.ownerOnly && !l.noTTY && l.args == nil {
		return op &^ FileRead
	}
	return op
}

// rule is what one rule of a document does once its target matches.
type rule struct {
	limits
	order   int // place among all rules of its class: the first alerts
	action  string
	verdict Verdict // when it fires
}

// fires says whether a Block or Audit rule is about a.
func (r *rule) fires(a *Access) bool { return !r.restrict() || !r.permit(a) }

// bucket holds the rules of one key, in order. Audit rules are invisible to
// enforcement, so that they neither block nor make an allow-list.
type bucket struct{ enforced, audits []*rule }

func (b *bucket) add(r *rule) {
	if r.action == spolicy.ActionAudit {
		b.audits = append(b.audits, r)
		return
	}
	b.enforced = append(b.enforced, r)
}

// node holds the rules of one target: those for any source and those for one.
type node struct {
	any  bucket
	from map[string]*bucket
}

func (n *node) add(r *rule, sources []string) {
	if len(sources) == 0 {
		n.any.add(r)
		return
	}
	if n.from == nil {
		n.from = map[string]*bucket{}
	}
	for _, s := range sources {
		b := n.from[s]
		if b == nil {
			b = &bucket{}
			n.from[s] = b
		}
		b.add(r)
	}
}

// hit is the rules that decide together: of one rank, under up to two keys.
type hit [2][]*rule

func (h *hit) empty() bool { return len(h[0]) == 0 && len(h[1]) == 0 }

func (h *hit) judge(a *Access) (j judgement) {
	j.weigh(h[0], a)
	j.weigh(h[1], a)
	return j
}

// judgement is what the rules that decide together say. Block wins over Allow;
// an access that only Allow rules are about, and that none of them permits, is
// refused in the name of the posture.
type judgement struct {
	decided         bool // there was a rule
	allows, allowed bool
	block           *rule // the first that fires
}

func (j *judgement) weigh(rules []*rule, a *Access) {
	for _, r := range rules {
		j.decided = true
		switch {
		case r.action == spolicy.ActionAllow:
			j.allows = true
			j.allowed = j.allowed || r.permit(a)
		case r.fires(a) && (j.block == nil || r.order < j.block.order):
			j.block = r
		}
	}
}

func (j *judgement) verdict() Verdict {
	switch {
	case j.block != nil:
		return j.block.verdict
	case j.allows && !j.allowed:
		return Verdict{Deny: true, Alert: true, Action: spolicy.ActionBlock, PolicyName: defaultPosture}
	}
	return Verdict{}
}

// first keeps the earliest audit rule that fires.
func first(best *rule, audits []*rule, a *Access) *rule {
	for _, r := range audits {
		if best != nil && best.order <= r.order {
			return best
		}
		if r.fires(a) {
			return r
		}
	}
	return best
}

// conclude joins what enforcement said, the posture of the class where no rule
// decided, and the audit rule that fires, if any.
func (c *class) conclude(j judgement, audit *rule) Verdict {
	var v Verdict
	switch {
	case j.decided:
		v = j.verdict()
	case c.allowList && c.posture == PostureBlock:
		v = Verdict{Deny: true, Alert: true, Action: spolicy.ActionBlock, PolicyName: defaultPosture}
	case c.allowList && c.posture == PostureAudit:
		v = Verdict{Alert: true, Action: spolicy.ActionAudit, PolicyName: defaultPosture}
	}
	if !v.Deny && audit != nil {
		return audit.verdict
	}
	return v
}

// class is what the rules of all three classes share.
type class struct {
	op        Operation // the class's operations
	posture   string
	used      bool // some rule exists
	allowList bool // an Allow rule exists
	count     int
}

func (c *class) newRule(policy string, e spolicy.Effect, l limits) *rule {
	severity := ""
	if e.Severity > 0 {
		severity = strconv.Itoa(e.Severity)
	}
	r := &rule{
		limits: l, order: c.count, action: e.Action,
		verdict: Verdict{
			Deny: e.Action == spolicy.ActionBlock, Alert: true, Action: e.Action,
			PolicyName: policy, Severity: severity, Tags: e.Tags, Message: e.Message,
		},
	}
	c.count++
	c.used = true
	c.allowList = c.allowList || e.Action == spolicy.ActionAllow
	return r
}
