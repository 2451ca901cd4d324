package launch

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Reaper waits for the workload's processes: its first one, whose status it
// keeps, and orphans that fall to the tracer when it is PID 1.
type Reaper struct {
	main int
	done chan struct{}
	code int
}

// NewReaper makes a reaper for the first process main.
func NewReaper(main int) *Reaper { return &Reaper{main: main, done: make(chan struct{})} }

// Main is closed when the first process has ended.
func (r *Reaper) Main() <-chan struct{} { return r.done }

// Code is the exit status that stands for the first process: its own, or 128+n
// when signal n ended it. Valid once Main is closed.
func (r *Reaper) Code() int { return r.code }

// Run reaps until there are no children left. Nothing else in the program may
// wait for a child meanwhile.
func (r *Reaper) Run() error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return nil
		case err != nil:
			return fmt.Errorf("launch: waiting for the workload: %w", err)
		case pid == r.main && status.Stopped():
			r.stopWith()
		case pid == r.main:
			r.code = exitCode(status)
			close(r.done)
		}
	}
}

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// stopWith stops the tracer when its workload has stopped, so that the shell
// that started the tracer sees its job stop; that shell's SIGCONT reaches both,
// for the tracer passes it on. Where no shell with job control can be waiting,
// whoever stops the workload means it alone, and the tracer must go on
// answering its other processes.
func (r *Reaper) stopWith() {
	if !isStopped(r.main) || isSessionLeader() || !hasTerminal() {
		// Not stopped: that stop is over by now.
		return
	}
	// The error can only be that this process does not exist.
	_ = unix.Kill(os.Getpid(), unix.SIGSTOP)
}

// hasTerminal says whether this process has a controlling terminal: only then
// can /dev/tty be opened (tty(4)).
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func isStopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	return strings.HasPrefix(rest, "T")
}

// Protect closes the tracer's memory, descriptors and environment to other
// processes of its uid.
func Protect() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("launch: making the tracer's memory private: %w", err)
	}
	return nil
}

// HasSysAdmin says whether the process may load a filter without no_new_privs.
func HasSysAdmin() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return false
	}
	return data[unix.CAP_SYS_ADMIN/32].Effective&(1<<(unix.CAP_SYS_ADMIN%32)) != 0
}
