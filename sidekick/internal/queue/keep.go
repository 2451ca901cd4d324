package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	copyInterval = 10 * time.Second // how old the copy of the positions may be
	lostInterval = time.Minute      // at most so often the log tells of lost dead letters

	// removedSubject holds how many dead letters were removed on purpose, ever: of
	// all that were there, what is neither held nor removed was lost.
	removedSubject = "positions.deadletters.removed"
)

// keeper does now and then what keeps the queue's own records in order.
type keeper struct {
	q       *Queue
	copied  time.Time
	watched time.Time
	known   bool
	lost    uint64 // dead letters
}

func (k *keeper) keep(ctx context.Context, now time.Time) {
	if now.Sub(k.copied) >= copyInterval {
		k.copied = now
		if err := k.q.copyPositions(); err != nil {
			k.q.log.Warn("copying positions failed", "error", err)
		}
	}
	if now.Sub(k.watched) >= lostInterval {
		k.watched = now
		k.watch(ctx)
	}
}

// watch tells of dead letters that gave way to newer ones.
func (k *keeper) watch(ctx context.Context) {
	stream, err := k.q.js.Stream(ctx, deadLetters)
	if err != nil {
		return // what else needs the store tells
	}
	lost := k.q.lostLetters(stream.CachedInfo().State)
	if k.known && lost > k.lost {
		k.q.log.Warn("dead letters gave way to newer ones and are lost",
			"dead_letters", lost-k.lost, "limit_bytes", deadLetterBytes)
	}
	k.known, k.lost = true, lost
}

func (q *Queue) lostLetters(state jetstream.StreamState) uint64 {
	q.removing.Lock()
	defer q.removing.Unlock()
	if gone := state.LastSeq - state.Msgs; gone > q.removed {
		return gone - q.removed
	}
	return 0
}

// countRemoved counts a dead letter that was removed on purpose. The caller holds
// removing.
func (q *Queue) countRemoved(ctx context.Context) error {
	q.removed++
	if _, err := q.js.Publish(ctx, removedSubject, strconv.AppendUint(nil, q.removed, 10)); err != nil {
		return fmt.Errorf("count removed dead letters: %w", err)
	}
	return nil
}

func (q *Queue) recallRemoved(ctx context.Context) error {
	text, err := q.recorded(ctx, removedSubject)
	if err != nil {
		return fmt.Errorf("recall removed dead letters: %w", err)
	}
	n, _ := strconv.ParseUint(text, 10, 64) // 0 if there is none
	q.removing.Lock()
	q.removed = n
	q.removing.Unlock()
	return nil
}

// recorded is the newest record of a subject in POSITIONS, "" if there is none.
func (q *Queue) recorded(ctx context.Context, subject string) (string, error) {
	stream, err := q.js.Stream(ctx, positions)
	if err != nil {
		return "", err
	}
	msg, err := stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(msg.Data), nil
}

func (q *Queue) positionsCopy() string { return filepath.Join(q.dir, "spare", "positions.json") }

// copyPositions writes the positions of all readers to a file beside the store, for
// the case that those in it cannot be read. It is some seconds old then, which
// repeats what was delivered since, and not everything.
func (q *Queue) copyPositions() error {
	records := map[string]string{}
	for _, s := range []Stream{Alerts, Logs} {
		for _, r := range q.readersOf(s) {
			r.mu.Lock()
			if r.isStored { // or the next start would miss it in the store
				records[positionSubject(s, r.name)] = string(r.pos.encode())
			}
			r.mu.Unlock()
		}
	}
	if len(records) == 0 {
		return nil // nobody reads: it stays as it is
	}
	q.removing.Lock()
	defer q.removing.Unlock()
	if q.removed > 0 {
		records[removedSubject] = strconv.FormatUint(q.removed, 10)
	}
	if maps.Equal(records, q.copied) {
		return nil
	}
	content, err := json.MarshalIndent(records, "", " ")
	if err != nil {
		return fmt.Errorf("encode positions: %w", err)
	}
	if err := replaceFile(q.positionsCopy(), append(content, '\n')); err != nil {
		return err
	}
	q.copied = records
	return nil
}

// restorePositions takes from the copy what is missing in the store and, where the
// newest may have been lost in it, what is older there. Otherwise an older one is
// right: a position goes back with its stream.
func (q *Queue) restorePositions(ctx context.Context, newestLost bool) error {
	content, err := os.ReadFile(q.positionsCopy())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var records map[string]string
	if err == nil {
		err = json.Unmarshal(content, &records)
	}
	if err != nil {
		q.log.Warn("copy of the positions cannot be read, it is made again", "error", err)
		return nil
	}
	for _, subject := range slices.Sorted(maps.Keys(records)) {
		stored, err := q.recorded(ctx, subject)
		if err != nil {
			return fmt.Errorf("compare positions with their copy: %w", err)
		}
		if stored != "" && !(newestLost && newer(records[subject], stored)) {
			continue
		}
		if _, err := q.js.Publish(ctx, subject, []byte(records[subject])); err != nil {
			return fmt.Errorf("restore position %s: %w", subject, err)
		}
		q.log.Warn("position was lost and is restored from its copy; what was delivered since the copy was made comes again", "position", subject)
	}
	return nil
}

// newer says whether a copied record tells more than the stored one.
func newer(copied, stored string) bool {
	a, err := parseRecord(copied)
	if err != nil {
		return false
	}
	b, err := parseRecord(stored)
	if err != nil {
		return true
	}
	return a.created == b.created && (a.floor() > b.floor() || a.floor() == b.floor() && a.last > b.last)
}

// parseRecord reads a position, or a count as if it were one.
func parseRecord(text string) (position, error) {
	if !strings.Contains(text, " ") {
		text = "0 " + text
	}
	return parsePosition(text)
}
