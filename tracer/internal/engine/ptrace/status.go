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
	caught  uint64 // signals that have a handler
	filters int    // that it is under; 0 where the kernel does not say (before Linux 5.9)
}

func readStatus(tid int) (st status, err error) {
	name := "/proc/" + strconv.Itoa(tid) + "/status"
	text, err := os.ReadFile(name)
	if err != nil {
		return st, err
	}
	for line := range bytes.Lines(text) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		switch value := string(bytes.TrimSpace(rest)); string(key) {
		case "Tgid":
			st.leader, err = strconv.Atoi(value)
		case "SigCgt":
			st.caught, err = strconv.ParseUint(value, 16, 64)
		case "Seccomp_filters":
			st.filters, err = strconv.Atoi(value)
		}
		if err != nil {
			return st, fmt.Errorf("%s: %w", name, err)
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
