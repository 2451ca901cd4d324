// Command tracer starts a container's program under seccomp, reports what it
// executes, opens and connects to, and denies what KubeArmor policies block. It
// delivers nothing to people: the sidekick does.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}
