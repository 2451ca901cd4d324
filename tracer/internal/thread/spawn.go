package thread

/*
#include "thread.h"
*/
import "C"

import (
	"runtime/cgo"

	"golang.org/x/sys/unix"
)

// Spawn runs f on a new OS thread that has the credentials of this one, and with
// them its Landlock domain. (The threads of the Go runtime have those of its first.)
// The goroutine is locked to this thread.
func Spawn(f func()) error {
	task := cgo.NewHandle(f)
	if err := C.sidearmor_spawn(C.uintptr_t(task)); err != 0 {
		task.Delete()
		return unix.Errno(err)
	}
	return nil
}

//export sidearmorThread
func sidearmorThread(task C.uintptr_t) {
	h := cgo.Handle(task)
	f, _ := h.Value().(func())
	h.Delete()
	f()
}
