// Package thread makes OS threads of this program. Where none can be had, because the
// user or the container has as many as it may, that is an error here: the Go runtime
// ends the program then. It knows nothing of what the threads do.
package thread

import (
	"runtime"
	"sync"
)

// Maker makes threads that have the rights which the program began with, whatever
// the calling thread has taken on since.
type Maker struct {
	tasks   chan task
	running sync.WaitGroup
}

type task struct {
	f    func()
	made chan error
}

// NewMaker makes a maker, which is to be closed.
func NewMaker() *Maker {
	m := &Maker{tasks: make(chan task)}
	m.running.Go(m.run)
	return m
}

func (m *Maker) run() {
	runtime.LockOSThread() // nobody else changes the rights of this one
	defer runtime.UnlockOSThread()
	for t := range m.tasks {
		t.made <- Spawn(t.f)
	}
}

// Start runs f on a new OS thread, to which the goroutine is locked: it ends with f.
// The error is EAGAIN where there may be no more threads.
func (m *Maker) Start(f func()) error {
	t := task{f, make(chan error, 1)}
	m.tasks <- t
	return <-t.made
}

// Close ends the maker. What it has started goes on.
func (m *Maker) Close() {
	close(m.tasks)
	m.running.Wait()
}

// idle is how many threads more than processors the runtime may need at a time, for
// goroutines that are in system calls.
const idle = 6

// Reserve has the Go runtime make the threads that it may need later, when there may be
// no more. It keeps those that it has.
func Reserve() {
	n := runtime.GOMAXPROCS(0) + idle
	var all, running sync.WaitGroup
	all.Add(n)
	for range n {
		running.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait() // each on a thread of its own
		})
	}
	running.Wait()
}
