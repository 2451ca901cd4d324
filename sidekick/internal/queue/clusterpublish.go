package queue

import (
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// clusterPublishers is how many may publish at once to a cluster: an answer takes
	// longer than from a store of our own.
	clusterPublishers = 32

	// An event that the cluster does not answer for is sent again, until publishWait is
	// over: the tracer waits ten seconds for its answer, and the cluster needs some
	// to choose a leader.
	attemptTimeout = 2 * time.Second
	attemptPause   = 200 * time.Millisecond
	publishWait    = 7 * time.Second

	// payloadOverhead is what a server must take beyond an event: headers, and what a dead
	// letter adds.
	payloadOverhead = 64 << 10

	clusterTrimInterval = 5 * time.Second
)

var (
	errNoAnswer     = errors.New("cluster does not answer")
	errNoConnection = errors.New("no connection to the cluster")
)

// chunkForCluster stores some of the events, and tries again those that the
// cluster did not answer for. When it is too late for that, later chunks are not
// tried at all: their sender is to come again.
func (p *publication) chunkForCluster(from, to int) {
	if p.gaveUp {
		for i := from; i < to; i++ {
			p.failed[i] = errNoAnswer
		}
		return
	}
	start := time.Now()
	at := make([]int, 0, to-from)
	for i := from; i < to; i++ {
		at = append(at, i)
	}
	p.send(at)
	for {
		var again []int
		for i := from; i < to; i++ {
			if err := p.failed[i]; err != nil && mayPass(err) {
				again = append(again, i)
			}
		}
		if len(again) == 0 {
			return
		}
		if time.Since(start) > orDefault(p.q.cluster.tryFor, publishWait) {
			p.gaveUp = true
			return
		}
		time.Sleep(attemptPause)
		for _, i := range again {
			delete(p.failed, i)
		}
		p.send(again)
	}
}

// mayPass says whether an error may be over in a moment: that of a leader that is
// being chosen, of a connection that is made again.
func mayPass(err error) bool {
	if _, ok := errors.AsType[*TooLargeError](err); ok || errors.Is(err, ErrFull) || errors.Is(err, nats.ErrConnectionClosed) {
		return false
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return !ok || api.Code == 503 || api.Code == 500
}
