package main

import (
	"os/exec"
	"syscall"
)

// maxResident is the most memory that a command held while it ran, in MB.
func maxResident(cmd *exec.Cmd) float64 {
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / 1000
}
