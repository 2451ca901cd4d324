package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// injection makes calls in a thread that has stopped at the beginning of a held call,
// which is not made. The service waits for each of them, so none may block.
type injection struct {
	service *service
	tid     int
	regs    registers // as the held call began
	begun   bool      // a call has been made: the thread has stopped at its end
	mask    uint64    // which signals the thread does not take

	process   int  // the leader of the thread's process
	ownMemory bool // the process has memory of its own, which is kept for the next time
	dumpable  bool // the process has been made dumpable

	signal  unix.Signal // came meanwhile and cannot be blocked
	stopped bool        // by job control
}

// refusal is the error that an injected call failed with.
type refusal unix.Errno

func (r refusal) Error() string { return unix.Errno(r).Error() }

// errGone says that the thread has ended.
var errGone = errors.New("the thread has ended")

// begin keeps signals from the thread.
func (s *service) begin(tid int, r *registers, waited bool) (*injection, error) {
	in := &injection{service: s, tid: tid, regs: *r, begun: waited}
	var err error
	in.mask, err = signalMask(tid, ^uint64(0))
	return in, err
}

// call makes a call and gives what it returns.
func (in *injection) call(nr int, args ...uint64) (int64, error) {
	var all [6]uint64
	copy(all[:], args)
	r, ends := in.regs, 1
	change := r.become
	if in.begun {
		change, ends = r.again, 2
	}
	if err := change(in.tid, nr, all); err != nil {
		return 0, err
	}
	in.begun = true
	for ends > 0 {
		end, err := in.step()
		if err != nil {
			return 0, err
		}
		if end {
			ends--
		}
	}
	if err := r.get(in.tid); err != nil {
		return 0, err
	}
	const maxErrno = 4095
	if value := r.result(); value < 0 && value >= -maxErrno {
		return 0, refusal(-value)
	}
	return r.result(), nil
}

// step lets the thread go on to its next stop, and reports whether that is the beginning
// or the end of a call. At the filter, where the call is held, it is neither.
func (in *injection) step() (bool, error) {
	at, err := in.next()
	return at == atCall, err
}

// Where a thread stops.
const (
	elsewhere = iota
	atCall    // the beginning or the end of a call
	atFilter  // where the call is held
)

// next lets the thread go on to its next stop.
func (in *injection) next() (where int, err error) {
	if err := request(unix.PTRACE_SYSCALL, in.tid, 0, 0); err != nil {
		return elsewhere, err
	}
	tid, status, err := in.service.Wait(in.tid, 0)
	for errors.Is(err, unix.EINTR) {
		tid, status, err = in.service.Wait(in.tid, 0)
	}
	if err != nil {
		return elsewhere, err
	}
	switch event, sig := int(uint32(status)>>16), status.StopSignal(); {
	case !status.Stopped() || event == unix.PTRACE_EVENT_EXEC:
		in.service.stop(tid, status)
		return elsewhere, errGone
	case event == 0 && sig == syscallStop:
		return atCall, nil
	case event == unix.PTRACE_EVENT_SECCOMP:
		return atFilter, nil
	case event == eventStop:
		in.stopped = true
	case event == 0:
		in.signal = sig // SIGSTOP: no other comes through
	}
	return elsewhere, nil
}

// rewind has the thread begin the held call again, and stop as it had.
func (in *injection) rewind() error {
	if in.begun {
		r := in.regs
		if err := r.again(in.tid, in.regs.number(), in.regs.args()); err != nil {
			return err
		}
		for at := elsewhere; at != atFilter; {
			var err error
			if at, err = in.next(); err != nil {
				return err
			}
		}
	}
	return in.settle()
}

// settle lets signals through again, and makes up for those that came meanwhile.
func (in *injection) settle() error {
	if _, err := signalMask(in.tid, in.mask); err != nil {
		return err
	}
	if in.stopped {
		_ = request(unix.PTRACE_INTERRUPT, in.tid, 0, 0) // it tells again that it is to stop
	}
	if in.signal != 0 {
		_ = unix.Tgkill(in.tid, in.tid, in.signal)
	}
	return nil
}

// end lets the thread go on with value as the held call's.
func (in *injection) end(value int64) bool {
	r := in.regs
	if !in.begun {
		if r.skip(in.tid, value) != nil {
			return false
		}
	} else if r.end(in.tid, value) != nil {
		return false
	}
	return in.settle() == nil && in.service.resume(in.tid, 0)
}

// mayInject says whether calls can be injected: filters of the workload's own could kill
// the process for them.
func (in *injection) mayInject() error {
	st, err := readStatus(in.tid)
	if err != nil {
		return err
	}
	in.process = st.leader
	if st.filters > in.service.filters {
		return errFiltered
	}
	return nil
}

// errFiltered says that the thread is under a filter of its own.
var errFiltered = errors.New("the process has put itself under a seccomp filter: nothing can be exchanged with it")

const pageSize = 4096

// memory gives a page of the thread's memory. It is mapped once in each program. In a
// process that may share its memory with another, such as a child of vfork(2), it is
// mapped for the time being.
func (in *injection) memory() (uint64, error) {
	page, own := in.service.scratch[in.process]
	in.ownMemory = own
	if page != 0 {
		var b [word]byte
		if peek(in.tid, page, b[:]) == nil {
			return page, nil
		}
	}
	at, err := in.call(unix.SYS_MMAP, 0, pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, ^uint64(0), 0)
	if err != nil {
		return 0, err
	}
	if own {
		in.service.scratch[in.process] = uint64(at)
	}
	return uint64(at), nil
}

// write writes to the page. The kernel refuses that in a process which has changed its
// user, to a tracer without CAP_SYS_PTRACE, unless the process is dumpable.
func (in *injection) write(page uint64, b []byte) error {
	err := poke(in.tid, page, b)
	if errors.Is(err, unix.EIO) && !in.dumpable {
		if _, err := in.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1); err != nil {
			return err
		}
		in.dumpable = true
		err = poke(in.tid, page, b)
	}
	if err != nil {
		return fmt.Errorf("writing to the workload's memory: %w", err)
	}
	return nil
}

// putBack undoes what was done for the calls.
func (in *injection) putBack(page uint64) {
	if page != 0 && !in.ownMemory {
		_, _ = in.call(unix.SYS_MUNMAP, page, pageSize)
	}
	if in.dumpable {
		_, _ = in.call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 0)
	}
}
