// Package engine says what holding a system call of the workload means: the
// call, the answer, and who gives it. How the kernel is made to hold calls is
// the business of the packages below it.
package engine

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Call is one system call of the workload, held by the kernel until it is
// answered. It is valid only until Handle returns.
type Call struct {
	TID  int // the calling thread, in the tracer's pid namespace
	Spec *syscalls.Spec
	Args [6]uint64

	// StillHeld asks the kernel whether the call still waits for its answer.
	// What was read from the caller's memory or from its /proc directory is
	// known to be the caller's only if this says true afterwards: the thread
	// may have died and its id may have been given to another.
	StillHeld func() bool
}

// Answer is what happens to a held call. The zero Answer lets it run.
type Answer struct {
	Errno unix.Errno // not 0: the call fails with this error and is not carried out

	// File is an open file of the tracer's that the call returns to the caller
	// in place of one of its own making, as its lowest free descriptor. The
	// engine closes the tracer's copy.
	File        *File
	CloseOnExec bool // of the caller's descriptor

	// Later finds the answer where that takes as long as others please. It runs
	// in a goroutine of its own, must return soon after stillHeld says false,
	// and must not give an answer with Later.
	Later func(stillHeld func() bool) Answer
}

// File is a descriptor of the tracer's.
type File struct{ FD int }

// Handler answers calls. Handle must not wait for the network or the workload:
// the calling thread, and every other thread that makes a held call, waits for
// it. Handle may be called by several goroutines at once; each is locked to its
// thread.
type Handler interface {
	Handle(c *Call) Answer
}

// Engine holds calls and hands them to a handler.
type Engine interface {
	// Run serves the handler until the last process under the filter is gone
	// or ctx ends, and returns nil then.
	Run(ctx context.Context, h Handler) error
	Name() string
}
