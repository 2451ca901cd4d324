package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// maxBlockBytes is more than a file of messages has: the server begins another
// after 8 MiB, and a message may have 2.
const maxBlockBytes = 64 << 20

// gap is some sequences of which there is no message.
type gap struct{ from, to uint64 }

// blockMender mends the files that hold the messages of one stream.
type blockMender struct {
	*mender
	stream string
	msgs   string // directory
	buf    []byte // of the file that is looked at; one at a time

	last    uint64 // sequence of a message that was seen
	deleted uint64 // sequence up to which messages were deleted
	gaps    []gap  // between messages that were seen
}

// all says whether anything had to be changed.
func (b *blockMender) all() (changed bool, err error) {
	indexes, err := blockIndexes(b.msgs)
	if err != nil {
		return false, err
	}
	for i, index := range indexes {
		damaged, err := b.one(index, false)
		if err != nil {
			return changed, err
		}
		// The server removes a file that has no messages left, but for the last.
		if len(b.buf) == 0 && !damaged && i < len(indexes)-1 {
			b.log.Error("file of the queue is empty", "file", b.path(index))
			damaged = true
		}
		changed = changed || damaged
	}
	if !changed || b.stream != positions {
		return changed, nil
	}
	// The newest position of an output may have been lost. The one before was
	// deleted when that came, and may be there still: it counts again.
	for _, index := range indexes {
		if _, err := b.one(index, true); err != nil {
			return true, err
		}
	}
	return true, nil
}

// report says how many events were lost. Events are deleted from the front alone,
// so that one which is not there was lost, now or before an earlier start.
func (b *blockMender) report(lastBefore uint64) {
	if b.stream != string(Alerts) && b.stream != string(Logs) {
		return
	}
	if lastBefore > b.last {
		b.gaps = append(b.gaps, gap{b.last + 1, lastBefore})
	}
	var missing uint64
	for _, g := range b.gaps {
		if from := max(g.from, b.deleted+1); from <= g.to {
			missing += g.to - from + 1
		}
	}
	if missing > 0 {
		b.log.Error("events of the queue are lost", "stream", b.stream, "events", missing)
	}
}

// count looks for sequences that are not there.
func (b *blockMender) count(records []part) {
	for _, r := range records {
		seq, deletes := recordSeq(b.buf[r.from:r.to])
		switch {
		case deletes:
			b.deleted = max(b.deleted, seq)
		case seq > b.last:
			if b.last > 0 && seq > b.last+1 {
				b.gaps = append(b.gaps, gap{b.last + 1, seq - 1})
			}
			b.last = seq
		}
	}
}

// tell finds the IDs that a sender may repeat. The server would be asked for as much
// in five times the time.
func (b *blockMender) tell(records []part) {
	if b.found == nil || b.stream != string(Alerts) && b.stream != string(Logs) {
		return
	}
	for _, r := range records {
		if id := recordID(b.buf[r.from:r.to]); id != "" {
			b.found(id)
		}
	}
}

// one mends one file, and with undelete takes the marks of deleted messages out.
func (b *blockMender) one(index int, undelete bool) (changed bool, err error) {
	path := b.path(index)
	if err := b.read(path); err != nil {
		if undelete && errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return true, b.setAside(path, err)
	}
	h, err := blockHash(b.stream, index)
	if err != nil {
		return false, err
	}
	records, damage := scanBlock(b.buf, h)
	if !undelete {
		b.count(records)
		b.tell(records)
	}
	if len(damage) == 0 && !undelete {
		return false, nil
	}
	for _, d := range damage {
		if err := b.cut(path, d); err != nil {
			return true, err
		}
	}
	sound := make([]byte, 0, len(b.buf))
	kept := 0
	for _, r := range records {
		if _, deletes := recordSeq(b.buf[r.from:r.to]); undelete && deletes {
			continue
		}
		sound = append(sound, b.buf[r.from:r.to]...)
		kept++
	}
	if len(damage) > 0 {
		b.log.Error("file of the queue is damaged, the damage is cut out", "file", path, "records_kept", kept, "places", len(damage))
	}
	if kept == 0 {
		return true, os.Remove(path)
	}
	return true, replaceFile(path, sound)
}

func (b *blockMender) path(index int) string {
	return filepath.Join(b.msgs, strconv.Itoa(index)+".blk")
}

// read reads a file into buf.
func (b *blockMender) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a file")
	}
	if info.Size() > maxBlockBytes {
		return fmt.Errorf("%d bytes are more than a file of messages has", info.Size())
	}
	if n := int(info.Size()); cap(b.buf) < n {
		b.buf = make([]byte, n)
	} else {
		b.buf = b.buf[:n]
	}
	for at := 0; at < len(b.buf); {
		n, err := f.ReadAt(b.buf[at:], int64(at))
		if at += n; err != nil && at < len(b.buf) {
			return err
		}
	}
	return nil
}

// cut writes damage to a file of its own, named by where it was.
func (b *blockMender) cut(path string, d part) error {
	rel, err := filepath.Rel(b.dir, path)
	if err != nil {
		return err
	}
	to := filepath.Join(b.aside, rel+".at-"+strconv.Itoa(d.from))
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("set damaged files aside: %w", err)
	}
	if err := os.WriteFile(to, b.buf[d.from:d.to], 0o600); err != nil {
		return fmt.Errorf("set damaged files aside: %w", err)
	}
	b.log.Error("part of a file of the queue is damaged and set aside", "file", path, "at", d.from, "bytes", d.len(), "to", to)
	return nil
}
