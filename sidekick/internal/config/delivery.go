package config

import (
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

const (
	defaultShutdownTimeout = "25s" // less than the 30 s that ECS and Kubernetes give before they kill
	minShutdownTimeout     = time.Second
	maxShutdownTimeout     = 10 * time.Minute

	defaultMaxAge = "168h"

	defaultDigestWindow = "60s"
	minDigestWindow     = time.Second
	maxDigestWindow     = 24 * time.Hour

	digestWindow       = "DIGEST_WINDOW" // at the end of a variable
	defaultMaxAttempts = 10
	maxMaxAttempts     = 1000

	maxConcurrency = 64

	forever = 100 * 365 * 24 * time.Hour
)

// concurrency is how many requests an output may have in flight. FalcoSidekick's
// name for it counts where ours is not given; it takes any number.
func (l *loader) concurrency(k outputs.Kind) int {
	if k.Serial {
		return 1
	}
	theirs := l.get(k.Block + ".maxconcurrentrequests")
	if theirs.text == "" || l.peek(k.Block+".concurrency") != "" {
		return l.number(k.Block + ".concurrency")
	}
	n, err := strconv.Atoi(theirs.text)
	if err != nil {
		l.problem("%s: %q is not a number", theirs.name, theirs.text)
	}
	return min(max(n, 1), maxConcurrency)
}

// delivery reads what concerns all outputs.
func (l *loader) delivery(c *Config) {
	c.ShutdownTimeout = l.duration("shutdown_timeout")
	c.Queue.MaxAge = l.duration("queue.max_age")
	l.digestWindow = l.duration("digest.window")
}

// digestWindowOf is that of one output, or else of all.
func (l *loader) digestWindowOf(k outputs.Kind) time.Duration {
	path := k.Block + ".digest_window"
	switch {
	case !k.Digests:
		return 0
	case l.peek(path) == "":
		return l.digestWindow
	}
	return l.duration(path)
}
