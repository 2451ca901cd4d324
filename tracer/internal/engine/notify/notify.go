// Package notify is the engine that holds calls by seccomp user notification
// (seccomp_unotify(2)). It knows nothing of what the calls mean.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/tracer/internal/engine"
	"github.com/sidearmor/sidearmor/tracer/internal/syscalls"
)

// Requests of seccomp_unotify(2) on the listener (include/uapi/linux/seccomp.h,
// the same numbers on amd64 and arm64).
const (
	ioctlRecv     = 0xc0502100
	ioctlSend     = 0xc0182101
	ioctlIDValid  = 0x40082102
	ioctlAddFD    = 0x40182103
	ioctlSetFlags = 0x40082104

	flagContinue   = 1 // let the call run
	flagAddFDSend  = 2 // Linux 5.14: install the descriptor and return it, in one step
	flagSyncWakeUp = 1 // Linux 6.6: wake the other side on this CPU, it is about to be waited for
)

// notification is struct seccomp_notif, response struct seccomp_notif_resp,
// addition struct seccomp_notif_addfd.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		nr    int32
		arch  uint32
		ip    uint64
		args  [6]uint64
	}
	response struct {
		id    uint64
		val   int64
		errno int32
		flags uint32
	}
	addition struct {
		id         uint64
		flags      uint32
		srcFD      uint32
		newFD      uint32
		newFDFlags uint32
	}
)

const (
	// stuckAfter is how long one call may be handled before others are served
	// beside it: a path on a network file system may take seconds to resolve.
	// A second thread from the start would cost every call a wake-up.
	stuckAfter = 5 * time.Millisecond
	// maxWorkers bounds the threads that stuck calls can occupy.
	maxWorkers = 64
	// maxWaiting bounds the calls that are answered later: a goroutine each.
	maxWaiting = 4096
)

// Engine serves one listener.
type Engine struct {
	listener *os.File
	index    syscalls.Index
	log      *slog.Logger
}

// New makes an engine for a listener, which it does not close.
func New(listener *os.File, specs []syscalls.Spec, log *slog.Logger) *Engine {
	return &Engine{listener: listener, index: syscalls.NewIndex(specs), log: log}
}

// Name is the engine's name on the command line.
func (e *Engine) Name() string { return "notify" }

// Run serves h until no process is left under the filter, or ctx ends. Calls
// that are held when it returns fail with ENOSYS once the listener is closed.
func (e *Engine) Run(ctx context.Context, h engine.Handler) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("notify: making the stop event: %w", err)
	}
	defer unix.Close(wake)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped := make(chan struct{})
	// Every worker sees the event: nobody reads it back.
	context.AfterFunc(ctx, func() {
		defer close(stopped)
		one := [8]byte{1}
		if _, err := unix.Write(wake, one[:]); err != nil {
			e.log.Error("notify: stopping", "error", err)
		}
	})

	// Older kernels have no such flag; they only lose the speed.
	_ = ioctl(e.fd(), ioctlSetFlags, flagSyncWakeUp)

	s := &service{Engine: e, handler: h, wake: wake, cancel: cancel, rouse: make(chan struct{}, 1)}
	s.start()
	s.watch(ctx)
	s.stopping.Store(true)
	s.done.Wait()
	cancel()
	<-stopped
	return s.err
}

func (e *Engine) fd() int { return int(e.listener.Fd()) }

// service is one Run.
type service struct {
	*Engine
	handler engine.Handler
	wake    int // eventfd: stop
	cancel  context.CancelFunc
	done    sync.WaitGroup
	once    sync.Once
	err     error

	receiving sync.Mutex   // held by the one worker that waits for a call
	idle      atomic.Int32 // workers that wait for receiving or for a call
	workers   atomic.Int32
	waiting   atomic.Int32 // calls that are answered later
	stopping  atomic.Bool
	busySince atomic.Int64  // when the newest call was received, UnixNano; 0 while a worker waits for one
	dozing    atomic.Bool   // watch waits for rouse
	rouse     chan struct{} // there are calls again; capacity 1
}

func (s *service) start() {
	s.workers.Add(1)
	s.idle.Add(1)
	s.done.Go(func() {
		// The handler changes this thread's file system uid at times.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer s.workers.Add(-1)
		retired, err := s.serve()
		if !retired {
			s.once.Do(func() { s.err = err })
			s.cancel()
		}
	})
}

// watch starts a further worker whenever all of them are stuck. It looks every
// stuckAfter while there are calls, and sleeps while there are none.
func (s *service) watch(ctx context.Context) {
	const quiet = 200 // looks without a call before it sleeps
	for {
		s.dozing.Store(true)
		select {
		case <-ctx.Done():
			return
		case <-s.rouse:
		}
		tick := time.NewTicker(stuckAfter)
		for unused := 0; unused < quiet && ctx.Err() == nil; {
			now := <-tick.C
			since := s.busySince.Load()
			if since == 0 {
				unused++
				continue
			}
			unused = 0
			if s.idle.Load() == 0 && now.UnixNano()-since > int64(stuckAfter) && s.workers.Load() < maxWorkers {
				s.log.Debug("a call is slow to answer; serving others beside it", "workers", s.workers.Load()+1)
				s.start()
			}
		}
		tick.Stop()
	}
}

