package main

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// gcPercent trades processor time for memory: with 50 the heap grows to one and
	// a half of what is live, with Go's 100 to twice that.
	gcPercent = 50

	// memoryShare of what the container may use is where the collector begins to
	// work as hard as it takes; the rest is for what is not the heap's.
	memoryShare = 0.9

	// usualLimit is where it does so even if there is room for more. What is live is
	// below 50 MiB but for the largest bodies; beyond are the store's buffers, which
	// come and go with a flood. The pages of the program itself, some 40 MiB, come on
	// top.
	usualLimit = 96 << 20
)

// prepare sets what holds for the whole process.
func prepare(getenv func(string) string) {
	hideMemory()
	limitMemory(getenv)
}

// limitMemory sets how the garbage collector works, unless GOGC and GOMEMLIMIT do.
func limitMemory(getenv func(string) string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(usualLimit)
	// The container's limit under cgroup v2 and v1, as it sees it itself.
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(path); err == nil {
			if limit := memoryLimit(string(text)); limit > 0 {
				debug.SetMemoryLimit(min(limit, usualLimit))
			}
			return
		}
	}
}

// memoryLimit is the heap's part of a limit as the kernel writes it; 0 for none.
func memoryLimit(text string) int64 {
	bytes, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || bytes <= 0 || bytes > 1<<50 { // "max", or v1's word for it
		return 0
	}
	return int64(float64(bytes) * memoryShare)
}
