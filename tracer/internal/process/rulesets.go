package process

import "golang.org/x/sys/unix"

// A Landlock ruleset that is made in the place of a process is kept, to be used by the tracer as the process uses it. It
// is known by the descriptor that the process was given.

// maxRulesets bounds those of one process. Programs make one.
const maxRulesets = 16

// KeepRuleset says that the process has the ruleset ours, a descriptor of the tracer's that the record takes over, as fd.
func (p *Process) KeepRuleset(fd, ours int) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := p.rulesets[fd]; ok {
		unix.Close(old)
	}
	if p.gone || len(p.rulesets) >= maxRulesets {
		unix.Close(ours)
		delete(p.rulesets, fd)
		return
	}
	if p.rulesets == nil {
		p.rulesets = map[int]int{}
	}
	p.rulesets[fd] = ours
}

// Ruleset gives a descriptor of the tracer's, which the caller closes, for the ruleset that the process, or the one that
// forked it, was given as fd. The error is EBADF when there is none.
func (p *Process) Ruleset(fd int) (int, error) {
	p.waitForInstalls()
	if n, err := p.ruleset(fd); err != unix.EBADF {
		return n, err
	}
	if forked, err := p.Forked(); err != nil || !forked {
		return -1, unix.EBADF
	}
	parent, err := p.Parent()
	if err != nil || parent == nil {
		return -1, unix.EBADF
	}
	parent.waitForInstalls()
	return parent.ruleset(fd)
}

func (p *Process) ruleset(fd int) (int, error) {
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	ours, ok := p.rulesets[fd]
	if !ok {
		return -1, unix.EBADF
	}
	return unix.FcntlInt(uintptr(ours), unix.F_DUPFD_CLOEXEC, 0)
}

// dropRulesets forgets them: an exec closes their descriptors. The table's lock is held.
func (p *Process) dropRulesets() {
	for _, fd := range p.rulesets {
		unix.Close(fd)
	}
	p.rulesets = nil
}

// Confine notes how the process has confined itself. The record is kept for as long as the process lives.
func (p *Process) Confine(by any) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.confined = by
}

// Confinement is what Confine noted, nil for nothing.
func (p *Process) Confinement() any {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return p.confined
}

// Ticks is the present time as StartTime tells it.
func Ticks() uint64 {
	const hertz = 100 // USER_HZ on amd64 and arm64
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0
	}
	return uint64(now.Sec)*hertz + uint64(now.Nsec)*hertz/1e9
}
