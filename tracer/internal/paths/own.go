package paths

import (
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// ownThread reports whether a name in procfs has a component that is the number
// of one of the tracer's threads. The kernel lets a process look at all of
// itself, so what the tracer finds there is not what the workload would: its own
// descriptors, its memory. Threads have directories by their own numbers too.
func (r *Resolver) ownThread(name string) bool {
	for rest := name; rest != ""; {
		var comp string
		comp, rest, _ = strings.Cut(rest, "/")
		if comp == "" || comp[0] < '1' || comp[0] > '9' {
			continue
		}
		if n, err := strconv.ParseInt(comp, 10, 32); err == nil && process.IsOwn(int(n)) {
			return true
		}
	}
	return false
}

// isOwn reports whether the file fd, called name, tells of the tracer itself.
func (r *Resolver) isOwn(fd int, name string) bool { return r.ownThread(name) && isProc(fd) }
