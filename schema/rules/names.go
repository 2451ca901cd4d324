package rules

import (
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// nameRules are the rules about names that are asked for by DNS. They are a class of
// their own: an Allow rule makes an allow list of names, and of nothing else.
type nameRules struct {
	class
	byName map[string]*node
}

// searched are the suffixes that a resolver in a pod adds to a name, which KubeArmor
// takes away as well; before the last of them stands a namespace.
var searched = [...]string{".cluster.local", ".svc.cluster.local"}

// decide answers a query. A rule is about its name and all that is below it, by label:
// that of example.com is about www.example.com and not about myexample.com. The longest
// name decides, those of a source before others.
func (n *nameRules) decide(a *Access) Verdict {
	if !n.used {
		return Verdict{}
	}
	var from, others bucket
	var audit *rule
	take := func(name string) {
		for {
			if at := n.byName[name]; at != nil {
				audit = first(audit, at.any.audits, a)
				if len(others.enforced) == 0 {
					others.enforced = at.any.enforced
				}
				if b := at.from[a.Source]; b != nil {
					audit = first(audit, b.audits, a)
					if len(from.enforced) == 0 {
						from.enforced = b.enforced
					}
				}
			}
			_, parent, ok := strings.Cut(name, ".")
			if !ok {
				return
			}
			name = parent
		}
	}
	name := strings.ToLower(strings.TrimSuffix(a.Name, "."))
	take(name)
	for _, suffix := range searched {
		if short, ok := strings.CutSuffix(name, suffix); ok {
			take(short)
			if dot := strings.LastIndexByte(short, '.'); dot > 0 && suffix == searched[1] {
				take(short[:dot]) // without the namespace
			}
		}
	}
	var j judgement
	for _, h := range []*hit{{from.enforced}, {others.enforced}} {
		if !h.empty() {
			j = h.judge(a)
			break
		}
	}
	return n.conclude(j, audit)
}

func (c *compiler) name(r *spolicy.NetworkRule) {
	n := &c.rules.names
	sources := programs(r.FromSource)
	at(n.byName, strings.ToLower(strings.TrimSuffix(r.Domain, "."))).add(c.add(&n.class, r.Effect, limits{}, sources), sources)
}
