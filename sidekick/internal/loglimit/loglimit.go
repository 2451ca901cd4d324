// Package loglimit bounds how often the log says the same: it must not be those who
// send who fill it.
package loglimit

import (
	"sync"
	"time"
)

// Every is the time between two lines about the same.
const Every = time.Minute

// Counter counts what is logged now and then. The zero value is ready.
type Counter struct {
	mu     sync.Mutex
	count  int
	logged time.Time
}

// Add counts n more. It gives the number that the log should tell of now, or 0 where
// it has told less than Every ago.
func (c *Counter) Add(n int, now time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count += n
	if now.Sub(c.logged) < Every {
		return 0
	}
	n = c.count
	c.count, c.logged = 0, now
	return n
}
