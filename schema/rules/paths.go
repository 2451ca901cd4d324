package rules

import (
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// pathRules are the process or the file rules.
type pathRules struct {
	class
	paths      map[string]*node // by path; a directory's rules are here too, for the directory itself
	names      map[string]*node // by last element of the path (execname)
	dirs       map[string]*dir  // by path without the final "/", so "/" is ""
	longestDir int              // length of the longest key of dirs
	patterns   []pattern        // in order
	// parents says that fromSource also means the parent's program.
	parents bool
}

// dir holds the rules of one directory.
type dir struct{ recursive, direct node }

// pattern is one rule with a glob.
type pattern struct {
	*glob
	rule [1]*rule
}

func newPathRules(op Operation, posture string, parents bool) pathRules {
	return pathRules{
		class: class{op: op, posture: posture}, parents: parents,
		paths: map[string]*node{}, names: map[string]*node{}, dirs: map[string]*dir{},
	}
}

func (p *pathRules) addPath(path string, r *rule, sources []string) {
	at(p.paths, path).add(r, sources)
}

func (p *pathRules) addName(name string, r *rule, sources []string) {
	at(p.names, name).add(r, sources)
}

// addDir takes a directory without its final "/".
func (p *pathRules) addDir(name string, recursive bool, r *rule, sources []string) {
	self := name
	if self == "" {
		self = "/"
	}
	p.addPath(self, r, sources)
	d := p.dirs[name]
	if d == nil {
		d = &dir{}
		p.dirs[name] = d
	}
	if recursive {
		d.recursive.add(r, sources)
	} else {
		d.direct.add(r, sources)
	}
	p.longestDir = max(p.longestDir, len(name))
}

func at(m map[string]*node, key string) *node {
	n := m[key]
	if n == nil {
		n = &node{}
		m[key] = n
	}
	return n
}

func (p *pathRules) addPattern(g *glob, r *rule) {
	p.patterns = append(p.patterns, pattern{glob: g, rule: [1]*rule{r}})
}

// lookup collects, in one pass over a path, what each rank has to say. The
// ranks, KubeArmor's: path of a source, directory of a source, path, execname,
// pattern, directory. Among directories the deepest recursive one decides; one
// that is not recursive does only where no recursive one matches.
type lookup struct {
	rules  *pathRules
	access *Access
	audit  *rule

	path, name, direct, recursive [2]hit // [sourced] and [any]
	patterns                      judgement
}

const (
	sourced = iota
	anySource
)

func (p *pathRules) decide(a *Access) Verdict {
	if !p.used {
		return Verdict{}
	}
	l := lookup{rules: p, access: a}
	if n := p.paths[a.Path]; n != nil {
		l.take(n, &l.path)
	}
	slash := strings.LastIndexByte(a.Path, '/')
	if len(p.names) > 0 {
		if n := p.names[a.Path[slash+1:]]; n != nil {
			l.take(n, &l.name)
		}
	}
	l.takeDirs(slash)
	l.takePatterns()
	return p.conclude(l.judge(), l.audit)
}

// judge asks the first rank that has a rule.
func (l *lookup) judge() judgement {
	for _, h := range [...]*hit{
		&l.path[sourced], &l.recursive[sourced], &l.direct[sourced],
		&l.path[anySource], &l.name[anySource],
		nil, // the patterns' place
		&l.recursive[anySource], &l.direct[anySource],
	} {
		switch {
		case h != nil && !h.empty():
			return h.judge(l.access)
		case h == nil && l.patterns.decided:
			return l.patterns
		}
	}
	return judgement{}
}

// takePatterns compares the path with every pattern.
func (l *lookup) takePatterns() {
	for i := range l.rules.patterns {
		p := &l.rules.patterns[i]
		if !p.match(l.access.Path) {
			continue
		}
		if p.rule[0].action == spolicy.ActionAudit {
			l.audit = first(l.audit, p.rule[:], l.access)
		} else {
			l.patterns.weigh(p.rule[:], l.access)
		}
	}
}

// takeDirs walks from the directory of the path, which ends at slash, to "/".
func (l *lookup) takeDirs(slash int) {
	if len(l.rules.dirs) == 0 {
		return
	}
	path := l.access.Path
	for end := slash; end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		if end > l.rules.longestDir {
			continue
		}
		d := l.rules.dirs[path[:end]]
		if d == nil {
			continue
		}
		l.take(&d.recursive, &l.recursive)
		if end == slash {
			l.take(&d.direct, &l.direct)
		}
	}
}

// take notes the rules of n: enforced ones unless a deeper directory filled
// that place already, audits always.
func (l *lookup) take(n *node, into *[2]hit) {
	a := l.access
	l.audit = first(l.audit, n.any.audits, a)
	if into[anySource].empty() {
		into[anySource][0] = n.any.enforced
	}
	if n.from == nil {
		return
	}
	taken := !into[sourced].empty()
	if b := n.from[a.Source]; b != nil {
		l.audit = first(l.audit, b.audits, a)
		if !taken {
			into[sourced][0] = b.enforced
		}
	}
	if !l.rules.parents || a.ParentSource == a.Source {
		return
	}
	if b := n.from[a.ParentSource]; b != nil {
		l.audit = first(l.audit, b.audits, a)
		if !taken {
			into[sourced][1] = b.enforced
		}
	}
}
