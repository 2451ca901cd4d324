package supervise

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/interrupt"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"github.com/sidearmor/sidearmor/tracer/internal/thread"
)

// What a process forbids itself by Landlock (landlock(7)) must hold for what is
// opened in its place. A thread of the tracer's enters a domain with the same
// rules, and opens for the processes in it: the one that restricted itself, and
// those that descend from it. Where one of these restricts itself further, a thread
// that begins in its domain does the same.

// domain is the thread that is in a Landlock domain.
type domain struct {
	outer    *domain // that it was entered from, nil for none
	work     chan func()
	standIn  *process.StandIn
	since    uint64 // clock ticks since boot: processes that are older are not in it by descent
	mu       sync.Mutex
	programs map[string]bool // that processes in it run
}

// domains are those that processes of the workload have entered.
type domains struct {
	some    atomic.Bool
	mu      sync.Mutex
	all     []*domain
	running sync.WaitGroup
}

const (
	// maxDomains bounds the threads.
	maxDomains = 256
	// maxAncestors bounds how far back it is looked for.
	maxAncestors = 64
	maxPrograms  = 256 // that are remembered of a domain
	// maxRulesetAttr is the longest attribute that the kernel takes.
	maxRulesetAttr = 4096
)

// createRuleset answers landlock_create_ruleset: the ruleset is made here and
// installed, so that the tracer has it as well.
func (w *worker) createRuleset(c *call) engine.Answer {
	size, flags := c.Args[1], c.Args[2]
	if flags != 0 || size == 0 || size > maxRulesetAttr || !w.mayActFor(c) {
		return engine.Continue() // a question for the version, or one that fails
	}
	attr := make([]byte, size)
	if err := c.process.ReadMemory(c.TID, c.Args[0], attr); err != nil {
		return w.unknown(c, err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr[0])), uintptr(size), 0)
	if errno != 0 {
		return engine.Fail(errno)
	}
	ours, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		unix.Close(int(fd))
		return engine.Fail(unix.EMFILE)
	}
	c.ruleset = ours
	return engine.Install(int(fd), true)
}

// keepRuleset ends createRuleset.
func (w *worker) keepRuleset(c *call, o engine.Outcome) {
	if o.Sent && o.Known && o.Errno == 0 {
		c.process.KeepRuleset(int(o.Result), c.ruleset)
		return
	}
	unix.Close(c.ruleset)
}

// restrictSelf answers landlock_restrict_self.
func (w *worker) restrictSelf(c *call) engine.Answer {
	if !w.mayActFor(c) || int32(c.Args[0]) < 0 {
		return engine.Continue() // without a ruleset it restricts nothing
	}
	allowed, err := w.mayRestrict(c)
	if err != nil {
		return w.unknown(c, err)
	}
	if !allowed {
		return engine.Continue() // it fails with EPERM
	}
	outer, err := w.domainOf(c)
	if err != nil {
		return w.unknown(c, err)
	}
	ruleset, err := c.process.Ruleset(int(int32(c.Args[0])))
	if err != nil {
		return engine.Fail(unix.EBADF)
	}
	defer unix.Close(ruleset)
	_ = c.Hold.MayWait() // where it may not, the others wait for the domain's thread as well
	d, err := w.enter(outer, ruleset, c.Args[1])
	if err != nil {
		if e, ok := err.(unix.Errno); ok { //nolint:errorlint // the kernel's own answer, not wrapped
			return engine.Fail(e)
		}
		w.Log.Error("a Landlock domain could not be followed", "error", err)
		return engine.Fail(unix.E2BIG)
	}
	d.take(c.process)
	return engine.Continue()
}

// mayActFor says whether a rule could deny what is then done in the place of the
// process, now or later: opening files, and connecting.
func (w *worker) mayActFor(c *call) bool {
	const carried = rules.File | rules.Network | rules.NetworkSend
	return c.rules.CanDeny(carried) || w.Later&carried != 0
}

// take notes that a process is in the domain.
func (d *domain) take(p *process.Process) {
	p.Confine(d)
	if name, err := p.Exe(); err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.programs) < maxPrograms {
			d.programs[name] = true
		}
	}
}

func (d *domain) runs(program string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.programs[program]
}

// mayRestrict says whether the kernel lets the caller restrict itself.
func (w *worker) mayRestrict(c *call) (bool, error) {
	cred, err := c.process.Credentials(c.TID)
	if err != nil || cred.CapEff&(1<<unix.CAP_SYS_ADMIN) != 0 {
		return err == nil, err
	}
	return c.process.NoNewPrivs(c.TID)
}

