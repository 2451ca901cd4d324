package launch

/*
#include "launch.h"
*/
import "C"

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// siKernel is si_code of a signal that the kernel sent, the terminal's driver
// among it (sigaction(2)).
const siKernel = 0x80

// forwarded lists the signals that are passed on: all but those that cannot be
// caught, that report faults of this process itself (faults.c), or that the Go
// runtime, the C library and this program use for themselves (SIGURG, 32 to 34,
// SIGPROF).
func forwarded() []C.int {
	list := []unix.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTERM, unix.SIGSTKFLT,
		unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGXCPU, unix.SIGXFSZ, unix.SIGVTALRM,
		unix.SIGWINCH, unix.SIGIO, unix.SIGPWR,
	}
	var out []C.int
	for _, s := range list {
		out = append(out, C.int(s))
	}
	for rt := 35; rt <= 64; rt++ {
		out = append(out, C.int(rt))
	}
	return out
}

// Signals catches the signals that are meant for the workload.
type Signals struct {
	pipe   *os.File
	target *os.File // pidfd; nil until Target
}

// received is a signal that reached the tracer.
type received struct {
	signo unix.Signal
	code  int32
	pid   int32 // the sender, where code says that there is one
}

// WatchSignals begins to catch them. As process 1 it also makes the tracer deaf to
// faults that others send: no signal from inside its pid namespace ends it. Signals that were ignored when the program
// started are ignored in the workload until it says otherwise. Handlers are installed in C,
// for os/signal does not tell who sent a signal: one from the terminal's driver
// goes to the whole foreground group, the workload included, and must not be
// passed on a second time.
//
// Precondition: called at most once in a process; there is no way back.
func WatchSignals() (*Signals, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("launch: making the signal pipe: %w", err)
	}
	if e := C.sidearmor_guard_faults(); e != 0 {
		return nil, fmt.Errorf("launch: guarding against signals: %w", unix.Errno(-e))
	}
	list := forwarded()
	if e := C.sidearmor_watch(C.int(p[1]), &list[0], C.int(len(list))); e != 0 {
		return nil, fmt.Errorf("launch: catching signals: %w", unix.Errno(-e))
	}
	return &Signals{pipe: os.NewFile(uintptr(p[0]), "signals")}, nil
}

// Target says which process gets the signals. It must be called before anybody
// waits for the process, and so takes its place away.
func (s *Signals) Target(pid int) error {
	// By a descriptor: the number may be another process's when a signal comes.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("launch: finding the workload: %w", err)
	}
	s.target = os.NewFile(uintptr(fd), "workload")
	return nil
}

// Forward passes signals on to the target. It returns nil when ctx ends, and when a
// signal comes that ends a process and the target is no more.
func (s *Signals) Forward(ctx context.Context) error {
	defer s.target.Close()
	stop := context.AfterFunc(ctx, func() { s.pipe.Close() })
	defer stop()
	for {
		sig, err := s.next()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
				return nil
			}
			return fmt.Errorf("launch: reading the signal pipe: %w", err)
		}
		if !wanted(sig) {
			continue
		}
		switch err := unix.PidfdSendSignal(int(s.target.Fd()), sig.signo, nil, 0); {
		case err == nil:
		case err == unix.ESRCH:
			if ends(sig.signo) && C.sidearmor_ignored(C.int(sig.signo)) == 0 {
				return nil
			}
		default:
			return fmt.Errorf("launch: passing on signal %d: %w", sig.signo, err)
		}
	}
}

// ends says whether a signal ends a process that does not care for it (signal(7)).
func ends(s unix.Signal) bool {
	switch s {
	case unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGWINCH:
		return false
	}
	return true
}

func (s *Signals) next() (received, error) {
	var b [12]byte
	if _, err := io.ReadFull(s.pipe, b[:]); err != nil {
		return received{}, err
	}
	at := func(i int) int32 { return int32(binary.NativeEndian.Uint32(b[i:])) }
	return received{unix.Signal(at(0)), at(4), at(8)}, nil
}

// wanted says whether a signal is meant for the workload and has not reached it
// already.
func wanted(s received) bool {
	if s.code == siKernel {
		// Terminal signals go to the foreground group. A hang-up goes to the
		// session's leader alone.
		return s.signo == unix.SIGHUP && isSessionLeader()
	}
	if int(s.pid) == os.Getpid() {
		return false // the kernel says so of limits that the tracer itself has reached
	}
	// A process of the workload that signals its parent, or the group it shares
	// with the tracer, does not mean the workload's first process; only PID 1
	// stands for it.
	return os.Getpid() == 1 || s.pid <= 0 || !descends(int(s.pid), os.Getpid())
}

func isSessionLeader() bool {
	sid, err := unix.Getsid(0)
	return err == nil && sid == os.Getpid()
}

// descends follows parents from pid up to ancestor, no further than a tree can
// sensibly be deep.
func descends(pid, ancestor int) bool {
	for range 64 {
		if pid == ancestor {
			return true
		}
		if pid <= 1 {
			return false
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return false
		}
		// "pid (comm) state ppid": comm may hold anything, ")" too.
		_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
		fields := strings.Fields(rest)
		if !ok || len(fields) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			return false
		}
	}
	return false
}
