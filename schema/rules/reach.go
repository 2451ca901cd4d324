package rules

import spolicy "github.com/sidearmor/sidearmor/schema/policy"

// reach says of which operations, and by which programs, accesses can meet some
// property of the rules: being denied, or raising an alert.
type reach struct {
	any  Operation            // by every program
	from map[string]Operation // by one program, by its path
}

// add notes operations of the given programs; none are all.
func (r *reach) add(op Operation, sources []string) {
	if len(sources) == 0 || op == 0 {
		r.any |= op
		return
	}
	if r.from == nil {
		r.from = map[string]Operation{}
	}
	for _, s := range sources {
		r.from[s] |= op
	}
}

// by gives the operations that the program of an access can meet; parent is that
// of its parent, and counts for Process alone.
func (r *reach) by(source, parent string) Operation {
	if len(r.from) == 0 {
		return r.any
	}
	return r.any | r.from[source] | r.from[parent]&Process
}

// whole gives the operations that some program can meet.
func (r *reach) whole() Operation {
	op := r.any
	for _, of := range r.from {
		op |= of
	}
	return op
}

// reaches is what the rules can do, over all classes.
type reaches struct {
	denied, alerted reach
	addressed       reach // denied for whom an access is for
}

// add notes what one rule can do by itself, of operations op.
func (r *reaches) add(rule *rule, op Operation, sources []string) {
	op = rule.concern(op)
	switch rule.action {
	case spolicy.ActionBlock:
		r.denied.add(op, sources)
	case spolicy.ActionAllow:
		if !rule.restrict() {
			return
		}
		r.denied.add(op, sources)
	}
	r.alerted.add(op, sources) // whoever is denied is told of
}

// allowList notes what the posture does to accesses that no rule names.
func (r *reaches) allowList(posture string, op Operation) {
	switch posture {
	case PostureBlock:
		r.denied.add(op, nil)
		r.alerted.add(op, nil)
	case PostureAudit:
		r.alerted.add(op, nil)
	}
}

// CouldDeny says whether Decide could deny an access of one of the operations by
// a process that runs the program source, whose parent runs parentSource: paths
// that Access has too. If not, it needs neither a resolved path nor a race-free
// answer. Two programs that are not known are not "": ask CanDeny then. It costs
// two lookups in a map, and allocates nothing.
func (r *Rules) CouldDeny(op Operation, source, parentSource string) bool {
	return r.can.denied.by(source, parentSource)&op != 0
}

// CouldAlert says the same of an alert, of which every denial raises one: if not,
// the rules have nothing at all to say about the access.
func (r *Rules) CouldAlert(op Operation, source, parentSource string) bool {
	return r.can.alerted.by(source, parentSource)&op != 0 || r.watched != nil && r.watched.CouldAlert(op, source, parentSource)
}

// Wants says which operations must be put to Decide: those of which some access
// by some program can be denied or raise an alert.
func (r *Rules) Wants() Operation {
	if r.watched != nil {
		return r.wants | r.watched.wants
	}
	return r.wants
}

// CanDeny says whether any access of one of the operations, by any program, can
// be denied: if not, the caller needs no race-free answer.
func (r *Rules) CanDeny(op Operation) bool { return r.denies&op != 0 }
