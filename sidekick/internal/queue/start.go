package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sys/unix"
)

const (
	// format is written beside the store once its streams are made: then they must be
	// there at the next start.
	format = "2\n"

	// openTimeout is after how long a store counts as one that does not open. A disk of
	// 10 MB a second reads the largest queue that is the default in a third of it.
	openTimeout = 10 * time.Minute
)

// errDamaged is wrapped by errors about a store that does not open because of what is
// in it.
var errDamaged = errors.New("store does not open")

// start opens the store in the queue's directory. One that does not open is set aside
// whole, for a human to look at.
func (q *Queue) start(ctx context.Context) error {
	err := q.openStore(ctx)
	if errors.Is(err, errDamaged) {
		q.stopStore()
		if cannot := q.cannotOpen(); cannot != nil {
			return fmt.Errorf("%w: %w", cannot, err)
		}
		var to string
		if to, err = q.putAside(err); err != nil {
			return err
		}
		q.log.Error("store of the queue does not open and is set aside with all its events, the queue begins empty", "to", to)
		q.aside.Add(1)
		err = q.openStore(ctx)
	}
	if err != nil {
		return err
	}
	q.remembered = make(chan struct{})
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	q.stopRemembering = stop
	q.remembering.Go(func() { q.rememberBatches(life) })
	q.warnOfVolume(ctx)
	q.checkDisk()
	return nil
}

// cannotOpen gives a reason for which the store does not open that is not in what it
// holds: the disk, or what this process may do.
func (q *Queue) cannotOpen() error {
	if q.ifDiskFull() != "" {
		return unix.ENOSPC
	}
	if err := writable(q.storeDir()); err != nil {
		return err
	}
	return filepath.WalkDir(q.storeDir(), func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			var f *os.File
			if f, err = os.Open(path); err == nil {
				return f.Close()
			}
		}
		for _, cause := range []error{fs.ErrPermission, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EROFS} {
			if errors.Is(err, cause) {
				return err
			}
		}
		return nil
	})
}

// putAside moves the store to a directory beside it.
func (q *Queue) putAside(cause error) (to string, err error) {
	to = damagedDir(q.dir)
	q.log.Error("store of the queue does not open", "dir", q.dir, "error", cause)
	if err := os.Rename(q.storeDir(), to); err != nil {
		return "", fmt.Errorf("set the store aside: %w", errors.Join(cause, err))
	}
	if err := os.RemoveAll(filepath.Join(q.dir, "format")); err != nil {
		return "", fmt.Errorf("set the store aside: %w", err)
	}
	return to, nil
}

// damagedDir names a new directory beside the store.
func damagedDir(dir string) string {
	return filepath.Join(dir, "damaged-"+time.Now().UTC().Format("20060102T150405.000Z"))
}

func (q *Queue) openStore(ctx context.Context) error {
	stocked, err := q.stocked()
	if err != nil {
		return err
	}
	if err := q.startServer(); err != nil {
		return err
	}
	q.conn, err = nats.Connect("", nats.InProcessServer(q.srv), nats.Name("queue"),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.NoEcho(),
		nats.SyncQueueLen(2*pullEvents), // what a consumer asked for, and statuses
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			q.log.Warn("store says", "error", err) // or else the client writes to standard error
		}))
	if err != nil {
		return fmt.Errorf("connect to the store: %w", err)
	}
	// Of each stream one chunk is outstanding at most.
	q.js, err = jetstream.New(q.conn, jetstream.WithPublishAsyncMaxPending(8*chunk),
		jetstream.WithPublishAsyncTimeout(ackTimeout), jetstream.WithDefaultTimeout(ackTimeout))
	if err != nil {
		return fmt.Errorf("use the store: %w", err)
	}
	for _, cfg := range q.streams() {
		if err := q.openStream(ctx, cfg, stocked); err != nil {
			return err
		}
	}
	if q.alerts, err = newAppender(q.conn, q.js, Alerts); err != nil {
		return err
	}
	if q.logs, err = newAppender(q.conn, q.js, Logs); err != nil {
		return err
	}
	return q.writeFormat()
}

// writeFormat leaves what is there until the new is whole: a crash or a full disk must
// not make it that of another version.
func (q *Queue) writeFormat() error {
	path := filepath.Join(q.dir, "format")
	if is, err := os.ReadFile(path); err == nil && string(is) == format {
		return nil
	}
	f, err := os.CreateTemp(q.dir, ".format-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(format)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write the format of the queue: %w", err)
	}
	return nil
}