// enter makes a thread that restricts itself, within the outer domain where there is
// one.
func (s *Supervisor) enter(outer *domain, ruleset int, flags uint64) (*domain, error) {
	d := &domain{outer: outer, work: make(chan func()), since: nextTick(), programs: map[string]bool{}}
	s.domains.mu.Lock()
	defer s.domains.mu.Unlock()
	if len(s.domains.all) >= maxDomains {
		return nil, fmt.Errorf("there are %d Landlock domains already", maxDomains)
	}
	entered := make(chan error, 1)
	begin := func() { d.run(s.Processes, ruleset, flags, entered) }
	if err := s.enterFrom(outer, begin); err != nil {
		return nil, err
	}
	if err := <-entered; err != nil {
		return nil, err
	}
	s.domains.all = append(s.domains.all, d)
	s.domains.some.Store(true)
	return d, nil
}

// nextTick waits for the next clock tick and returns it: what the caller has forked by
// now is older.
func nextTick() uint64 {
	now := process.Ticks()
	for process.Ticks() == now {
		time.Sleep(time.Millisecond)
	}
	return now + 1
}

// enterFrom runs f on a new thread that is in the outer domain, where there is one.
func (s *Supervisor) enterFrom(outer *domain, f func()) (err error) {
	s.domains.running.Add(1)
	begin := func() {
		defer s.domains.running.Done()
		f()
	}
	if outer == nil {
		err = s.Threads.Start(begin)
	} else {
		// A thread has the credentials of the one that makes it, and with them its
		// domain.
		outer.do(func() { err = thread.Spawn(begin) })
	}
	if err != nil {
		s.domains.running.Done()
		return fmt.Errorf("starting a thread: %w", err)
	}
	return nil
}

// run carries out work within the domain. The thread ends with it.
func (d *domain) run(table *process.Table, ruleset int, flags uint64, entered chan<- error) {
	err := d.restrict(table, ruleset, flags)
	entered <- err
	if err != nil {
		return
	}
	for f := range d.work {
		f()
	}
}

// restrict puts this thread into the domain.
func (d *domain) restrict(table *process.Table, ruleset int, flags uint64) (err error) {
	if err := interrupt.Block(); err != nil {
		return err
	}
	if d.standIn, err = table.NewStandIn(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(ruleset), uintptr(flags), 0); errno != 0 {
		return errno
	}
	return nil
}

// do has the thread run f, and waits for it.
func (d *domain) do(f func()) {
	done := make(chan struct{})
	d.work <- func() {
		defer close(done)
		f()
	}
	<-done
}

// as has the thread run f with the rights of the caller, and waits for it.
func (d *domain) as(c *call, f func() error) (err error) {
	d.do(func() {
		if err = d.standIn.Become(c.process, c.TID); err == nil {
			err = f()
		}
	})
	return err
}

// placeInDomain finds out at each call of a process, while there are domains,
// whether it is in one: later its parent may have gone.
func (w *worker) placeInDomain(c *call) {
	if w.domains.some.Load() {
		_, _ = w.domainOf(c) // what cannot be known is dealt with where it matters
	}
}

// domainOf finds the domain that the caller is in, nil for none. A process is in
// that of its parent, unless it is older than the domain.
func (w *worker) domainOf(c *call) (*domain, error) {
	if !w.domains.some.Load() {
		return nil, nil
	}
	w.domains.mu.Lock()
	all := slices.Clone(w.domains.all)
	w.domains.mu.Unlock()
	start, err := c.process.StartTime()
	if err != nil {
		return nil, err
	}
	p := c.process
	for range maxAncestors {
		if d, ok := p.Confinement().(*domain); ok {
			for p != c.process && start < d.since {
				if d = d.outer; d == nil {
					return nil, nil
				}
			}
			d.take(c.process)
			return d, nil
		}
		if begun, err := p.StartTime(); err != nil || begun < all[0].since {
			return nil, err // and so are all before it
		}
		parent, err := p.Parent()
		if err != nil {
			return nil, err
		}
		if parent == nil || w.Processes.IsAbove(parent) {
			break
		}
		p = parent
	}
	return orphansDomain(all, p, c.process), nil
}

// orphansDomain finds the domain of a process that descends from the orphan p: the
// one who forked it has gone. While p runs the image that it was forked with, that
// is in a domain if a program is in it that p could have been forked by.
func orphansDomain(all []*domain, p, caller *process.Process) *domain {
	program, err := p.Exe()
	if forked, forkedErr := p.Forked(); err != nil || forkedErr != nil || !forked {
		return nil
	}
	for _, d := range slices.Backward(all) { // an inner one forbids more
		if d.runs(program) {
			d.take(p)
			d.take(caller)
			return d
		}
	}
	return nil
}

// leaveDomains ends the threads.
func (s *Supervisor) leaveDomains() {
	s.domains.mu.Lock()
	defer s.domains.mu.Unlock()
	for _, d := range s.domains.all {
		close(d.work)
	}
	s.domains.all = nil
	s.domains.running.Wait()
}
