package config

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
)

const (
	defaultShutdownTimeout = "25s" // less than the 30 s that ECS and Kubernetes give before they kill
	minShutdownTimeout     = time.Second
	maxShutdownTimeout     = 10 * time.Minute

	defaultMaxAge = "168h"
	minMaxAge     = time.Minute

	defaultDigestWindow = "60s"
	minDigestWindow     = time.Second
	maxDigestWindow     = 24 * time.Hour

	digestWindow       = "DIGEST_WINDOW" // at the end of a variable
	defaultMaxAttempts = 10
	maxMaxAttempts     = 1000

	maxConcurrency = 64

	forever = 100 * 365 * 24 * time.Hour
)

func deliverySettings() []setting {
	return []setting{
		{path: "shutdown_timeout", byDefault: defaultShutdownTimeout, usage: "how long an orderly stop may take"},
		{path: "queue.max_age", byDefault: defaultMaxAge, usage: "how old an event may become before it is a dead letter, 0 for no limit"},
		{path: "digest.window", byDefault: defaultDigestWindow, usage: "similar events within it become one message, 0 for never"},
	}
}

// deliverySettingsOf are those of one output.
func deliverySettingsOf(k outputs.Kind) []setting {
	all := []setting{{path: k.Block + ".max_attempts", byDefault: strconv.Itoa(defaultMaxAttempts), usage: "attempts for an event that fails while others get through"}}
	if !k.Serial {
		all = append(all,
			setting{path: k.Block + ".concurrency", byDefault: "1", usage: "requests in flight at a time; order is kept only with 1"},
			setting{path: k.Block + ".maxconcurrentrequests", usage: "FalcoSidekick's name for the one above"})
	}
	if k.Digests {
		all = append(all, setting{path: k.Block + ".digest_window", usage: "instead of DIGEST_WINDOW, for outputs that have digests"})
	}
	return all
}

// maxAttempts is how often an output tries what fails while others get through.
func (l *loader) maxAttempts(k outputs.Kind) int {
	v := l.get(setting{path: k.Block + ".max_attempts"})
	if v.text == "" {
		return defaultMaxAttempts
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || n < 1 || n > maxMaxAttempts {
		l.problem("%s: %q is not a number from 1 to %d", v.name, v.text, maxMaxAttempts)
	}
	return n
}

// concurrency is how many requests an output may have in flight. FalcoSidekick's
// name for it counts where ours is not given; it takes any number.
func (l *loader) concurrency(k outputs.Kind) int {
	if k.Serial {
		return 1
	}
	v, theirs := l.get(setting{path: k.Block + ".concurrency"}), l.get(setting{path: k.Block + ".maxconcurrentrequests"})
	own := v.text != ""
	if !own {
		v = theirs
	}
	if v.text == "" {
		return 1
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || own && (n < 1 || n > maxConcurrency) {
		l.problem("%s: %q is not a number from 1 to %d", v.name, v.text, maxConcurrency)
	}
	return min(max(n, 1), maxConcurrency)
}

// delivery reads what concerns all outputs.
func (l *loader) delivery(c *Config) {
	c.ShutdownTimeout = l.duration("shutdown_timeout", minShutdownTimeout, maxShutdownTimeout, false)
	c.Queue.MaxAge = l.duration("queue.max_age", minMaxAge, forever, true)
	l.digestWindow = l.duration("digest.window", minDigestWindow, maxDigestWindow, true)
}

// digestWindowOf is that of one output, or else of all.
func (l *loader) digestWindowOf(k outputs.Kind) time.Duration {
	path := k.Block + ".digest_window"
	switch {
	case !k.Digests:
		return 0
	case l.peek(setting{path: path}) == "":
		return l.digestWindow
	}
	return l.duration(path, minDigestWindow, maxDigestWindow, true)
}

// duration reads a duration; zero, where that is allowed, turns something off.
func (l *loader) duration(path string, least, most time.Duration, off bool) time.Duration {
	v := l.get(setting{path: path})
	text := v.text
	if text == "" {
		text = l.known[path].byDefault
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		l.problem("%s: %q is not a duration, such as 90s or 12h", v.name, text)
	case off && d == 0:
	case d < least || d > most:
		limits := fmt.Sprintf("%v and %v", least, most)
		if off {
			limits += ", or 0"
		}
		l.problem("%s: %q is not within %s", v.name, text, limits)
	}
	return d
}
