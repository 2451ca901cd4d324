package main

import "golang.org/x/sys/unix"

// hideMemory keeps the memory and the environment of this process, which hold the
// secrets, out of core files and from other processes of the same user, such as those
// of a task that shares its processes (pidMode task). RLIMIT_CORE would not do: a
// core that goes to a program instead of a file does not look at it (core(5)).
func hideMemory() {
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) // fails for other values only
}
