package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// Credentials are those of one thread, see credentials(7).
type Credentials struct {
	RUID, UID, SUID, FSUID int // real, effective, saved, file system
	RGID, GID, SGID, FSGID int
	Groups                 []int
	// CapEff and CapPrm are the effective and the permitted capabilities, bit n for capability n.
	CapEff, CapPrm uint64
	// NoNewPrivs is true only if it is so; a thread can set it without a held call.
	NoNewPrivs bool
}

// Credentials returns those of the thread tid, which must be held in a system call. They are kept until
// MarkCredentials or an exec.
//
// A number that goes to another thread of the same process keeps its credentials here until then. Threads share all
// memory, so those that differ in credentials protect nothing from each other.
func (p *Process) Credentials(tid int) (Credentials, error) {
	c, err := p.credentials(tid)
	if err != nil {
		return Credentials{}, err
	}
	return *c, nil
}

// credentials gives kept ones, which nobody may change.
func (p *Process) credentials(tid int) (*Credentials, error) {
	t := p.table
	t.mu.Lock()
	th := t.threads[tid]
	if th != nil && th.proc == p && th.creds != nil && th.credGen == p.credGen {
		defer t.mu.Unlock()
		return th.creds, nil
	}
	gen := p.credGen
	t.mu.Unlock()

	c := p.known(tid)
	if c == nil {
		var err error
		if c, err = t.readCredentials(tid); err != nil {
			return nil, fmt.Errorf("credentials of thread %d: %w", tid, err)
		}
		t.mu.Lock()
		t.ids.learn(c)
		t.mu.Unlock()
	}
	if err := p.limitToNamespace(tid, c); err != nil {
		return nil, err
	}

	t.mu.Lock()
	defer t.mu.Unlock()
	if th := t.threads[tid]; th != nil && th.proc == p && p.credGen == gen {
		th.creds, th.credGen = c, gen
	}
	return c, nil
}

// limitToNamespace takes away what capabilities in a user namespace of the workload's own are worth outside of it:
// nothing. (Inside they would let it override the permissions of files whose owner and group it maps.)
func (p *Process) limitToNamespace(tid int, c *Credentials) error {
	const setfcap = 1 << unix.CAP_SETFCAP
	if c.CapEff == 0 {
		return nil
	}
	// The name of the link is the namespace's: following it would make the kernel look up a file besides.
	var ns string
	err := p.Reach(tid, func() (err error) {
		ns, err = p.table.readlink(tid, "/ns/user")
		return err
	})
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	switch {
	case errors.Is(err, ErrUnreadable):
		// It has changed its user, or made itself undumpable: what it was before counts.
		if !p.ownUserNS {
			c.CapEff = 0
		}
	case err != nil:
		return fmt.Errorf("user namespace of thread %d: %w", tid, err)
	case ns == p.table.userNS:
		p.ownUserNS, p.setfcap = true, c.CapEff&setfcap != 0
	case p.setfcap:
		// Whether root may be mapped in a new namespace depends on whether its maker had this one (verify_root_map in
		// kernel/user_namespace.c). To opens it is worth nothing else.
		c.CapEff = setfcap
	default:
		c.CapEff = 0
	}
	return nil
}

// NoNewPrivs says whether the thread tid can gain nothing by an exec.
func (p *Process) NoNewPrivs(tid int) (bool, error) {
	c, err := p.table.readCredentials(tid)
	if err != nil {
		return false, err
	}
	return c.NoNewPrivs, nil
}

// UID is the effective user id of the thread tid: the one that permissions follow. (The kernel helper that KubeArmor
// reads gives the real user id, Credentials.RUID; the two differ only in set-user-id programs, which never elevate
// under no_new_privs, and in daemons between two seteuid calls.)
func (p *Process) UID(tid int) (int, error) {
	c, err := p.credentials(tid)
	if err != nil {
		return 0, err
	}
	return c.UID, nil
}

func (t *Table) readCredentials(tid int) (*Credentials, error) {
	var c Credentials
	var bad error
	err := t.readStatus(tid, func(key, value []byte) bool {
		switch string(key) {
		case "Uid":
			bad = parseIDs(value, &c.RUID, &c.UID, &c.SUID, &c.FSUID)
		case "Gid":
			bad = parseIDs(value, &c.RGID, &c.GID, &c.SGID, &c.FSGID)
		case "Groups":
			c.Groups, bad = parseGroups(value)
		case "CapPrm":
			c.CapPrm, bad = strconv.ParseUint(string(value), 16, 64)
		case "CapEff":
			c.CapEff, bad = strconv.ParseUint(string(value), 16, 64)
		case "NoNewPrivs":
			c.NoNewPrivs = string(value) == "1"
			return false // it stands behind the others
		}
		if bad != nil {
			bad = fmt.Errorf("/proc/%d/status: %s: %w", tid, key, bad)
		}
		return bad == nil
	})
	if err != nil {
		return nil, err
	}
	return &c, bad
}

func parseIDs(b []byte, ids ...*int) error {
	for i, id := range ids {
		var field []byte
		if field, b = nextField(b); len(field) == 0 {
			return fmt.Errorf("%d numbers, want %d", i, len(ids))
		}
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return err
		}
		*id = int(n)
	}
	return nil
}

func parseGroups(b []byte) ([]int, error) {
	groups := []int{}
	for {
		var field []byte
		if field, b = nextField(b); len(field) == 0 {
			return groups, nil
		}
		n, err := strconv.ParseUint(string(field), 10, 32)
		if err != nil {
			return nil, err
		}
		groups = append(groups, int(n))
	}
}

// maxStatus is enough for the longest Groups line that the kernel's 65536 groups can make.
const maxStatus = 1 << 20

// readStatus calls f for each line of /proc/TID/status until it returns false. f may not keep what it is given.
func (t *Table) readStatus(tid int, f func(key, value []byte) bool) error {
	buf := t.scratch()
	defer t.release(buf)
	b, err := t.readFile(tid, "/status", *buf)
	if err == nil && len(b) == len(*buf) { // cut off: a process in hundreds of groups
		b, err = t.readFile(tid, "/status", make([]byte, maxStatus))
	}
	if err != nil {
		return err
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		key, value, ok := bytes.Cut(line, []byte{':'})
		if ok && !f(key, bytes.TrimSpace(value)) {
			return nil
		}
	}
	return nil
}
