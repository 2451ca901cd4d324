package supervise

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/engine"
)

// mounts answers mount: what a rule denies does not get another name by it.
func (w *worker) mounts(c *call) engine.Answer {
	if !w.couldDeny(c, rules.File) {
		return w.escapes(c)
	}
	for _, source := range w.mounted(c) {
		if a, denied := w.deniesMount(c, source); denied {
			return a
		}
	}
	return w.escapes(c)
}

// deniesMount asks the rules about what a mount gives another name, and all beneath it.
func (w *worker) deniesMount(c *call, source string) (answer engine.Answer, denied bool) {
	var t target
	defer t.close()
	switch err := w.findFile(c, unix.AT_FDCWD, source, &t); {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		return answer, false // the kernel will not find it either
	case err != nil:
		w.warn(exe(c.process), "what is to be mounted could not be examined", "denied", true, "error", err)
		return engine.Fail(unix.EACCES), true
	}
	a, err := w.changeAccess(c, &t)
	if err != nil {
		return w.unknown(c, err), true
	}
	v := c.rules.DecideMove(&a)
	if !v.Deny {
		return answer, false
	}
	w.beginReport(c, v)
	r := &c.report
	r.op, r.resource, r.detail = rules.FileWrite, a.Path, c.Spec.Words(&c.Args, c.word)
	return engine.Fail(unix.EACCES), true
}

// mounted lists the files and directories that a mount gives another name.
func (w *worker) mounted(c *call) []string {
	const again = unix.MS_REMOUNT | unix.MS_SHARED | unix.MS_PRIVATE | unix.MS_SLAVE | unix.MS_UNBINDABLE
	flags := c.Args[3]
	switch {
	case flags&again != 0:
		return nil
	case flags&(unix.MS_BIND|unix.MS_MOVE) != 0:
		source, err := c.process.ReadString(c.TID, c.Args[0], unix.PathMax)
		if err != nil {
			return nil // the kernel cannot read it either
		}
		return []string{source}
	case c.word(c.Args[2]) != "overlay":
		return nil
	}
	options, err := c.process.ReadString(c.TID, c.Args[4], maxOptions)
	if err != nil {
		return []string{"/"}
	}
	return overlaid(options)
}

// maxOptions is how long the options of a mount can be: the kernel copies a page.
const maxOptions = 4096

// overlaid lists the directories that an overlay is made of, by its options: those of
// lowerdir, which colons part, upperdir and workdir. In a name a backslash stands before a
// comma and a colon (Documentation/filesystems/overlayfs.rst). Kernels do not agree on
// other backslashes, so such a name is given with and without them.
func overlaid(options string) (dirs []string) {
	for _, option := range splitEscaped(options, ',') {
		name, value, _ := strings.Cut(option, "=")
		switch strings.TrimSpace(name) {
		case "upperdir", "workdir":
			dirs = append(dirs, readings(value)...)
		case "lowerdir", "lowerdir+", "datadir+":
			for _, dir := range splitEscaped(value, ':') {
				if dir != "" { // "::" parts data from layers
					dirs = append(dirs, readings(dir)...)
				}
			}
		}
	}
	return dirs
}

// splitEscaped cuts a text at a character, but for where a backslash stands before it. The
// backslashes stay.
func splitEscaped(text string, at byte) (parts []string) {
	begin := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case at:
			parts = append(parts, text[begin:i])
			begin = i + 1
		}
	}
	return append(parts, text[begin:])
}

// readings are the names that a name with backslashes may stand for.
func readings(text string) []string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		out.WriteByte(text[i])
	}
	if out.String() == text {
		return []string{text}
	}
	return []string{out.String(), text}
}
