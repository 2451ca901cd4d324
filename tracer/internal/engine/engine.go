// Package engine says what holding a system call of the workload means: the
// call, its answer, what became of it, and who gives the answer. How the kernel
// is made to hold calls is the business of the packages below it.
package engine

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Call is one system call of the workload, held by the kernel until it is
// answered. It is valid until Handle returns.
type Call struct {
	TID  int // the calling thread, in the tracer's pid namespace
	Spec *syscalls.Spec
	Args [6]uint64

	Hold Hold // what the engine knows of the caller while it waits
}

// Hold is the engine's side of one held call.
type Hold interface {
	// Valid asks the kernel whether the call still waits for its answer. What was
	// read from the caller's memory or from its directory in procfs is known to be
	// the caller's only if this says true afterwards: the thread may have died and
	// its number may have been given to another. Doubt is false.
	Valid() bool
	// MayWait says that the handler is about to do what can take as long as others
	// please, such as opening a named pipe. Other calls are answered meanwhile. A
	// system call that blocks then fails with EINTR when the caller has died or has
	// a signal to handle; Interrupted says whether it was for one of these.
	//
	// It reports false on a thread that cannot be spared. The answer is Defer then,
	// before anything was done.
	MayWait() bool
	// Interrupted says that the caller has a signal to handle or is gone: Restart
	// is the answer then.
	Interrupted() bool
	// Lend gives the tracer a descriptor of its own for what the caller has under fd, by
	// having the caller send it: where the kernel lets nobody take it. It may be what
	// another thread of the caller's has put there meanwhile: what is asked about must be
	// what has come. The error is errors.ErrUnsupported where the engine cannot.
	Lend(fd int) (int, error)
}

// Answer is what happens to a held call. It is made by Continue, Fail, Return,
// Install, Restart or Defer. The zero Answer fails the call with EACCES: nothing passes
// by omission.
type Answer struct {
	kind        kind
	errno       unix.Errno
	value       int64
	fd          int
	closeOnExec bool
	follow      bool
}

type kind uint8

const (
	refuse kind = iota
	proceed
	fail
	give
	install
	restart
	elsewhere
)

// Continue lets the call run.
func Continue() Answer { return Answer{kind: proceed} }

// Fail fails the call with e; it is not carried out. Fail(0) is the zero Answer.
func Fail(e unix.Errno) Answer {
	if e == 0 {
		return Answer{}
	}
	return Answer{kind: fail, errno: e}
}

// Return gives the caller v, as if the call had been carried out with success.
func Return(v int64) Answer { return Answer{kind: give, value: v} }

// Install gives the caller the open file fd of the tracer's as its lowest free
// descriptor, which the call returns. The engine closes fd before the caller
// runs, so that no copy of it outlives the caller's. Where the caller has no
// free descriptor the call fails with EMFILE.
func Install(fd int, closeOnExec bool) Answer {
	return Answer{kind: install, fd: fd, closeOnExec: closeOnExec}
}

// Restart lets the caller handle its signals and then, where a handler is to
// restart calls or there is none, make the call again; else it fails with EINTR.
// Precondition: Hold.Interrupted.
func Restart() Answer { return Answer{kind: restart} }

// Defer has the handler asked about the call again, on a thread that may wait. Where
// there is none, the call fails with ENOMEM.
func Defer() Answer { return Answer{kind: elsewhere} }

// Follow has an engine with Abilities.Follow stop the caller again where its call
// ends, before it goes on: the program that comes of an exec has run nothing then. done
// is called there, with Outcome.Held. Other engines take no notice.
func (a Answer) Follow() Answer {
	a.follow = true
	return a
}

// Continues says whether the answer lets the call run.
func (a Answer) Continues() bool { return a.kind == proceed }

// Follows says whether the end of the call is waited for.
func (a Answer) Follows() bool { return a.follow && a.kind == proceed }

// Defers says whether the answer is Defer.
func (a Answer) Defers() bool { return a.kind == elsewhere }

// Restarts says whether the answer is Restart.
func (a Answer) Restarts() bool { return a.kind == restart }

// Errno is the error that the answer fails the call with, 0 for none.
func (a Answer) Errno() unix.Errno {
	switch a.kind {
	case refuse:
		return unix.EACCES
	case elsewhere:
		return unix.ENOMEM
	case fail:
		return a.errno
	case restart:
		return unix.EINTR
	}
	return 0
}

// Value is what the answer makes the call return.
func (a Answer) Value() int64 { return a.value }

// File is the descriptor to install, if there is one.
func (a Answer) File() (fd int, closeOnExec, ok bool) {
	return a.fd, a.closeOnExec, a.kind == install
}

// Outcome is what became of a call.
type Outcome struct {
	// Sent says that the caller got the answer. If not, it had died or was
	// interrupted before, and the call did not happen.
	Sent bool
	// Known says that Result and Errno are what the call gave its caller; they are
	// not known of a call that was let run.
	Known  bool
	Result int64
	Errno  unix.Errno
	// Held says that the caller has not gone on: see Answer.Follow.
	Held bool
}

// Handler makes the workers that answer calls.
type Handler interface {
	// Worker is called on each OS thread that is going to answer calls. The thread
	// belongs to the worker: it may change the thread's credentials.
	Worker() Worker
}

// Worker answers calls, one at a time, on one OS thread, which takes no signals.
type Worker interface {
	// Handle answers at once: the caller, and every other thread that makes a held
	// call, waits for it. What takes longer is announced by Hold.MayWait. done, when
	// not nil, runs after the answer was given: what is to be told of the call.
	Handle(c *Call) (a Answer, done func(Outcome))
}

// Engine holds calls and hands them to a handler.
type Engine interface {
	// Run serves the handler until the last process under the filter is gone or ctx
	// ends, and returns nil then. No error of a single call ends it.
	Run(ctx context.Context, h Handler) error
	Name() string
	Can() Abilities
}

// Abilities are what an engine can do on this kernel.
type Abilities struct {
	Install bool // Answer Install works
	Follow  bool // Answer.Follow works
	// OneThread says that all calls wait for the one that is being answered, however
	// long, unless it is announced by Hold.MayWait.
	OneThread bool
	Spare     int  // descriptors that Install needs for a moment, beside the one that it gives
	Atomic    bool // a signal cannot come between a call's receipt and its answer
}
