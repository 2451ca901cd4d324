package ptrace

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// status is what the kernel tells of a thread in procfs.
type status struct {
	leader  int    // of its process
	pending uint64 // signals that are to come, for the thread or its process
	blocked uint64 // signals that the thread does not take
	caught  uint64 // signals that have a handler
	filters int    // that it is under; 0 where the kernel does not say (before Linux 5.9)
}

func readStatus(tid int) (st status, err error) {
	name := "/proc/" + strconv.Itoa(tid) + "/status"
	text, err := os.ReadFile(name)
	if err != nil {
		return st, err
	}
	if st, err = parseStatus(text); err != nil {
		return st, fmt.Errorf("%s: %w", name, err)
	}
	return st, nil
}

func parseStatus(text []byte) (st status, err error) {
	for line := range bytes.Lines(text) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		switch value := string(bytes.TrimSpace(rest)); string(key) {
		case "Tgid":
			st.leader, err = strconv.Atoi(value)
		case "SigPnd", "ShdPnd":
			var set uint64
			set, err = strconv.ParseUint(value, 16, 64)
			st.pending |= set
		case "SigBlk":
			st.blocked, err = strconv.ParseUint(value, 16, 64)
		case "SigCgt":
			st.caught, err = strconv.ParseUint(value, 16, 64)
		case "Seccomp_filters":
			st.filters, err = strconv.Atoi(value)
		}
		if err != nil {
			return status{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	return st, nil
}

// made takes down what a new process shares with its maker, which has stopped behind the
// call. clone3 tells its flags in memory, which may have changed.
func (s *service) made(tid int) {
	child, err := message(tid)
	r := &s.regs
	if err == nil && r.get(tid) == nil && r.shares()&unix.CLONE_VM == 0 {
		s.scratch[child] = 0
	} else {
		delete(s.scratch, child) // of another that had the number
	}
	s.resume(tid, 0)
}
