package config

import (
	"strconv"
)

const (
	// defaultRate is far more than a source has to say that is not broken, and a
	// part of what can be stored.
	defaultRate        = 10_000
	defaultConnections = 1024
	minConnections     = 16
	maxLimit           = 1_000_000
)

// Limits bound what clients can ask for.
type Limits struct {
	Rate        int  // events per second of one source; 0 for no limit
	RateLocal   bool // loopback and Unix sockets have it too
	Connections int  // at a time
}

func limitSettings() []setting {
	return []setting{
		{path: "rate_limit", byDefault: strconv.Itoa(defaultRate), usage: "events a second of one source, 0 for no limit"},
		{path: "max_connections", byDefault: strconv.Itoa(defaultConnections), usage: "connections at a time, 16 or more"},
	}
}

func (l *loader) limits() Limits {
	n := Limits{Rate: defaultRate, Connections: defaultConnections}
	if v := l.get(setting{path: "rate_limit"}); v.text != "" {
		n.Rate, n.RateLocal = l.number(v, 0), true
	}
	if v := l.get(setting{path: "max_connections"}); v.text != "" {
		n.Connections = l.number(v, minConnections)
	}
	return n
}

func (l *loader) number(v value, least int) int {
	n, err := strconv.Atoi(v.text)
	if err != nil || n < least || n > maxLimit {
		l.problem("%s: %q is not a number from %d to %d", v.name, v.text, least, maxLimit)
	}
	return n
}
