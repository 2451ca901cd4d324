package supervise

import (
	"errors"
	"strings"

	"github.com/sidearmor/sidearmor/tracer/internal/paths"
	"github.com/sidearmor/sidearmor/tracer/internal/process"
)

// foreignSettings says whether a file of procfs shows settings of a namespace that
// the caller is not in: the kernel shows those of who opens it, which would be the
// tracer's.
func (w *worker) foreignSettings(c *call, file *paths.Result) bool {
	kind := settingsOf(file.Path)
	if kind == "" {
		return false
	}
	same, err := c.process.SameNamespace(c.TID, kind)
	if errors.Is(err, process.ErrUnreadable) {
		return false // a process that has only changed its user
	}
	return err != nil || !same
}

// settingsOf names the kind of namespace whose settings are under a name below
// /proc; "" for none (namespaces(7)).
func settingsOf(path string) string {
	path, ok := strings.CutPrefix(path, "/proc/sys")
	if !ok {
		return ""
	}
	for _, s := range []struct{ prefix, kind string }{
		{"vipc/", "ipc"},
		{"/net/", "net"},
		{"/user/", "user"},
		{"/kernel/hostname", "uts"},
		{"/kernel/domainname", "uts"},
		{"/kernel/shm", "ipc"},
		{"/kernel/msg", "ipc"},
		{"/kernel/sem", "ipc"},
		{"/kernel/auto_msgmni", "ipc"},
		{"/fs/mqueue/", "ipc"},
	} {
		if strings.HasPrefix(path, s.prefix) {
			return s.kind
		}
	}
	return ""
}
