package queue

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mender looks at every file of the store before the server does. The server
// passes over damage without a word, gives up the rest of a file after it, and
// over some files does not come back. What a mender cannot read it moves to a
// directory beside the store, for a human to look at, and says so.
type mender struct {
	dir   string // of the queue
	store string // of the streams, within
	spare string // of copies of the streams' own files
	aside string // where damage goes; made when there is some
	log   *slog.Logger
	found func(id string) // gets the headerID of each event, oldest first; nil for nobody

	positionsCut bool // the newest positions may be lost, older ones be there
}

func newMender(dir string, log *slog.Logger) *mender {
	return &mender{
		dir: dir, log: log,
		store: filepath.Join(dir, "store", "jetstream", "$G", "streams"),
		spare: filepath.Join(dir, "spare"),
		aside: filepath.Join(dir, "damaged-"+time.Now().UTC().Format("20060102T150405.000Z")),
	}
}

// streamNames are those of all streams.
func streamNames() []string { return []string{string(Alerts), string(Logs), deadLetters, positions} }

// mend leaves nothing in the store that the server cannot read. Its error is that
// of a directory that cannot be written.
func (m *mender) mend() error {
	// The server's own ways to a stream must be directories too.
	for _, d := range []string{"store", "store/jetstream", "store/jetstream/$G", "store/jetstream/$G/streams"} {
		if ok, err := m.readable(filepath.Join(m.dir, d)); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	for _, name := range streamNames() {
		if err := m.stream(name); err != nil {
			return fmt.Errorf("mend stream %s: %w", name, err)
		}
	}
	return nil
}

// readable says whether there is a directory that can be read. Anything else in
// its place goes aside.
func (m *mender) readable(dir string) (bool, error) {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err == nil {
		_, err = os.ReadDir(dir)
	}
	if err != nil {
		return false, m.setAside(dir, err)
	}
	return true, nil
}

func (m *mender) stream(name string) error {
	dir := filepath.Join(m.store, name)
	ok, err := m.readable(dir)
	if err != nil {
		return err
	}
	if !ok {
		m.missing(name, dir)
		return nil
	}
	// What a consumer of the server's knows is not used: positions are messages of
	// ours. Its files have no checksum, and the server can hang over them.
	consumers := filepath.Join(dir, "obs")
	if err := os.RemoveAll(consumers); err != nil {
		if err := m.setAside(consumers, err); err != nil {
			return err
		}
	}
	if err := m.meta(name, dir); err != nil {
		return err
	}
	return m.messages(name, filepath.Join(dir, "msgs"))
}

// missing reports a stream that was there at the last start.
func (m *mender) missing(name, dir string) {
	if _, err := os.Stat(m.spareOf(name, "meta.inf")); err != nil {
		return // the first start
	}
	m.log.Error("files of the queue are missing, the stream begins empty", "stream", name, "dir", dir)
}

// messages mends the files that hold a stream's messages.
func (m *mender) messages(name, dir string) error {
	ok, err := m.readable(dir)
	if err != nil {
		return err
	}
	if !ok {
		m.log.Error("files of the queue are missing, the stream begins empty", "stream", name, "dir", dir)
		return nil
	}
	b := &blockMender{mender: m, stream: name, msgs: dir}
	changed, err := b.all()
	if err != nil {
		return err
	}
	last, err := m.index(name, filepath.Join(dir, "index.db"), changed)
	if err != nil {
		return err
	}
	m.positionsCut = m.positionsCut || name == positions && (changed || last > max(b.last, b.deleted))
	b.report(last)
	return nil
}

// index removes the server's summary of the messages where it is not that of what
// there is; the server makes another one. It gives the last sequence of which the
// summary tells, 0 when that is not known.
func (m *mender) index(name, path string, changed bool) (last uint64, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err == nil && !checksummed(name, content) {
		err = errors.New("checksum is wrong")
	}
	if err != nil {
		return 0, m.setAside(path, err)
	}
	last = lastOfIndex(content)
	if changed {
		return last, os.Remove(path)
	}
	return last, nil
}

// lastOfIndex reads the last sequence from a summary: after two bytes come, in
// variable length, messages, bytes, the first sequence, its time and the last.
func lastOfIndex(content []byte) uint64 {
	content = content[min(2, len(content)):]
	for i := 0; ; i++ {
		v, n := binary.Uvarint(content)
		if n <= 0 {
			return 0
		}
		if i == 4 {
			return v
		}
		content = content[n:]
	}
}

// checksummed says whether content ends with its own checksum.
func checksummed(name string, content []byte) bool {
	h, err := streamHash(name)
	end := len(content) - recordChecksum
	if err != nil || end < 0 {
		return false
	}
	_, _ = h.Write(content[:end]) // a hash takes everything
	return bytes.Equal(h.Sum(nil), content[end:])
}

// meta mends what the server knows of a stream itself: when it was made, by which
// the positions of outputs are told from those of another stream of the name.
func (m *mender) meta(name, dir string) error {
	problem := soundMeta(name, filepath.Join(dir, "meta.inf"), filepath.Join(dir, "meta.sum"))
	if problem == nil {
		return nil
	}
	for _, file := range []string{"meta.inf", "meta.sum"} {
		if err := m.setAside(filepath.Join(dir, file), problem); err != nil {
			return err
		}
	}
	if err := soundMeta(name, m.spareOf(name, "meta.inf"), m.spareOf(name, "meta.sum")); err != nil {
		m.log.Error("there is no copy of the stream's description, all events that are held come again", "stream", name, "error", err)
		return nil
	}
	for _, file := range []string{"meta.inf", "meta.sum"} {
		if err := copyFile(m.spareOf(name, file), filepath.Join(dir, file)); err != nil {
			return err
		}
	}
	return nil
}

func soundMeta(name, inf, sum string) error {
	content, err := os.ReadFile(inf)
	if err != nil {
		return err
	}
	want, err := os.ReadFile(sum)
	if err != nil {
		return err
	}
	h, err := streamHash(name)
	if err != nil {
		return err
	}
	_, _ = h.Write(content) // a hash takes everything
	if hex.EncodeToString(h.Sum(nil)) != string(want) {
		return errors.New("checksum is wrong")
	}
	return nil
}

// keepSpares copies what the server knows of the streams, once it runs.
func (m *mender) keepSpares() error {
	if err := os.MkdirAll(m.spare, 0o700); err != nil {
		return err
	}
	for _, name := range streamNames() {
		for _, file := range []string{"meta.inf", "meta.sum"} {
			if err := copyFile(filepath.Join(m.store, name, file), m.spareOf(name, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mender) spareOf(stream, file string) string {
	return filepath.Join(m.spare, stream+"."+file)
}

// setAside moves a file or directory out of the store. It is no error that there
// is none.
func (m *mender) setAside(path string, problem error) error {
	rel, err := filepath.Rel(m.dir, path)
	if err != nil {
		return err
	}
	to := filepath.Join(m.aside, rel)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("set damaged files aside: %w", err)
	}
	if err := os.Rename(path, to); errors.Is(err, fs.ErrNotExist) {
		m.log.Error("file of the queue is missing", "file", path)
		return nil
	} else if err != nil {
		return fmt.Errorf("set damaged files aside: %w", err)
	}
	m.log.Error("file of the queue is damaged and set aside", "file", path, "error", problem, "to", to)
	return nil
}

// copyFile replaces the file at to by a copy.
func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return replaceFile(to, content)
}

// replaceFile puts content at path, all of it or nothing.
func replaceFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// blockIndexes gives the numbers of a stream's files of messages, in order.
func blockIndexes(dir string) ([]int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var list []int
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), ".blk")
		if n, err := strconv.Atoi(digits); ok && err == nil {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}
