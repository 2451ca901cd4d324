package process

import (
	"cmp"
	"slices"
)

// makeRoom keeps the number of records below the bound: the dead go first, then those that were not used for longest.
func (t *Table) makeRoom() {
	if len(t.procs) < max(t.maxProc, t.nextSweep) {
		return
	}
	t.sweep()
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

// sweep removes the records of processes that are gone.
func (t *Table) sweep() {
	t.created = 0
	for _, p := range t.procs {
		if !t.alive(p) {
			t.remove(p)
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
	p.parent = nil // a chain of dead parents would otherwise grow with every generation
	t.closeFD(p.pidfd)
	p.pidfd = -1
	p.dropMemory()
	p.dropRulesets()
	delete(t.procs, p.pid)
	delete(t.threads, p.pid)
}

// pinned reports whether the record knows what could not be found out again.
func (p *Process) pinned() bool {
	return p.execs.some() || p.chdirs.some() || p.mem != nil || len(p.rulesets) > 0 || p.confined != nil
}
