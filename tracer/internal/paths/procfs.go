package paths

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
	"golang.org/x/sys/unix"
)

// ownDescriptors says whether the current directory is the list of descriptors of the workload's process itself, in which
// it may look whoever it runs as.
func (w *walker) ownDescriptors() bool {
	if !isProc(w.cur) {
		return false
	}
	name, err := w.name(w.cur)
	own := "/proc/" + strconv.Itoa(w.q.p.PID())
	return err == nil && (name == own+"/fd" || name == own+"/task/"+strconv.Itoa(w.q.tid)+"/fd")
}

// openOwn opens a name in the list of descriptors of the workload's process itself.
func (w *walker) openOwn(comp string) (int, error) {
	fd := -1
	err := w.q.p.Reach(w.q.tid, func() (err error) {
		fd, err = open(w.cur, comp, unix.O_NOFOLLOW)
		return err
	})
	return fd, err
}

// followMagic opens what the magic link comp leads to in the directory called dir. A process may always look at itself,
// whoever it runs as; others may not say so for it.
func (w *walker) followMagic(dir, comp string) (fd int, err error) {
	p, tid := w.q.p, w.q.tid
	rest, itself := strings.CutPrefix(dir+"/", "/proc/"+strconv.Itoa(p.PID())+"/")
	if !itself {
		return open(w.cur, comp, 0)
	}
	id := p.PID()
	if of, ok := strings.CutPrefix(rest, "task/"+strconv.Itoa(tid)+"/"); ok {
		id, rest = tid, of
	}
	switch {
	case rest == "" && comp == "cwd":
		return p.OpenCwd(id)
	case rest == "" && comp == "root":
		return p.OpenRoot(id)
	case rest == "fd/":
		if n, err := strconv.Atoi(comp); err == nil {
			return p.OpenFD(id, n)
		}
	}
	fd = -1
	err = p.Reach(tid, func() (err error) {
		fd, err = open(w.cur, comp, 0)
		return err
	})
	return fd, err
}

const procRootIno = 1

// self is what the links "self" and "thread-self" in the root of procfs, which is the current directory, read as for the
// workload. In a procfs of a pid namespace below the tracer's the workload has other numbers: those of the process that
// began when it did.
func (w *walker) self(comp string) (string, error) {
	pid, tid := w.q.p.PID(), w.q.tid
	if w.foreign {
		start, err := w.q.p.StartTime()
		if err != nil {
			return "", err
		}
		ids, err := w.q.p.NamespaceIDs(tid)
		if err != nil {
			return "", err
		}
		i := slices.IndexFunc(ids, func(id process.IDs) bool { return process.StartTimeIn(w.cur, id.PID) == start })
		if i < 0 {
			return "", unix.ENOENT
		}
		pid, tid = ids[i].PID, ids[i].TID
	}
	if comp == "self" {
		return strconv.Itoa(pid), nil
	}
	return strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid), nil
}

// noteProcfs notes whether the current directory is the root of a procfs of another pid namespace.
func (w *walker) noteProcfs() {
	if w.stat.Ino == procRootIno && w.stat.Dev != w.procDev && isProc(w.cur) {
		var buf [16]byte
		_, err := unix.Readlinkat(w.cur, "self", buf[:])
		w.foreign = err == unix.ENOENT
	}
}
