// Package launch starts the workload under its filter and does what the parent
// of the workload, often PID 1 of a container, owes it: signals, reaping, the
// terminal, the exit status. It answers none of the calls that the filter holds.
package launch

/*
#include <stdlib.h>
#include "launch.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Command is what to start.
type Command struct {
	Path   string   // the program's file
	Args   []string // with the name under which it is called first
	Env    []string
	Filter []unix.SockFilter

	// Traced says that the filter has calls stop for a tracer: it has no listener, and
	// the child must be attached to before Release.
	Traced bool
	// NoNewPrivs is needed to load a filter without CAP_SYS_ADMIN. It also
	// keeps setuid programs from gaining privileges.
	NoNewPrivs bool
	// DiesWithTracer has the kernel kill the process when the calling thread ends, which is
	// to be the first of the tracer: unless it changes its user (PR_SET_PDEATHSIG).
	DiesWithTracer bool
}

// Child is the workload's first process, filtered and waiting at the gate, not
// yet running its program.
type Child struct {
	PID      int
	Parent   int      // the thread of this process that started it
	Listener *os.File // answers the calls that the filter holds; the caller closes it. nil where they are traced
	path     string
	gate     *os.File
	traced   bool
}

// FilterError says that the kernel refused the filter, or its listener.
type FilterError struct{ Errno unix.Errno }

func (e *FilterError) Error() string {
	why := ""
	switch e.Errno {
	case unix.EBUSY:
		why = " (another program already listens to a filter above this one)"
	case unix.EACCES:
		why = " (needs no_new_privs or CAP_SYS_ADMIN)"
	case unix.EINVAL, unix.ENOSYS, unix.EPERM:
		why = " (the kernel or the container's seccomp profile does not allow a notification listener)"
	}
	return fmt.Sprintf("seccomp: loading the filter: %v%s", e.Errno, why)
}

// Unwrap gives the errno.
func (e *FilterError) Unwrap() error { return e.Errno }

// ExecError says that the program could not be executed.
type ExecError struct {
	Path  string
	Errno unix.Errno
}

func (e *ExecError) Error() string { return fmt.Sprintf("executing %s: %v", e.Path, e.Errno) }

// Unwrap gives the errno.
func (e *ExecError) Unwrap() error { return e.Errno }

// Start forks the workload's first process, which loads the filter and stops
// before it executes the program. The caller must have a handler behind the
// listener before it calls Release, for the exec itself is a call that may be
// held.
func Start(cmd Command) (*Child, error) {
	if len(cmd.Filter) == 0 {
		return nil, errors.New("launch: no filter")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("launch: making the gate: %w", err)
	}
	gate := os.NewFile(uintptr(pair[0]), "gate")
	// The child is a copy of this thread: its credentials and capabilities.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, err := fork(cmd, pair)
	unix.Close(pair[1])
	if err != nil {
		gate.Close()
		return nil, err
	}
	child := &Child{PID: pid, Parent: unix.Gettid(), path: cmd.Path, gate: gate, traced: cmd.Traced}
	if err := child.awaitFilter(); err != nil {
		gate.Close()
		reapOne(pid)
		return nil, err
	}
	return child, nil
}

func fork(cmd Command, gate [2]int) (int, error) {
	path := C.CString(cmd.Path)
	defer C.free(unsafe.Pointer(path))
	argv, freeArgv := cStrings(cmd.Args)
	defer freeArgv()
	envp, freeEnvp := cStrings(cmd.Env)
	defer freeEnvp()
	filter := C.CBytes(unsafe.Slice((*byte)(unsafe.Pointer(&cmd.Filter[0])), len(cmd.Filter)*int(unsafe.Sizeof(cmd.Filter[0]))))
	defer C.free(filter)

	c := C.struct_sidearmor_child{parent_gate: C.int(gate[0]), gate: C.int(gate[1]), path: path, argv: argv, envp: envp}
	c.filter.len = C.ushort(len(cmd.Filter))
	c.filter.filter = (*C.struct_sock_filter)(filter)
	if cmd.NoNewPrivs {
		c.no_new_privs = 1
	}
	if cmd.Traced {
		c.traced = 1
	}
	if cmd.DiesWithTracer {
		c.dies_with_tracer = 1
	}
	pid := C.sidearmor_fork(&c)
	if pid < 0 {
		return 0, fmt.Errorf("launch: forking the workload: %w", unix.Errno(-pid))
	}
	return int(pid), nil
}

// cStrings copies a string vector, NULL at the end, to C's memory.
func cStrings(list []string) (vector **C.char, free func()) {
	size := C.size_t(len(list)+1) * C.size_t(unsafe.Sizeof((*C.char)(nil)))
	vector = (**C.char)(C.calloc(1, size))
	slots := unsafe.Slice(vector, len(list)+1)
	for i, s := range list {
		slots[i] = C.CString(s)
	}
	return vector, func() {
		for _, s := range slots {
			C.free(unsafe.Pointer(s))
		}
		C.free(unsafe.Pointer(vector))
	}
}

// awaitFilter takes the child's first report and with it the listener.
func (c *Child) awaitFilter() error {
	step, errno, listener, err := c.receive()
	switch {
	case err != nil:
		return err
	case step == C.SIDEARMOR_FILTERED && (listener != nil) != c.traced:
		c.Listener = listener
		return nil
	case step == C.SIDEARMOR_FILTER:
		return &FilterError{errno}
	case step == C.SIDEARMOR_PRIVS:
		return fmt.Errorf("launch: setting no_new_privs: %w", errno)
	}
	return fmt.Errorf("launch: the workload's process ended before its filter stood (step %d: %w)", step, errno)
}

// Release lets the child execute its program and waits until it does. It
// returns an *ExecError when that fails; the child has ended then, but must
// still be waited for.
func (c *Child) Release() error {
	defer c.gate.Close()
	if _, err := c.gate.Write([]byte{1}); err != nil {
		return fmt.Errorf("launch: opening the gate: %w", err)
	}
	step, errno, _, err := c.receive()
	if err != nil || step == 0 {
		return err // the gate closed at exec
	}
	return &ExecError{c.path, errno}
}

// receive reads one report; the zero step is the end of the gate.
func (c *Child) receive() (step int, errno unix.Errno, listener *os.File, err error) {
	var r C.struct_sidearmor_report
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))
	oob := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	raw, err := c.gate.SyscallConn()
	if err != nil {
		return 0, 0, nil, fmt.Errorf("launch: reading the gate: %w", err)
	}
	var recvErr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, _, _, recvErr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
			if recvErr != unix.EINTR {
				return recvErr != unix.EAGAIN
			}
		}
	})
	if err = errors.Join(err, recvErr); err != nil {
		return 0, 0, nil, fmt.Errorf("launch: reading the gate: %w", err)
	}
	if n < len(buf) {
		return 0, 0, nil, nil
	}
	if fds := parseRights(oob[:oobn]); len(fds) == 1 {
		listener = os.NewFile(uintptr(fds[0]), "seccomp-listener")
	}
	return int(r.step), unix.Errno(r.error), listener, nil
}

func parseRights(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return nil
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil
	}
	return fds
}

// Abandon ends a child that was not released.
func (c *Child) Abandon() {
	c.gate.Close() // it ends then
	if c.Listener != nil {
		c.Listener.Close()
	}
	reapOne(c.PID)
}

func reapOne(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != unix.EINTR {
			return
		}
	}
}

// Protect closes the tracer's memory, descriptors and environment to other
// processes of its uid.
func Protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("launch: making the tracer's memory private: %w", err)
	}
	return nil
}

// Can says whether this thread has a capability now. CAP_SYS_ADMIN lets it load a
// filter without no_new_privs.
func Can(capability int) bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}
