package rules

import (
	"strconv"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

const defaultPosture = "DefaultPosture"

// rule is what one rule of a document does once its target matches.
type rule struct {
	order     int // place among all rules of its class: the first alerts
	action    string
	readOnly  bool
	ownerOnly bool
	verdict   Verdict // when it fires
}

func newRule(policy string, e spolicy.Effect, readOnly, ownerOnly bool, order int) *rule {
	severity := ""
	if e.Severity > 0 {
		severity = strconv.Itoa(e.Severity)
	}
	return &rule{
		order: order, action: e.Action, readOnly: readOnly, ownerOnly: ownerOnly,
		verdict: Verdict{
			Deny: e.Action == spolicy.ActionBlock, Alert: true, Action: e.Action,
			PolicyName: policy, Severity: severity, Tags: e.Tags, Message: e.Message,
		},
	}
}

// permits says whether a is the kind of access that readOnly and ownerOnly
// reserve: a read, by the owner. Without either there is no such kind.
func (r *rule) permits(a *Access) bool {
	return (!r.readOnly || a.Operation != FileWrite) && (!r.ownerOnly || a.Owner)
}

// fires says whether a Block or Audit rule is about a.
func (r *rule) fires(a *Access) bool {
	return !r.readOnly && !r.ownerOnly || !r.permits(a)
}

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

// judge lets Block win over Allow. An access that only Allow rules are about,
// and that none of them permits, is refused in the name of the posture.
func (h *hit) judge(a *Access) Verdict {
	allows, allowed := false, false
	var block *rule
	for _, rules := range h {
		for _, r := range rules {
			switch {
			case r.action == spolicy.ActionAllow:
				allows = true
				allowed = allowed || r.permits(a)
			case r.fires(a) && (block == nil || r.order < block.order):
				block = r
			}
		}
	}
	switch {
	case block != nil:
		return block.verdict
	case allows && !allowed:
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

// conclude joins what enforcement said (found, if any rule decided), the
// posture of the class and the audit rule that fires, if any.
func (c *class) conclude(decided *hit, audit *rule, a *Access) Verdict {
	var v Verdict
	switch {
	case !decided.empty():
		v = decided.judge(a)
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
	posture   string
	used      bool // some rule exists
	allowList bool // an Allow rule exists
	denies    bool // some rule can deny by itself
	count     int
}

func (c *class) canDeny() bool {
	return c.denies || c.allowList && c.posture == PostureBlock
}

func (c *class) newRule(policy string, e spolicy.Effect, readOnly, ownerOnly bool) *rule {
	r := newRule(policy, e, readOnly, ownerOnly, c.count)
	c.count++
	c.used = true
	c.allowList = c.allowList || e.Action == spolicy.ActionAllow
	c.denies = c.denies || e.Action == spolicy.ActionBlock || e.Action == spolicy.ActionAllow && (readOnly || ownerOnly)
	return r
}