// stocked says whether there is a store whose streams were made before.
func (q *Queue) stocked() (bool, error) {
	is, err := os.ReadFile(filepath.Join(q.dir, "format"))
	switch {
	case err == nil && string(is) == format:
		return true, nil
	case err == nil:
		other := strings.TrimSpace(string(is))
		if _, err := strconv.ParseUint(other, 10, 32); err == nil && other != strings.TrimSpace(format) {
			return false, fmt.Errorf("queue directory %s has the format %q of another version, this one knows %q", q.dir, other, strings.TrimSpace(format))
		}
		q.log.Warn("the file format of the queue is damaged and is written anew", "dir", q.dir, "bytes", len(is))
		return true, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return false, nil
}

// startServer bounds the server's start: over some damage it does not come back.
func (q *Queue) startServer() error {
	type result struct {
		srv *server.Server
		err error
	}
	started := make(chan result, 1)
	go func() {
		srv, err := startServer(storeConfig(q.storeDir(), q.sync), q.log)
		started <- result{srv, err}
	}()
	select {
	case r := <-started:
		q.srv = r.srv
		if r.err != nil {
			return fmt.Errorf("%w: %w", errDamaged, r.err)
		}
		return nil
	case <-time.After(openTimeout):
		// The server still has the files. They can be moved, but not opened again.
		err := fmt.Errorf("%w within %s", errDamaged, openTimeout)
		to, aside := q.putAside(err)
		if aside != nil {
			return aside
		}
		return fmt.Errorf("store does not open within %s and is set aside with all its events in %s: start again, with an empty queue", openTimeout, to)
	}
}

// openStream makes a stream, or finds it with what it held, and tells what of that is
// lost.
func (q *Queue) openStream(ctx context.Context, cfg jetstream.StreamConfig, stocked bool) error {
	if _, err := q.js.Stream(ctx, cfg.Name); stocked && cfg.Name != recentStream && errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: stream %s is not there any more", errDamaged, cfg.Name)
	}
	stream, err := q.js.CreateOrUpdateStream(ctx, cfg)
	if err != nil {
		err = fmt.Errorf("create stream %s: %w", cfg.Name, err)
		if _, answered := errors.AsType[*jetstream.APIError](err); answered && stocked {
			err = fmt.Errorf("%w: %w", errDamaged, err)
		}
		return err
	}
	switch cfg.Name {
	case recentStream:
		return nil
	case deadLetters:
		q.letters.begin(stream.CachedInfo().State)
		return nil
	}
	q.lost[Stream(cfg.Name)].look(stream.CachedInfo().State, q.log.With("stream", cfg.Name))
	all, err := outputs(ctx, stream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", cfg.Name, err)
	}
	q.floors[Stream(cfg.Name)] = deliveredTo(all)
	return nil
}

// losses counts events that the server had and could not read any more.
type losses struct {
	mu    sync.Mutex
	seen  uint64 // guarded by mu; among what is held
	total uint64 // guarded by mu
}

// look takes in what the server says. Nothing of ours removes an event from between
// others.
func (l *losses) look(state jetstream.StreamState, log *slog.Logger) {
	gaps := uint64(state.NumDeleted)
	if state.Lost != nil {
		gaps = max(gaps, uint64(len(state.Lost.Msgs)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if gaps > l.seen {
		log.Error("files of the queue were damaged, events are lost", "events", gaps-l.seen, "held", state.Msgs)
		l.total += gaps - l.seen
	}
	l.seen = gaps
}

func (l *losses) count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.total)
}

// stopStore ends the store and the connection to it.
func (q *Queue) stopStore() {
	if q.conn != nil {
		q.conn.Close()
	}
	if q.srv != nil {
		q.srv.Shutdown()
		q.srv.WaitForShutdown()
	}
}

// rememberBatches reads the newest events, so that a batch whose sender got no answer
// from an earlier process is not stored twice.
func (q *Queue) rememberBatches(ctx context.Context) {
	defer close(q.remembered)
	if err := q.newest(ctx, q.batches.remember); err != nil && ctx.Err() == nil {
		q.log.Warn("stored batches could not be looked at, one that is sent again can be stored twice", "error", err)
	}
}

// remember waits until that is known.
func (q *Queue) remember(ctx context.Context) error {
	if q.remembered == nil {
		return nil
	}
	select {
	case <-q.remembered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to know what is stored: %w", ctx.Err())
	}
}
