package process

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// executable is the file that a process runs.
type executable struct {
	path    string
	deleted bool
}

// maxArgs bounds, in bytes, what is read of a command line.
const maxArgs = 4096

// load returns a fact from *slot, or reads it without the lock and keeps it unless it was invalidated meanwhile or
// must not be kept at all.
func load[T any](p *Process, slot **T, keep func() bool, read func() (*T, error)) (*T, error) {
	t := p.table
	t.mu.Lock()
	if *slot != nil && keep() {
		defer t.mu.Unlock()
		return *slot, nil
	}
	gen := p.gen
	t.mu.Unlock()

	v, err := read()

	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	// The record of a parent belongs to nobody who is held by the kernel: it may have ended, and its number may have
	// been given away, while it was read.
	if !p.gone && !t.alive(p) {
		t.remove(p)
		return nil, fmt.Errorf("process %d: %w", p.pid, ErrGone)
	}
	if p.gen == gen && keep() {
		*slot = v
	}
	return v, nil
}

// noExec says that facts of the image may be kept. Called with the lock held.
func (p *Process) noExec() bool { return !p.execs.some() }

func (p *Process) loadStat() (stat, error) {
	st, err := load(p, &p.stat, p.noExec, func() (*stat, error) {
		p.table.mu.Lock()
		clock := p.table.clock
		p.table.mu.Unlock()
		st, err := p.table.readStat(p.pid)
		st.clock = clock
		return &st, err
	})
	if err != nil {
		return stat{}, err
	}
	return *st, nil
}

// Exe is the absolute path of the program that the process runs, as seen from the tracer's root directory. A program
// that was deleted has the name that it had; one without a file is named "memfd:NAME".
func (p *Process) Exe() (string, error) {
	exe, err := load(p, &p.exe, p.noExec, p.readExe)
	if err != nil {
		return "", err
	}
	return exe.path, nil
}

// ExeDeleted reports whether the program's file has no name any more.
func (p *Process) ExeDeleted() (bool, error) {
	exe, err := load(p, &p.exe, p.noExec, p.readExe)
	if err != nil {
		return false, err
	}
	return exe.deleted, nil
}

