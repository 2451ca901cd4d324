package process

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// A process that has changed its user without an exec is not readable any more to a tracer without CAP_SYS_PTRACE. Its
// memory is, through a file that was opened before (memfile.go); what its paths are relative to must be followed.

// Follows says whether what paths are relative to is followed: the tracer may become unable to look.
func (t *Table) Follows() bool { return t.follow && !t.ptracer }

// Kept says whether the process may not be readable any more: its memory was opened before.
func (p *Process) Kept() bool {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	return p.mem != nil
}

// maxDirectories bounds the open directories of a process that are remembered.
const maxDirectories = 256

// learnDirectories takes down which directories the process has open.
func (p *Process) learnDirectories(tid int) error {
	dirs := map[int]*directory{}
	err := p.Reach(tid, func() error {
		var refusal error
		err := p.table.eachName(tid, "/fd", func(name string) {
			fd, err := strconv.Atoi(name)
			if err != nil || refusal != nil || len(dirs) >= maxDirectories {
				return
			}
			is, err := p.table.isDirectory(idName(tid, "/fd/"+name))
			if refused(err) {
				refusal = err // the names can be listed where what is behind them cannot be seen
			}
			if !is {
				return
			}
			if d, err := p.readDirectory(tid, "/fd/"+name); err == nil {
				dirs[fd] = d
			}
		})
		return errors.Join(err, refusal)
	})
	if errors.Is(err, ErrUnreadable) {
		return nil // then it was so before, and is followed
	}
	if err != nil {
		return err
	}
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.dirs = dirs
	return nil
}

func (t *Table) isDirectory(name string) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(t.proc, name, &st, unix.AT_NO_AUTOMOUNT)
	return err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR, err
}

// Installing says that the process is about to be given a descriptor that Opened or KeepRuleset will tell of. The process
// may use it before they are called: whoever looks one up waits for the function that Installing gives.
func (p *Process) Installing() (told func()) {
	p.installs.RLock()
	return p.installs.RUnlock
}

func (p *Process) waitForInstalls() {
	p.installs.Lock()
	defer p.installs.Unlock()
}

// Opened says that the process has the directory path, of which dir is a descriptor of the tracer's, open as fd.
func (p *Process) Opened(fd int, path string, id Identity) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	if p.dirs == nil {
		p.dirs = map[int]*directory{}
	}
	if len(p.dirs) < maxDirectories {
		p.dirs[fd] = &directory{path: path, id: id}
	}
}

// Moved says that path becomes the working directory of the process.
func (p *Process) Moved(path string, id Identity) {
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.cwd = &directory{path: path, id: id}
	p.chdirs.clear()
	p.gen++
}
