package process

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Entered looks for processes that have entered the container from outside, as those of kubectl exec and ECS Exec do: their
// parent is in no pid namespace that the tracer sees, and they are under no filter of the tracer's. What they start belongs
// to them. Those that are there when it is made have not entered.
type Entered struct {
	table   *Table
	last    string // the process id that was given last, as /proc/loadavg tells it
	seen    map[int]bool
	inside  map[int]*Visitor
	cgroup  string
	filters int // seccomp filters that the tracer is under; -1 where the kernel does not tell
}

// Visitor is a process that has entered.
type Visitor struct {
	Snapshot
	Args  []string
	UID   int
	Root  int    // the process of its tree that came first
	Start uint64 // of Root, in clock ticks since boot
	own   uint64 // of itself
}

// Entered makes a look-out.
func (t *Table) Entered() (*Entered, error) {
	e := &Entered{table: t, inside: map[int]*Visitor{}, cgroup: t.cgroup(t.ownPID)}
	_, e.filters, _ = t.nature(t.ownPID)
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	e.seen = make(map[int]bool, len(pids))
	for _, pid := range pids {
		e.seen[pid] = true
	}
	return e, nil
}

// Look finds those that have entered, or run another program, since the last look. As long as no process has begun since,
// and nobody is inside, it costs the reading of one line.
func (e *Entered) Look() ([]*Visitor, error) {
	line, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil, err
	}
	last := string(line[bytes.LastIndexByte(line, ' ')+1:])
	if last == e.last && len(e.inside) == 0 {
		return nil, nil
	}
	e.last = last
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	var found []*Visitor
	now := make(map[int]bool, len(pids))
	var fresh []int
	for _, pid := range pids {
		now[pid] = true
		if v := e.inside[pid]; v == nil && !e.seen[pid] {
			fresh = append(fresh, pid)
		} else if v != nil {
			if v = e.visit(pid, v); v != nil {
				found = append(found, v)
			}
		}
	}
	for more := true; more; { // a child may have the lower number
		more = false
		fresh = slices.DeleteFunc(fresh, func(pid int) bool {
			v := e.visit(pid, nil)
			if v != nil {
				found, more = append(found, v), true
			}
			return v != nil
		})
	}
	for pid := range e.inside {
		if !now[pid] {
			delete(e.inside, pid)
		}
	}
	e.seen = now
	return found, nil
}

// visit looks at one process: at a new one, or whether one that has entered runs another program than it did.
func (e *Entered) visit(pid int, before *Visitor) *Visitor {
	st, err := e.table.readStat(pid)
	if err != nil || st.state == 'Z' {
		return nil
	}
	v := &Visitor{Root: pid, Start: st.start, own: st.start}
	switch {
	case before != nil && before.own == st.start:
		v.Root, v.Start = before.Root, before.Start
	case e.inside[st.ppid] != nil:
		v.Root, v.Start = e.inside[st.ppid].Root, e.inside[st.ppid].Start
	case !e.entered(pid, st.ppid):
		return nil
	}
	v.Snapshot = Snapshot{PID: pid, PPID: st.ppid, Comm: st.comm, TTY: ttyName(st.tty)}
	if v.Exe, err = e.table.readlink(pid, "/exe"); err != nil {
		v.Exe = st.comm
	}
	if parent := e.inside[st.ppid]; parent != nil {
		v.Parent = parent.Exe
	}
	v.UID, _, _ = e.table.nature(pid)
	e.inside[pid] = v
	again := before != nil && before.own == v.own
	var set bool
	if v.Args, set = e.table.commandLine(pid); !set && !again {
		v.Exe = "" // it is about to run another program: the next look tells
		return nil
	}
	if again && before.Exe == v.Exe && before.TTY == v.TTY {
		return nil
	}
	return v
}

// entered says whether a process that is new has come from outside: nothing within the container is its parent, or it was
// left to the tracer by one that has come so, and is not under the tracer's filter.
func (e *Entered) entered(pid, ppid int) bool {
	if ppid != 0 && ppid != e.table.ownPID {
		return false
	}
	if ppid == 0 {
		return e.table.cgroup(pid) == e.cgroup // another container's is not, where containers share the namespace
	}
	_, filters, err := e.table.nature(pid)
	return err == nil && e.filters >= 0 && filters <= e.filters
}

// nature tells the effective user of a process, and under how many seccomp filters it is: -1 where the kernel does not tell.
func (t *Table) nature(pid int) (uid, filters int, err error) {
	filters = -1
	err = t.readStatus(pid, func(key, value []byte) bool {
		switch string(key) {
		case "Uid":
			var ruid int
			err = parseIDs(value, &ruid, &uid)
		case "Seccomp_filters":
			if n, err := strconv.Atoi(string(value)); err == nil {
				filters = n
			}
			return false
		}
		return true
	})
	return uid, filters, err
}

// cgroup is what the kernel tells of the control group of a process, "" where it does not.
func (t *Table) cgroup(pid int) string {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readFile(pid, "/cgroup", *buf)
	if err != nil {
		return ""
	}
	return string(b)
}

// commandLine is the arguments of a process, argv[0] left out; set is false while it has none at all.
func (t *Table) commandLine(pid int) (args []string, set bool) {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readFile(pid, "/cmdline", *buf)
	if err != nil || len(b) == 0 {
		return nil, false
	}
	for arg := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		args = append(args, string(arg))
	}
	return args[1:], true
}

// Kill ends the process, if it still is the one that was found.
func (v *Visitor) Kill(t *Table) error {
	fd, err := unix.PidfdOpen(v.PID, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if st, err := t.readStat(v.PID); err != nil || st.start != v.own {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// processes lists the processes that are there.
func processes() (pids []int, err error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
