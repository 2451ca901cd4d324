// Command tracer starts a container's program under seccomp, reports what it
// executes, opens and connects to, and denies what KubeArmor policies block. It
// delivers nothing to people: the sidekick does.
package main

import (
	"os"
	"runtime"
)

func main() {
	// All that falls to this process as a parent falls to its first thread: what is
	// started and waited for is so on one thread. (The runtime begins here with that
	// thread, unless it has given it away in the meantime: then more is woken.)
	runtime.LockOSThread()
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
