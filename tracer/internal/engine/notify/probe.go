package notify

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Features are what this kernel and this container let the engine do. Each is
// nil where it was done, and says else what came instead; ErrNotTried where
// something before it failed.
type Features struct {
	Filter   error // a filter, with a listener or without
	Listener error // a filter with a listener, Linux 5.0; EBUSY where another program has it
	Continue error // a held call is let run, 5.5
	Install  error // a caller is given a descriptor, 5.9
	OneStep  error // the same and its number returned, in one step, 5.14
	Killable error // only a deadly signal ends the wait of a received call, 5.19
}

// ErrNotTried says that a feature could not be tried.
var ErrNotTried = errors.New("could not be tried")

// probePatience is how long a held call of the probe may take to arrive, in milliseconds.
const probePatience = 5000

// Probe finds the features out by doing: a thread of this process, which ends
// with the probe, comes under a filter and has calls held. noNewPrivs is needed
// without CAP_SYS_ADMIN.
func Probe(noNewPrivs bool) Features {
	f := Features{Continue: ErrNotTried, Install: ErrNotTried, OneStep: ErrNotTried, Killable: ErrNotTried}
	v := &probeVictim{listener: make(chan listener, 1), results: make(chan probeResult)}
	go v.run(noNewPrivs)
	l, ok := <-v.listener
	if !ok {
		f.Listener, f.Filter = v.err, v.filter
		return f
	}
	f.Killable = v.killable
	f.Continue, f.Install, f.OneStep = v.letRun(l), v.install(l, 0), v.install(l, flagAddFDSend)
	unix.Close(int(l)) // calls that are still held fail
	for range v.results {
	}
	return f
}

// probeVictim is the thread whose calls are held.
type probeVictim struct {
	listener chan listener // closed, with err, where there is none
	err      error
	filter   error // a filter without one was refused, too
	killable error
	results  chan probeResult // of its calls
}

type probeResult struct {
	value uintptr
	errno unix.Errno
}

// probeCalls is how many calls the victim makes.
const probeCalls = 3

func (v *probeVictim) run(noNewPrivs bool) {
	runtime.LockOSThread() // for ever: the thread ends with the goroutine, and the filter with it
	defer close(v.results)
	l, err := v.load(noNewPrivs)
	if err != nil {
		v.err = err
		close(v.listener)
		return
	}
	v.listener <- l
	for range probeCalls {
		value, _, errno := unix.Syscall(unix.SYS_PERSONALITY, askPersonality, 0, 0)
		v.results <- probeResult{value, errno}
	}
}

// askPersonality makes personality(2) change nothing. The Go runtime never calls it.
const askPersonality = 0xffffffff

// load puts this thread under a filter that holds personality(2).
func (v *probeVictim) load(noNewPrivs bool) (listener, error) {
	if noNewPrivs {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return -1, fmt.Errorf("no_new_privs: %w", err)
		}
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_PERSONALITY, Jf: 1},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET, K: unix.SECCOMP_RET_ALLOW},
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	for _, flags := range []uintptr{filterFlagNewListener | filterFlagWaitKillableRecv, filterFlagNewListener} {
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&fprog)))
		if errno == 0 {
			return listener(fd), nil
		}
		if v.killable == nil {
			v.killable = errno
		} else {
			_, _, plain := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
			v.filter = asError(plain)
			return -1, errno
		}
	}
	return -1, ErrNotTried
}

// held waits for the victim's next call.
func (v *probeVictim) held(l listener, n *notification) error {
	fds := []unix.PollFd{{Fd: int32(l), Events: unix.POLLIN}}
	for {
		switch count, err := unix.Poll(fds, probePatience); {
		case err == unix.EINTR:
		case err != nil:
			return err
		case count == 0:
			return errors.New("the held call was not handed out")
		default:
			if errno := l.receive(n); errno != unix.EINTR {
				return asError(errno)
			}
		}
	}
}

// letRun lets a call run: it must return what it returns without the filter.
func (v *probeVictim) letRun(l listener) error {
	var n notification
	if err := v.held(l, &n); err != nil {
		return err
	}
	if errno := l.send(&response{id: n.id, flags: flagContinue}); errno != 0 {
		l.send(&response{id: n.id, errno: -int32(unix.EPERM)})
		<-v.results
		return errno
	}
	want, _, _ := unix.Syscall(unix.SYS_PERSONALITY, askPersonality, 0, 0)
	if got := <-v.results; got.errno != 0 || got.value != want {
		return fmt.Errorf("the call returned %#x (%w), not %#x", got.value, got.errno, want)
	}
	return nil
}

// install gives the victim a descriptor, which its call returns.
func (v *probeVictim) install(l listener, flags uint32) error {
	var n notification
	if err := v.held(l, &n); err != nil {
		return err
	}
	fd, errno := l.add(&addition{id: n.id, flags: flags, srcFD: uint32(l)})
	if errno == 0 {
		defer unix.Close(fd) // the victim's descriptors are this process's
	}
	if errno != 0 || flags&flagAddFDSend == 0 {
		if errno := l.send(&response{id: n.id, val: int64(fd)}); errno != 0 {
			return errno
		}
	}
	got := <-v.results
	if errno == 0 && (got.errno != 0 || int(got.value) != fd) {
		return fmt.Errorf("the call returned %d (%w), not %d", got.value, got.errno, fd)
	}
	return asError(errno)
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
