package rules

import "strings"

// DecideMove is Decide for a directory that gets another name, with all that is
// in it: it is denied as well where a rule denies the program something beneath
// it, which would be out of the rule's reach then. a.Path is the directory.
//
// Rules that name no place, an execname or a pattern such as /**/*.key, go with
// the files. It looks at all rules, so it is for what happens seldom.
func (r *Rules) DecideMove(a *Access) Verdict {
	v := r.decideMove(a)
	if r.watched != nil && !v.Deny {
		v = v.beside(r.watched.decideMove(a))
	}
	return r.tell(a, v)
}

func (r *Rules) decideMove(a *Access) Verdict {
	v := r.decide(a)
	if v.Deny || r.can.denied.by(a.Source, a.ParentSource)&File == 0 {
		return v
	}
	below := strings.TrimSuffix(a.Path, "/") + "/"
	inside := *a
	for path := range r.file.paths {
		if !strings.HasPrefix(path, below) {
			continue
		}
		inside.Path = path
		if w := r.decide(&inside); w.Deny {
			return w
		}
	}
	for i := range r.file.patterns {
		p := &r.file.patterns[i]
		if p.rule[0].verdict.Deny && p.rule[0].fires(a) && p.reaches(a.Path) {
			return p.rule[0].verdict
		}
	}
	return v
}

// reaches says whether a pattern that depends on the place of a file could match
// something beneath the directory dir.
func (g *glob) reaches(dir string) bool {
	below := strings.TrimSuffix(dir, "/") + "/"
	if strings.HasPrefix(g.prefix, below) {
		return true
	}
	if strings.ContainsAny(g.text, "{\\") { // slashes may stand in there
		return g.prefix != "/" && strings.HasPrefix(below, g.prefix)
	}
	pattern := strings.Split(g.text, "/")
	names := strings.Split(strings.TrimSuffix(below, "/"), "/")
	for i, name := range names {
		switch {
		case i >= len(pattern):
			return false
		case strings.Contains(pattern[i], "**"):
			return i > 1 || pattern[i] != "**"
		}
		element, err := compileGlob(pattern[i])
		if err != nil || !element.match(name) {
			return err != nil
		}
	}
	return len(pattern) > len(names)
}
