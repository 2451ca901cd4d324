package differential

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// left gives the processes of this stage that still run, the tracer included: by
// a variable that only they have.
func (s *stage) left() []int {
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	var pids []int
	for _, path := range environments {
		body, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(append([]byte{0}, body...), []byte("\x00"+s.marker()+"\x00")) {
			continue // it has ended, or is another user's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endAll kills what is left, which may be making processes meanwhile.
func (s *stage) endAll() {
	for range 20 {
		pids := s.left()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// processes says what each process that is left is waiting for.
func (s *stage) processes() string {
	var b strings.Builder
	for _, pid := range s.left() {
		dir := fmt.Sprintf("/proc/%d/", pid)
		line := func(name string) string {
			body, err := os.ReadFile(dir + name)
			if err != nil {
				return err.Error()
			}
			return strings.TrimSpace(strings.ReplaceAll(string(body), "\x00", " "))
		}
		fmt.Fprintf(&b, "%d %.200s\n  in call %s\n  of %s\n", pid, line("cmdline"), line("syscall"), line("stat"))
	}
	return b.String()
}
