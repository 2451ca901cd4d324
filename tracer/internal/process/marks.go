package process

import "slices"

// pending lists the threads whose call of some kind was let through and may not have taken effect yet.
type pending struct {
	tids     []int
	overflow bool // more than fit: nothing is known any more
}

const maxPending = 16

func (q *pending) some() bool { return len(q.tids) > 0 || q.overflow }

func (q *pending) add(tid int) {
	switch {
	case slices.Contains(q.tids, tid):
	case len(q.tids) >= maxPending:
		q.overflow = true
	default:
		q.tids = append(q.tids, tid)
	}
}

func (q *pending) clear() { q.tids, q.overflow = q.tids[:0], false }

func (q *pending) drop(tid int) {
	q.tids = slices.DeleteFunc(q.tids, func(t int) bool { return t == tid })
}

// finish drops the calls that are certainly over when the thread tid of the process pid makes its next call.
func (q *pending) finish(pid, tid int) {
	q.tids = slices.DeleteFunc(q.tids, func(t int) bool {
		return t == tid || (t != pid && !threadOf(pid, t))
	})
}

// MarkExec says that an execve of the thread tid is let through. It must be called before the kernel is answered.
//
// The exec takes effect some time after the answer, or never; meanwhile other threads of the old image go on calling.
// The rule: from the mark on, exe, arguments and name are read anew whenever they are asked for, which is right for
// either image because a thread that is held by the kernel cannot be the one inside execve and the kernel switches
// images only when no other thread is left. They are kept again once the exec is over, and it is over when
//   - the thread that made it calls again: a thread makes one call at a time; or
//   - that thread is gone, unless it was the leader: a successful exec gives the caller the leader's number; or
//   - the stack begins elsewhere than before: the new image runs. This ends the wait when the leader made the exec
//     and only later threads of the new image call. Where address randomisation is off it says nothing, and facts are
//     read anew until one of the others holds. Of a program that makes no held call a sweep of the table finds it out.
//
// An exec that failed ends in the same way and costs one more reading.
func (p *Process) MarkExec(tid int) {
	st, _ := p.loadStat() // an unknown start of the stack is 0
	p.mark(func(q *Process) {
		if !q.execs.some() {
			q.stack = st.startStack
		}
		q.execs.add(tid)
		q.gen++
	})
}

// MarkCredentials says that a call of the set*id family or capset is let through. Credentials belong to threads, and
// a thread's are asked for only while that thread is held in a later call, so that the call is over by then.
func (p *Process) MarkCredentials() {
	p.mark(func(q *Process) {
		q.credGen++
		q.table.ids.moved = true
	})
}

// MarkCwd says that a chdir or fchdir of the thread tid is let through. The name of the working directory is read
// anew until that thread calls again or is gone, by the same reasoning as for MarkExec.
func (p *Process) MarkCwd(tid int) {
	p.mark(func(q *Process) {
		q.chdirs.add(tid)
		q.gen++
	})
}

// MarkRoot says that a chroot is let through, or any other call that moves a root directory or changes namespaces. From then on the root
// of every process is compared at every use: processes that were cloned with CLONE_FS share it, the table does not
// know which, and a stale root would make the tracer judge another file than the kernel opens.
func (p *Process) MarkRoot() {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rootsMoved = true
	p.root, p.ownUserNS = nil, false
}

// mark applies f to the record and, when it was evicted meanwhile, to the one that replaced it. Without one it goes
// back into the table: a mark that is lost would leave stale facts for ever.
func (p *Process) mark(f func(*Process)) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	f(p)
	switch current := t.procs[p.pid]; {
	case current == p:
	case current != nil:
		f(current)
	case p.start != 0: // its pidfd is closed; the start time tells from now on
		p.gone = false
		t.procs[p.pid] = p
	default:
		if st, err := t.readStat(p.pid); err == nil {
			p.start, p.gone = st.start, false
			t.procs[p.pid] = p
		}
	}
}

// settle draws the conclusions from a call by the thread tid.
func (p *Process) settle(tid int) {
	if p.chdirs.some() {
		p.chdirs.finish(p.pid, tid)
		p.cwd = nil
		p.gen++
	}
	if p.execs.some() {
		p.settleExec(tid)
	}
}

// settleByStat looks for what /proc tells when the threads do not.
func (p *Process) settleByStat() {
	st, err := p.table.readStat(p.pid)
	if err != nil {
		return
	}
	if st.state == 'Z' { // a leader that has exited is not inside execve, but keeps its number
		p.execs.drop(p.pid)
	}
	if p.stack != 0 && st.startStack != 0 && st.startStack != p.stack {
		p.execs.clear()
	}
}

// settleUnheard is for execs of which no call tells. A program that makes no held call would otherwise keep its record in
// the table for as long as it lives.
func (p *Process) settleUnheard() {
	if p.settleByStat(); !p.execs.some() {
		p.forgetImage()
	}
}

func (p *Process) settleExec(tid int) {
	p.execs.finish(p.pid, tid)
	if p.execs.some() {
		p.settleByStat()
	}
	p.forgetImage()
}

// forgetImage drops what an exec may have changed.
func (p *Process) forgetImage() {
	p.stat, p.exe, p.args, p.line, p.dirs, p.kept = nil, nil, nil, nil, nil, keptSnapshot{}
	p.gen++
	p.credGen++ // an exec drops or gains capabilities
	p.noVMReadv = false
	p.dropRulesets()
	p.memSuspect = p.mem != nil
}
