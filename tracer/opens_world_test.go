package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The tracer opens files in its callers' place. What it cannot be from there, it
// has to ask for: each section of the victim is about something of the process,
// the directory or the name that the kernel goes by.
func TestOpensGoByTheCallersWorld(t *testing.T) {
	for section, line := range map[string]string{
		"no_descriptor_left": "limit 0 of 3, cut: EMFILE",
		"openat2_checks":     "longer, not zero: E2BIG",
		"names":              "make new/(4): EISDIR",
		"unnamed":            "link: No such file or directory",
		"masks":              "umask 77, unnamed 7777: 107700",
		"acls":               "wide, new: 100666 ",
		"sticky":             "1000: make alone sticky/own: EEXIST",
		"deep":               "through /proc: deep",
		"gone":               "make: ENOENT",
		"renamed":            "unlinked, with another of its name: moved",
		"own":                "/proc/self/mem to write: opened",
		"descriptors":        "/proc/self/fd socket r: ENXIO",
	} {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			known := ""
			if section == "no_descriptor_left" && onPtrace() {
				known = "^after [0-9]+ EMFILE" // one more is needed for a moment
			}
			scene{argv: victimOf(t, "worlds.py", section), lines: []string{line}, known: known}.test(t)
		})
	}
}

// An open that waits, for the other side of a pipe or for the holder of a lease,
// waits as long as it must and no longer: signals, the caller's death and other
// calls of the workload are not held up.
func TestOpensThatWait(t *testing.T) {
	scene{
		argv: []string{built(t, "waiting.c")}, as: []caller{asItself, asContainer, asUser},
		lines: []string{"early: 0, an ordinary open meanwhile: opened", "opened: 40", "all: 90"},
	}.test(t)
}

// Nothing of the tracer's keeps a file open that the workload has closed, nor
// counts as another user of one that it has open.
func TestWhatIsClosedIsClosed(t *testing.T) {
	scene{argv: []string{built(t, "closing.c")}, lines: []string{"locked: 0", "text busy: 0", "no lease: 0", "no end: 0"}}.test(t)
}

// What a caller can see of its opens besides their result is as without the tracer:
// how arguments and names are read, who is told of them, what the descriptor does and
// what is told of it, and who may make them meanwhile.
func TestWhatComesWithAnOpen(t *testing.T) {
	for sections, with := range map[string]scene{
		// Memory that can be written and not read is a processor's alone.
		"arguments strings links": {lines: []string{"ends with the page: None", "40 links: text", "41 links: ELOOP"}, known: "^protection 2"},
		"watchers times":          {lines: []string{"   f modify", "   new create; new open; new closed written"}, known: "^   (script|interpreter) open"},
		"lengthy notices locks":   {lines: []string{"write more: EFBIG", "lease broken SIGIO", "held by the parent True"}},
		"descriptor users lowest": {lines: []string{"rw, map shared: shown True", "['mine']", "none: [0, 1, 2]"}},
		"threads groups killed":   {lines: []string{"thread 0o100600 inside", "done"}},
		"executed":                {lines: []string{"4|a", "run: ETXTBSY", "busy 1", "secure 0"}},
		"special":                 {lines: []string{"full: ENOSPC"}},
	} {
		t.Run(sections, func(t *testing.T) {
			t.Parallel()
			with.argv, with.as = victimOf(t, "kinds.py", strings.Fields(sections)...), []caller{asItself, asContainer, asUser}
			with.test(t)
		})
	}
}

// Opening /dev/tty gives the terminal of whoever opens it, which need not be the
// tracer's.
func TestOwnTerminal(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		skip(t, err)
	}
	const inner = `tty >/dev/null && test -t 0 && (exec 3<>/dev/tty) && echo opened
tty | sed "s/[0-9]*$/N/"; tty </dev/tty; stat -Lc %t:%T /dev/tty; echo to the terminal >/dev/tty
setsid sh -c "(exec 3<>/dev/tty) 2>/dev/null || echo none after setsid"
exec 3</dev/tty; readlink /proc/self/fd/3 | sed "s/[0-9]*$/N/"`
	scene{
		argv:  []string{"sh", "-c", "(exec 3<>/dev/tty) 2>/dev/null || echo none; script -qec '" + inner + "' /dev/null </dev/null"},
		known: `^/dev/(tty|pts/)`, // /dev/tty is opened by the terminal's own name
		lines: []string{"opened\r", "to the terminal\r", "none after setsid\r"},
	}.test(t)
}

// A workload of root that mounts, enters another root or takes a namespace opens
// what is there, and the rules hold there too.
func TestOtherRootsAndMounts(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, to mount")
	}
	for _, who := range []caller{asItself, asNotTracer} {
		who.around = []string{"unshare", "-m"} // so that nothing stays mounted
		scene{argv: victimOf(t, "roots.py"), as: []caller{who}, lines: []string{"in the namespace: inside", "pivoted: inside"}}.test(t)
	}
	scene{argv: victimOf(t, "roots.py", "chroot"), as: roots, lines: []string{"in the root: in the root"}}.test(t)
}