// serve receives calls and answers them, until there are no more to come, or
// until another worker waits for them already: one is enough while none is
// stuck, and a call that goes to another thread each time is slower.
func (s *service) serve() (retired bool, err error) {
	fd := s.fd()
	var n notification
	call := engine.Call{StillHeld: func() bool { return ioctlPointer(fd, ioctlIDValid, unsafe.Pointer(&n.id)) == nil }}
	for {
		more, err := s.receive(fd, &n)
		if !more || err != nil {
			return false, err
		}
		var a engine.Answer
		if call.Spec = s.index.Lookup(int(n.nr)); call.Spec != nil && n.pid != 0 {
			call.TID, call.Args = int(n.pid), n.args
			a = s.handler.Handle(&call)
		}
		if a.Later != nil {
			a = s.answerLater(fd, n.id, a.Later)
		}
		if a.Later == nil {
			if err := respond(fd, n.id, a); err != nil {
				return false, err
			}
		}
		if s.idle.Load() > 0 {
			return true, nil
		}
		s.idle.Add(1)
	}
}

// answerLater finds the answer of a call beside the others. Where too many wait
// already, the call fails with EAGAIN.
func (s *service) answerLater(fd int, id uint64, later func(func() bool) engine.Answer) engine.Answer {
	if s.waiting.Add(1) > maxWaiting {
		s.waiting.Add(-1)
		return engine.Answer{Errno: unix.EAGAIN}
	}
	s.done.Go(func() {
		defer s.waiting.Add(-1)
		held := func() bool { return !s.stopping.Load() && ioctlPointer(fd, ioctlIDValid, unsafe.Pointer(&id)) == nil }
		if err := respond(fd, id, later(held)); err != nil {
			s.log.Error("a call stays without its answer", "error", err)
		}
	})
	return engine.Answer{Later: later}
}

// respond answers the call id. A caller that was interrupted or has died needs
// no answer.
func respond(fd int, id uint64, a engine.Answer) error {
	if err := send(fd, id, a); err != nil && err != unix.ENOENT {
		return fmt.Errorf("notify: answering a call: %w", err)
	}
	return nil
}

func send(fd int, id uint64, a engine.Answer) error {
	r := response{id: id}
	switch {
	case a.File != nil:
		defer unix.Close(a.File.FD)
		value, sent, err := install(fd, id, a)
		if sent || err == unix.ENOENT {
			return nil
		}
		if r.val = int64(value); err != nil {
			r.val, r.errno = 0, -int32(err.(unix.Errno)) //nolint:errorlint,forcetypeassert // ioctl returns nothing else
		}
	case a.Errno != 0:
		r.errno = -int32(a.Errno)
	default:
		r.flags = flagContinue
	}
	return ioctlPointer(fd, ioctlSend, unsafe.Pointer(&r))
}

// install gives the caller of the call id a descriptor, and says which; sent
// says that the caller has been answered as well. Kernels before 5.14 cannot do
// both at once: a signal between the two steps leaves the caller a descriptor
// that it does not know of, and makes it call again.
func install(fd int, id uint64, a engine.Answer) (value int, sent bool, err error) {
	add := addition{id: id, flags: flagAddFDSend, srcFD: uint32(a.File.FD)}
	if a.CloseOnExec {
		add.newFDFlags = unix.O_CLOEXEC
	}
	value, err = ioctlValue(fd, ioctlAddFD, unsafe.Pointer(&add))
	if err == unix.EINVAL {
		add.flags = 0
		value, err = ioctlValue(fd, ioctlAddFD, unsafe.Pointer(&add))
		return value, false, err
	}
	return value, err == nil, err
}

// receive waits for the next call. It reports false when none can come any more.
func (s *service) receive(fd int, n *notification) (bool, error) {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	s.busySince.Store(0)
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(s.wake), Events: unix.POLLIN}}
	for {
		// Receiving alone would wait for ever when the last process has gone.
		if _, err := unix.Poll(fds, -1); err == unix.EINTR {
			continue
		} else if err != nil {
			return false, fmt.Errorf("notify: waiting for a call: %w", err)
		}
		switch {
		case fds[1].Revents != 0, fds[0].Revents&(unix.POLLIN|unix.POLLHUP) == unix.POLLHUP:
			return false, nil
		case fds[0].Revents&unix.POLLNVAL != 0:
			return false, fmt.Errorf("notify: waiting for a call: %w", unix.EBADF)
		case fds[0].Revents&unix.POLLIN == 0:
			// POLLERR: a signal came while the kernel waited for the filter's lock
			// (seccomp_notify_poll in kernel/seccomp.c). It says nothing of the filter.
			continue
		}
		*n = notification{} // the kernel insists on zeroes
		switch err := ioctlPointer(fd, ioctlRecv, unsafe.Pointer(n)); err {
		case nil:
			s.idle.Add(-1)
			s.busySince.Store(time.Now().UnixNano())
			if s.dozing.Load() && s.dozing.CompareAndSwap(true, false) {
				s.rouse <- struct{}{} // never blocks: once for each time that watch dozes
			}
			return true, nil
		case unix.EINTR, unix.ENOENT: // ENOENT: the caller died before it could be received
		default:
			return false, fmt.Errorf("notify: receiving a call: %w", err)
		}
	}
}

func ioctl(fd int, request, value uintptr) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, value); e != 0 {
		return e
	}
	return nil
}

func ioctlPointer(fd int, request uintptr, p unsafe.Pointer) error {
	_, err := ioctlValue(fd, request, p)
	return err
}

// ioctlValue returns the request's result, or a unix.Errno.
func ioctlValue(fd int, request uintptr, p unsafe.Pointer) (int, error) {
	value, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(p))
	if e != 0 {
		return 0, e
	}
	return int(value), nil
}
