package config

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

func (l *loader) limits() Limits {
	return Limits{Rate: l.number("rate_limit"), RateLocal: l.peek("rate_limit") != "", Connections: l.number("max_connections")}
}
