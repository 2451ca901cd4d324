package processtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// worker is a thread of the victim.
type worker struct {
	do   chan *Command
	done chan *Reply
}

// serve carries out commands until in ends. Thread 0 is the leader of the process.
func serve(in io.Reader, out io.Writer) error {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() { // the scheduler moved us; a new image starts on the leader
		return unix.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	workers := map[int]*worker{}
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	// Each image says when it serves: what is sent before an exec takes effect could be read by the old one.
	if err := enc.Encode(reply(&Command{Op: "tid"})); err != nil {
		return err
	}
	for {
		var c Command
		if err := dec.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var err error
		if c.Path, err = url.PathUnescape(c.Path); err != nil {
			return err
		}
		if err := enc.Encode(dispatch(workers, &c)); err != nil {
			return err
		}
	}
}

func dispatch(workers map[int]*worker, c *Command) *Reply {
	if c.Thread == 0 {
		return reply(c)
	}
	w := workers[c.Thread]
	if w == nil {
		w = &worker{do: make(chan *Command), done: make(chan *Reply)}
		workers[c.Thread] = w
		go w.run()
	}
	w.do <- c
	r := <-w.done
	if c.Op == "exit-thread" {
		delete(workers, c.Thread)
	}
	return r
}

func (w *worker) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	for c := range w.do {
		w.done <- reply(c)
		if c.Op == "exit-thread" {
			return
		}
	}
}

func reply(c *Command) *Reply {
	r := &Reply{FD: -1, PID: os.Getpid(), TID: unix.Gettid()}
	if err := carryOut(c, r); err != nil && !errors.As(err, &r.Errno) {
		fmt.Fprintln(os.Stderr, "victim:", c.Op, err)
		os.Exit(1)
	}
	return r
}

// carryOut makes the system call that a command names, on the calling thread.
func carryOut(c *Command, r *Reply) (err error) {
	switch c.Op {
	case "tid", "exit-thread":
		return nil
	case "chdir":
		return unix.Chdir(c.Path)
	case "fchdir":
		return unix.Fchdir(c.Dir)
	case "chroot":
		return unix.Chroot(c.Path)
	case "unshare-fs":
		return unix.Unshare(unix.CLONE_FS)
	case "open":
		how := unix.OpenHow{Flags: c.Flags, Resolve: c.Resolve}
		if c.Flags&unix.O_CREAT != 0 {
			how.Mode = 0o600
		}
		// EAGAIN: somebody else's rename, anywhere on the machine, kept the kernel
		// from being sure that ".." stays inside. With RESOLVE_CACHED it is final.
		const resolveCached = 0x20 // RESOLVE_CACHED of linux/openat2.h
		for range 100 {
			if r.FD, err = unix.Openat2(c.Dir, c.Path, &how); err != unix.EAGAIN || c.Resolve&resolveCached != 0 {
				break
			}
		}
		return r.stat(err)
	case "close":
		return unix.Close(c.Dir)
	case "pipe":
		var p [2]int
		err = unix.Pipe2(p[:], unix.O_CLOEXEC)
		r.FD = p[0]
		return r.stat(err)
	case "socket":
		r.FD, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		return r.stat(err)
	case "memfd":
		r.FD, err = unix.MemfdCreate(c.Path, 0)
		return r.stat(err)
	case "setuid": // all threads
		return errors.Join(syscall.Setgroups([]int{c.UID}), syscall.Setgid(c.UID), syscall.Setuid(c.UID))
	case "setuid-thread":
		return rawErr(unix.RawSyscall(unix.SYS_SETRESUID, uintptr(c.UID), uintptr(c.UID), uintptr(c.UID)))
	case "undumpable":
		return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	case "name":
		b := append([]byte(c.Path), 0)
		return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(&b[0])), 0, 0, 0)
	case "exec":
		return unix.Exec(c.Path, append([]string{c.Path}, c.Args...), os.Environ())
	case "copy-self":
		return copySelf(c.Path)
	case "spawn":
		return spawn(r)
	default:
		return placeData(c, r)
	}
}

// placeData lays out memory for a test to read.
func placeData(c *Command, r *Reply) error {
	switch c.Op {
	case "place": // Data up to the end of a page, behind which nothing can be read
		page := os.Getpagesize()
		size := (len(c.Data) + page - 1) / page * page
		fd, err := unix.MemfdCreate("data", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, err := unix.Pwrite(fd, c.Data, int64(size-len(c.Data))); err != nil {
			return err
		}
		// The last page is mapped behind the end of the file: unlike one without PROT_READ, not even /proc/PID/mem
		// reads it, and unlike a hole, no later mapping fills it.
		m, err := unix.MmapPtr(fd, 0, nil, uintptr(size+page), unix.PROT_READ, unix.MAP_SHARED)
		r.Addr = uint64(uintptr(m)) + uint64(size-len(c.Data))
		return err
	default:
		return fmt.Errorf("unknown command %q", c.Op)
	}
}

// stat adds what was opened, if it was.
func (r *Reply) stat(opened error) error {
	if opened != nil {
		return opened
	}
	var st unix.Stat_t
	err := unix.Fstat(r.FD, &st)
	r.Dev, r.Ino = st.Dev, st.Ino
	return err
}

func rawErr(_, _ uintptr, errno syscall.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func copySelf(to string) error {
	b, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// spawn starts another victim, which lives as long as this one and hears nothing.
func spawn(r *Reply) error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	in := os.NewFile(uintptr(p[0]), "pipe") // p[1] stays open for good
	defer in.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	child, err := os.StartProcess("/proc/self/exe", []string{"child"}, &os.ProcAttr{Files: []*os.File{in, null, os.Stderr}})
	if err != nil {
		return err
	}
	r.PID = child.Pid
	return nil
}

// dropCapabilities takes capabilities out of the bounding set and executes the test binary again: root's exec then
// gets every capability but those, in all threads.
func dropCapabilities() {
	list, ok := strings.CutPrefix(os.Getenv(dropEnv), "drop ")
	if !ok {
		return
	}
	if err := dropAndExec(strings.Fields(list)); err != nil {
		fmt.Fprintln(os.Stderr, "drop capabilities:", err)
		os.Exit(1)
	}
}

func dropAndExec(capabilities []string) error {
	runtime.LockOSThread()
	for _, s := range capabilities {
		c, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			return err
		}
	}
	if err := os.Setenv(dropEnv, "dropped"); err != nil {
		return err
	}
	return unix.Exec("/proc/self/exe", os.Args, os.Environ())
}
