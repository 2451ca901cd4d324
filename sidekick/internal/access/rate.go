package access

import (
	"container/list"
	"math"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxSources are remembered. Who has not come for longest is forgotten, and so
	// begins anew.
	maxSources = 10_000

	// A source may save up what it could have sent in burstSeconds, at least
	// minBurst events.
	burstSeconds = 2
	minBurst     = 100
)

// Rate bounds how many events come from one source: an IPv4 address, a /64 of
// IPv6, or all Unix sockets together.
type Rate struct {
	perSecond float64
	burst     int
	exempt    bool // this machine's own

	mu      sync.Mutex
	sources map[netip.Prefix]*list.Element
	recent  list.List // of *source, the most recent first
}

type source struct {
	prefix netip.Prefix
	bucket *rate.Limiter
}

// NewRate allows perSecond events, at least 1, to each source. With exemptLocal,
// loopback and Unix sockets have no limit.
func NewRate(perSecond int, exemptLocal bool) *Rate {
	return &Rate{
		perSecond: float64(perSecond), burst: max(burstSeconds*perSecond, minBurst), exempt: exemptLocal,
		sources: map[netip.Prefix]*list.Element{},
	}
}

// Take counts events from the source of r and gives 0, or says how long it should
// wait before it tries again, and counts nothing. A batch that is larger than a
// source can save up passes when all is saved up, and is paid for afterwards. With
// 0 events it only says whether the source has still to pay.
func (l *Rate) Take(r *http.Request, events int) (wait time.Duration) {
	prefix := sourceOf(r.RemoteAddr)
	if l.exempt && (!prefix.IsValid() || prefix.Addr().IsLoopback()) {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	bucket := l.bucket(prefix)
	need := float64(min(max(events, 1), l.burst))
	if have := bucket.TokensAt(now); have < need {
		seconds := (need - have) / l.perSecond
		return time.Duration(math.Ceil(seconds)) * time.Second
	}
	for ; events > 0; events -= l.burst {
		bucket.ReserveN(now, min(events, l.burst))
	}
	return 0
}

func (l *Rate) bucket(prefix netip.Prefix) *rate.Limiter {
	if at, ok := l.sources[prefix]; ok {
		l.recent.MoveToFront(at)
		return at.Value.(*source).bucket
	}
	if l.recent.Len() >= maxSources {
		last := l.recent.Back()
		delete(l.sources, last.Value.(*source).prefix)
		l.recent.Remove(last)
	}
	s := &source{prefix: prefix, bucket: rate.NewLimiter(rate.Limit(l.perSecond), l.burst)}
	l.sources[prefix] = l.recent.PushFront(s)
	return s.bucket
}

// sourceOf gives the zero prefix for what has no IP address.
func sourceOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 64
	if ip.Is4() {
		bits = 32
	} else if ip.IsLoopback() {
		bits = 128 // or else ::1 were ::
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
