package supervise

import "golang.org/x/sys/unix"

// returnValue is what a call returns to a thread that has stopped behind it.
func returnValue(r *unix.PtraceRegs) int64 { return int64(r.Rax) }
