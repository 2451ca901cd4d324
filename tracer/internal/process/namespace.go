package process

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// IDs are the numbers of a thread in one pid namespace.
type IDs struct{ PID, TID int }

// NamespaceIDs are the numbers of the thread tid in each pid namespace that it is in, from its own outwards to the
// tracer's.
func (p *Process) NamespaceIDs(tid int) ([]IDs, error) {
	var pids, tids []string
	err := p.table.readStatus(tid, func(key, value []byte) bool {
		switch string(key) {
		case "NStgid":
			pids = strings.Fields(string(value))
		case "NSpid":
			tids = strings.Fields(string(value))
			return false
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	if len(pids) != len(tids) || len(pids) == 0 {
		return nil, fmt.Errorf("/proc/%d/status has no numbers for its pid namespaces", tid)
	}
	ids := make([]IDs, len(pids))
	for i := range pids {
		at := len(pids) - 1 - i
		ids[at].PID, _ = strconv.Atoi(pids[i]) // the kernel writes numbers
		ids[at].TID, _ = strconv.Atoi(tids[i])
	}
	return ids, nil
}

// StartTimeIn is the start time of a process in the procfs whose root is proc, 0 when there is none.
func StartTimeIn(proc, pid int) uint64 {
	fd, err := unix.Openat(proc, idName(pid, "/stat"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var buf [scratchSize]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return 0
	}
	st, err := parseStat(buf[:n])
	if err != nil {
		return 0
	}
	return st.start
}

// SameNamespace says whether the thread tid is in the tracer's namespace of a kind: "net", "ipc", "uts" or "user".
func (p *Process) SameNamespace(tid int, kind string) (bool, error) {
	own, err := Identify(p.table.proc, idName(p.table.ownPID, "/ns/"+kind))
	if err != nil {
		return false, fmt.Errorf("the tracer's %s namespace: %w", kind, err)
	}
	var ns Identity
	err = p.Reach(tid, func() (err error) {
		ns, err = Identify(p.table.proc, idName(tid, "/ns/"+kind))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("%s namespace of thread %d: %w", kind, tid, err)
	}
	return ns.Ino == own.Ino, nil
}
