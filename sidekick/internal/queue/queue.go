// Package queue is the sidekick's durable store: events are on disk before
// Publish returns, or with most servers of a cluster, and every output reads them
// with a durable consumer of its own that outlives the process. It does not know what
// outputs do with them.
package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// Stream is one of the two queues. They have limits of their own, so that a
// flood of logs cannot push out an alert.
type Stream string

// The streams.
const (
	Alerts Stream = "ALERTS" // KubeArmor alerts and Falco events
	Logs   Stream = "LOGS"   // KubeArmor logs
)

const (
	deadLetters = "DEADLETTERS"

	// MaxMessageBytes bounds one stored event: schema.MaxEventBytes as posted,
	// with room for what re-encoding and custom fields add.
	MaxMessageBytes = 2 << 20

	// A sender repeats a batch that was not answered; delivered events stay for so
	// long that what it repeats is recognised after a restart too.
	duplicateWindow = 2 * time.Minute
	leastDuplicates = 100 * time.Millisecond // the server takes no less, and 0 for two minutes

	defaultBytes    = 384 << 20
	deadLetterBytes = 64 << 20

	// publishers may store at once in a store of our own. chunk is how many events are
	// sent before the answers for them are waited for.
	publishers = 64
	chunk      = 256

	// commitMost is how many events are stored together. Of each stream that is the most
	// that waits in the server's memory, of its limit of 100,000 and 128 MiB.
	commitMost = 1024

	ackTimeout = 10 * time.Second // how long the store may take to answer
)

// Options say where a queue is and how large it may grow.
type Options struct {
	Dir        string   // owned by this process alone while the queue is open
	Bytes      int64    // at most so many bytes of events, two thirds of them for alerts; 0 is 384 MiB
	AlertBytes int64    // instead of Bytes, for alerts; 0 is by Bytes
	LogBytes   int64    // instead of Bytes, for logs; 0 is by Bytes
	History    History  // of a store of our own
	SyncAlways bool     // every event is on the disk before Publish returns; else the files are synced every ten seconds
	Cluster    *Cluster // where events are stored instead of in Dir; nil for Dir
	Log        *slog.Logger
}

// Queue is an open queue. Its methods may be called concurrently.
type Queue struct {
	dir    string
	limits map[Stream]int64
	log    *slog.Logger
	sync   bool // of every event

	cluster    *Cluster       // nil for a store of our own
	lock       *os.File       // nil with a cluster
	srv        *server.Server // nil with a cluster
	maxMessage int            // bytes
	conn       *nats.Conn
	js         jetstream.JetStream
	slots      chan struct{} // one per concurrent Publish

	batches      *batches
	alerts, logs *appender // nil with a cluster

	stopRemembering context.CancelFunc // nil with a cluster, and before the start
	remembering     sync.WaitGroup
	remembered      chan struct{} // closed when batches knows what an earlier process stored; nil with a cluster

	mu        sync.Mutex
	consumers []*Consumer // guarded by mu

	history  *history
	floors   map[Stream]uint64 // what every output had at the start, math.MaxUint64 for no output
	letters  letterCount
	ages     ages
	spare    spare
	pressure map[Stream]*pressure // of both streams
	lost     map[Stream]*losses   // of both streams
	aside    atomic.Int64         // stores, and positions of outputs, that did not open

	refusedAlerts, refusedLogs atomic.Int64 // because of a limit

	diskLow   atomic.Bool
	diskTight atomic.Bool                      // for logs
	free      func(dir string) (uint64, error) // bytes
	space     space
}

// Open starts the embedded store in opts.Dir, which it creates when it is
// missing. It fails when the directory cannot be written or when another process
// has it open. With opts.Cluster it connects to that, and fails when it cannot be
// used within its time.
func Open(ctx context.Context, opts Options) (*Queue, error) {
	bytes := orDefault(opts.Bytes, defaultBytes)
	q := &Queue{
		dir:  opts.Dir,
		log:  opts.Log,
		sync: opts.SyncAlways,
		limits: map[Stream]int64{
			Alerts: orDefault(opts.AlertBytes, bytes-bytes/3),
			Logs:   orDefault(opts.LogBytes, bytes/3),
		},
		slots:      make(chan struct{}, publishers),
		batches:    newBatches(),
		pressure:   map[Stream]*pressure{Alerts: {}, Logs: {}},
		lost:       map[Stream]*losses{Alerts: {}, Logs: {}},
		cluster:    opts.Cluster,
		history:    newHistory(opts),
		floors:     map[Stream]uint64{},
		maxMessage: MaxMessageBytes,
		free:       freeOn,
	}
	if c := q.cluster; c != nil {
		q.slots = make(chan struct{}, clusterPublishers)
		if err := q.join(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("open the queue in the cluster: %w", err), q.Close())
		}
		return q, nil
	}
	var err error
	if q.lock, err = lockDir(opts.Dir); err != nil {
		return nil, err
	}
	if err := q.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the queue in %s%s: %w", opts.Dir, q.ifDiskFull(), err), q.Close())
	}
	return q, nil
}

// streams are what the streams are made like.
func (q *Queue) streams() []jetstream.StreamConfig {
	base := jetstream.StreamConfig{
		Storage:    jetstream.FileStorage,
		Retention:  jetstream.LimitsPolicy,
		Discard:    jetstream.DiscardNew, // full means refused, never forgotten
		Duplicates: duplicateWindow,
		NoAck:      false,
	}
	alerts, logs, dead, recent := base, base, base, base
	if q.cluster == nil {
		// See batches. The server would read all events of the window at the start.
		alerts.Duplicates, logs.Duplicates = leastDuplicates, leastDuplicates
	}
	alerts.Name, alerts.Subjects, alerts.MaxBytes = string(Alerts), []string{"alerts"}, q.limits[Alerts]
	logs.Name, logs.Subjects, logs.MaxBytes = string(Logs), []string{"logs"}, q.limits[Logs]

	// A dead letter was refused for good by its output and reported; when there
	// are more than fit, the oldest give way.
	dead.Name, dead.Subjects, dead.MaxBytes = deadLetters, []string{"deadletters.*"}, deadLetterBytes
	dead.Discard = jetstream.DiscardOld

	recent.Name, recent.Subjects, recent.MaxBytes = recentStream, []string{"recent.*.*"}, recentBytes
	recent.Discard, recent.MaxMsgsPerSubject = jetstream.DiscardOld, 1

	if q.cluster != nil {
		return []jetstream.StreamConfig{alerts, logs, dead}
	}
	return []jetstream.StreamConfig{alerts, logs, dead, recent}
}

func (q *Queue) storeDir() string { return filepath.Join(q.dir, "store") }

// Close stops the store, or the connection to the cluster. Readers and publishers
// end with errors; what was stored stays.
func (q *Queue) Close() error {
	if q.cluster != nil {
		q.leave()
		return nil
	}
	q.leaveConsumers()
	if q.stopRemembering != nil {
		q.stopRemembering()
	}
	q.remembering.Wait()
	q.stopStore()
	// The lock goes last: until now the files were ours.
	if err := q.lock.Close(); err != nil {
		return fmt.Errorf("close the queue's lock: %w", err)
	}
	return nil
}

// StreamOf says which stream an event belongs to.
func StreamOf(e *schema.Event) Stream { return streamOf(e.Kind) }

func streamOf(k schema.Kind) Stream {
	if k == schema.KindLog {
		return Logs
	}
	return Alerts
}

func (s Stream) subject() string {
	if s == Logs {
		return "logs"
	}
	return "alerts"
}

func orDefault[T int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}