func (p *Process) readExe() (*executable, error) {
	var exe executable
	err := p.viaThread(func(id int) error {
		link, err := p.table.readlink(id, "/exe")
		if err != nil {
			return err
		}
		exe.path = link
		if strings.HasSuffix(link, deletedSuffix) {
			at, err := Identify(p.table.proc, idName(id, "/exe"))
			if err != nil {
				return err
			}
			exe.path, exe.deleted = FileName(link, at.Dev, at.Ino)
		}
		return nil
	})
	if errors.Is(err, ErrUnreadable) {
		if path := p.forkersImage(); path != "" {
			return &executable{path: path}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("program of process %d: %w", p.pid, err)
	}
	return &exe, nil
}

// forkersImage is the program of the parent, if the process has executed nothing since it was forked: it is its own.
func (p *Process) forkersImage() string {
	st, err := p.table.readStat(p.pid)
	if err != nil || st.flags&forkNoExec == 0 {
		return ""
	}
	t := p.table
	t.mu.Lock()
	parent := t.procs[st.ppid]
	t.mu.Unlock()
	if parent == nil || parent == p {
		return ""
	}
	path, err := parent.Exe()
	if err != nil {
		return ""
	}
	return path
}

// Args is the command line, argv[0] included, cut after 4 KiB. The workload can rewrite it: it is for people to read,
// not for rules to match. It is empty when the process may not be read.
func (p *Process) Args() ([]string, error) {
	args, err := load(p, &p.args, p.noExec, p.readArgs)
	if err != nil {
		return nil, err
	}
	return *args, nil
}

// CommandLine is Exe and the arguments behind argv[0], joined by spaces: KubeArmor's Source.
func (p *Process) CommandLine() (string, error) {
	line, err := load(p, &p.line, p.noExec, func() (*string, error) {
		exe, err := p.Exe()
		if err != nil {
			return nil, err
		}
		args, err := p.Args()
		if err == nil && len(args) > 1 {
			exe += " " + strings.Join(args[1:], " ")
		}
		return &exe, err
	})
	if err != nil {
		return "", err
	}
	return *line, nil
}

// Snapshot is what events tell of a process. What is not known is empty.
type Snapshot struct {
	PID, PPID   int
	Exe         string
	CommandLine string
	Comm        string
	TTY         string
	Parent      string // the program of the parent
}

// Snapshot reads what is not known already. Of a process that is about to run another program the names of its own and
// of its parent's program are not told: image is false then. Nobody may change what is returned.
func (p *Process) Snapshot(image bool) *Snapshot {
	if !image {
		s := Snapshot{PID: p.pid, PPID: p.ppid()}
		s.TTY, _ = p.TTY()
		return &s
	}
	t := p.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if k := &p.kept; k.snapshot != nil && p.noExec() && p.stillParent(k) {
		return k.snapshot
	}
	gen := p.gen
	t.mu.Unlock()
	s := p.takeSnapshot()
	t.mu.Lock()
	// What could not be read is asked for again the next time.
	if !p.gone && p.gen == gen && p.noExec() && s.Exe != "" && s.Comm != "" && (p.noParent || p.parent != nil && p.parent.exe != nil) {
		p.kept = keptSnapshot{snapshot: s, parent: p.parent}
		if p.parent != nil {
			p.kept.exe = p.parent.exe
		}
	}
	return s
}

// keptSnapshot is a snapshot with what it was taken of besides the process.
type keptSnapshot struct {
	snapshot *Snapshot
	parent   *Process
	exe      *executable // of the parent
}

// stillParent says whether the parent is the one that a snapshot was taken with, and runs what it ran. Called with the
// lock held.
func (p *Process) stillParent(k *keptSnapshot) bool {
	if p.noParent || k.parent == nil {
		return p.noParent && k.parent == nil
	}
	t := p.table
	if p.parent != k.parent || p.parent.exe != k.exe || !p.parent.noExec() || !t.alive(p.parent) {
		return false
	}
	t.touch(p.parent)
	return true
}

func (p *Process) takeSnapshot() *Snapshot {
	s := Snapshot{PID: p.pid}
	s.TTY, _ = p.TTY()
	s.Exe, _ = p.Exe()
	s.CommandLine, _ = p.CommandLine()
	if s.CommandLine == "" {
		s.CommandLine = s.Exe
	}
	s.Comm, _ = p.Comm()
	// There is no host above this container that could be looked at: its pids are the only ones.
	if parent, err := p.Parent(); err == nil && parent != nil {
		s.PPID = parent.pid
		s.Parent, _ = parent.Exe()
	}
	return &s
}

func (p *Process) readArgs() (*[]string, error) {
	buf := p.table.scratch()
	defer p.table.release(buf)
	args := []string{}
	err := p.viaThread(func(id int) error {
		b, err := p.table.readFile(id, "/cmdline", (*buf)[:maxArgs])
		if err == nil && len(b) > 0 {
			args = strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrUnreadable) {
		return nil, fmt.Errorf("arguments of process %d: %w", p.pid, err)
	}
	return &args, nil
}

// Cwd is the name of the working directory of the thread tid, for people to read. Where changes are followed it is kept
// for the whole process until MarkCwd; opening relative paths never depends on it.
func (p *Process) Cwd(tid int) (string, error) {
	if !p.table.follow {
		return p.cwdName(tid)
	}
	dir, err := load(p, &p.cwd, func() bool { return !p.chdirs.some() }, func() (*directory, error) {
		return p.readDirectory(tid, "/cwd")
	})
	if err != nil {
		return "", err
	}
	return dir.path, nil
}

// cwdName reads the name alone.
func (p *Process) cwdName(tid int) (string, error) {
	var name string
	err := p.Reach(tid, func() (err error) {
		name, err = p.table.readCwd(tid)
		return err
	})
	if err == nil && strings.HasSuffix(name, deletedSuffix) {
		var at Identity
		if at, err = Identify(p.table.proc, idName(tid, "/cwd")); err == nil {
			name, _ = FileName(name, at.Dev, at.Ino)
		}
	}
	return name, err
}

// viaThread runs f on the process, on the thread that called last when the leader has exited before the others, and
// as the process's user when the tracer itself is refused.
func (p *Process) viaThread(f func(id int) error) error {
	err := f(p.pid)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		if tid := p.lastThread(); tid != p.pid && threadOf(p.pid, tid) {
			err = f(tid)
		}
	}
	if !refused(err) {
		return err
	}
	return p.asOwner(p.pid, err, func() error { return f(p.pid) })
}

func (p *Process) lastThread() int {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return p.tid
}

func refused(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

// Image is the path and the identity of the program that the process runs, read anew.
func (p *Process) Image() (string, Identity, error) {
	exe, err := p.readExe()
	if err != nil {
		return "", Identity{}, err
	}
	id, err := p.ImageFile()
	return exe.path, id, err
}

// ImageFile is the identity alone.
func (p *Process) ImageFile() (id Identity, err error) {
	err = p.viaThread(func(tid int) (err error) {
		id, err = Identify(p.table.proc, idName(tid, "/exe"))
		return err
	})
	if err != nil {
		return Identity{}, fmt.Errorf("program of process %d: %w", p.pid, err)
	}
	return id, nil
}

// Arguments is Args, read anew. Of a program that has only just been executed they are what it was given.
func (p *Process) Arguments() ([]string, error) {
	args, err := p.readArgs()
	if err != nil {
		return nil, err
	}
	return *args, nil
}

// maxAuxv is more than the kernel puts there.
const maxAuxv = 4096

// AuxiliaryVector is what the kernel has told the program about itself, see getauxval(3): pairs of 64-bit numbers.
func (p *Process) AuxiliaryVector() ([]byte, error) {
	var auxv []byte
	buf := make([]byte, maxAuxv)
	err := p.viaThread(func(id int) (err error) { // again, where the first look is refused
		auxv, err = p.table.readFile(id, "/auxv", buf)
		return err
	})
	return auxv, err
}
