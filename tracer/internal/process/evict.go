package process

import (
	"cmp"
	"slices"
)

// sweepAfter is how many new records it takes before the dead are looked for.
const sweepAfter = 512

// makeRoom keeps the number of records below the bound: the dead go first, then those that were not used for longest.
func (t *Table) makeRoom() {
	full := len(t.procs) >= max(t.maxProc, t.nextSweep)
	if full || t.sweepDue(sweepAfter) {
		t.sweep()
	}
	if !full {
		return
	}
	// What is left may be alive and not to be found out again. It is not looked through for each further process.
	defer func() { t.nextSweep = len(t.procs) + len(t.procs)/4 }()
	keep := t.maxProc * 3 / 4
	if len(t.procs) <= keep {
		return
	}
	idle := make([]*Process, 0, len(t.procs))
	for _, p := range t.procs {
		if !p.pinned() {
			idle = append(idle, p)
		}
	}
	slices.SortFunc(idle, func(a, b *Process) int { return cmp.Compare(a.used, b.used) })
	for _, p := range idle[:min(len(idle), len(t.procs)-keep)] {
		t.remove(p)
	}
}

// sweepDue says whether there are so many new records, and so many compared with all, that a sweep costs each of them
// little.
func (t *Table) sweepDue(after int) bool { return t.created > max(after, len(t.procs)/4) }

// sweep removes the records of processes that are gone, and settles what nothing but a look at the others tells.
func (t *Table) sweep() {
	t.created = 0
	for _, p := range t.procs {
		switch {
		case !t.alive(p):
			t.remove(p)
		case p.execs.some():
			p.settleUnheard()
		}
	}
}

// remove forgets a record. Whoever still holds it can finish a read of its memory: the file is closed by the last
// user. Marks set on it later go to the record that replaces it.
func (t *Table) remove(p *Process) {
	if p.gone {
		return
	}
	p.gone = true
	p.parent, p.kept = nil, keptSnapshot{} // a chain of dead parents would otherwise grow with every generation
	t.closeFD(p.pidfd)
	p.pidfd = -1
	t.dropThreads(p)
	p.dropMemory()
	p.dropRulesets()
	delete(t.procs, p.pid)
	delete(t.threads, p.pid)
}

// pinned reports whether the record knows what could not be found out again.
func (p *Process) pinned() bool {
	return p.execs.some() || p.chdirs.some() || p.mem != nil || len(p.rulesets) > 0 || p.confined != nil
}
