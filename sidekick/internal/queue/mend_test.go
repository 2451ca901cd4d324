package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"

	"github.com/nats-io/nats.go/jetstream"
)

// Files of messages are small where the limit is.
const smallFiles = 120_000

// damage is what can become of a file or a directory.
type damage struct {
	name string
	do   func(path string) error
}

func flip(at int) damage {
	return damage{fmt.Sprintf("byte %d", at), func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		content[(at+len(content))%len(content)] ^= 0xff
		return os.WriteFile(path, content, 0o600)
	}}
}

func appended(text string) damage {
	return damage{"torn record", func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, append(content, text...), 0o600)
	}}
}

func cutAt(share float64) damage {
	return damage{fmt.Sprintf("cut to %v", share), func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, int64(share*float64(info.Size())))
	}}
}

func gone() damage { return damage{"gone", os.RemoveAll} }

// other is a file in the place of a directory, or a directory in that of a file.
func other() damage {
	return damage{"not a file, or not a directory", func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if info.IsDir() {
			return os.WriteFile(path, []byte("x"), 0o600)
		}
		return os.Mkdir(path, 0o700)
	}}
}

func streamsDir(dir string) string { return filepath.Join(dir, "store/jetstream/$G/streams") }

// stocked gives a directory whose queue holds 100 alerts in three files, of which
// slack has acknowledged the first ten and one more.
func stocked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles})
	for i := range 100 {
		e := alert(fmt.Sprintf("a-%d", i))
		e.Alert.Source = strings.Repeat("x", 600)
		publish(t, q, []schema.Event{e})
	}
	r := reader(t, q, "slack", Alerts)
	for range 10 {
		take(t, r, 1, true)
	}
	if err := q.DeadLetter(t.Context(), "slack", "no", alert("x").Received, alert("dead")); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if indexes, err := blockIndexes(filepath.Join(streamsDir(dir), "ALERTS/msgs")); err != nil || !slices.Equal(indexes, []int{1, 2, 3}) {
		t.Fatalf("files %v, %v; the damages below are to three", indexes, err)
	}
	return dir
}

// reopened opens a damaged queue and reads everything, up to an event that is
// stored now. It gives the numbers of the events.
func reopened(t *testing.T, dir string, log *slog.Logger) []int {
	t.Helper()
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles, Log: log})
	defer q.Close()
	r := reader(t, q, "slack", Alerts)
	if err := q.Publish(t.Context(), pack(alert("marker")), false); err != nil {
		t.Fatal(err)
	}
	var got []int
	for {
		id := take(t, r, 1, false)[0]
		var i int
		if id == "marker" {
			return got
		} else if _, err := fmt.Sscanf(id, "a-%d", &i); err != nil {
			t.Fatalf("event %q", id)
		}
		got = append(got, i)
	}
}

func TestDamagedFiles(t *testing.T) {
	src := stocked(t)
	// What each file holds is counted from what is left without it.
	var held [4][]int
	for i := 1; i <= 3; i++ {
		dir := copied(t, src)
		if err := os.Remove(filepath.Join(streamsDir(dir), fmt.Sprintf("ALERTS/msgs/%d.blk", i))); err != nil {
			t.Fatal(err)
		}
		left := reopened(t, dir, slog.New(slog.DiscardHandler))
		for e := 10; e < 100; e++ {
			if !slices.Contains(left, e) {
				held[i] = append(held[i], e)
			}
		}
	}
	type test struct {
		file  string
		by    damage
		lost  []int // no other than these are lost
		again int   // so many of the ten acknowledged may come again
		says  string
	}
	var tests []test
	add := func(file string, by damage, lost []int, again int, says string) {
		tests = append(tests, test{file, by, lost, again, says})
	}
	for i := 1; i <= 3; i++ {
		path := fmt.Sprintf("ALERTS/msgs/%d.blk", i)
		var first []int // the first of the first file is delivered
		if i > 1 {
			first = held[i][:1]
		}
		n := len(held[i])
		for _, at := range []int{0, 4, 12, 20, 22, 29, 40} { // of length, sequence, time, subject, headers, event
			add(path, flip(at), first, 0, "is damaged")
		}
		add(path, flip(-1), held[i][n-1:], 0, "is damaged")
		add(path, flip(-300), held[i][n-1:], 0, "is damaged")
		add(path, cutAt(0.5), held[i][n/4:], 0, "queue")
		add(path, cutAt(0), held[i], 0, "")
		add(path, gone(), held[i], 0, "")
		add(path, other(), held[i], 0, "is damaged and set aside")
		add(path, appended("\x00\x02\x00\x00torn"), nil, 0, "is damaged")
	}
	for _, path := range []string{"ALERTS/msgs/index.db", "ALERTS/meta.inf", "ALERTS/meta.sum", "POSITIONS/msgs/index.db", "POSITIONS/meta.inf", "DEADLETTERS/msgs/1.blk"} {
		for _, by := range []damage{flip(0), flip(10), flip(-1), cutAt(0.5), cutAt(0), other()} {
			says := "is damaged"
			if path == "DEADLETTERS/msgs/1.blk" && by.name == "cut to 0" {
				says = ""
			}
			add(path, by, nil, 0, says)
		}
		add(path, gone(), nil, 0, "")
	}
	for _, by := range []damage{flip(0), flip(10), flip(-1), cutAt(0.5), cutAt(0), gone(), other()} {
		add("POSITIONS/msgs/1.blk", by, nil, 0, "")
	}
	everything := make([]int, 100)
	for i := range everything {
		everything[i] = i
	}
	for _, by := range []damage{gone(), other()} {
		add("ALERTS", by, everything, 0, "queue")
		add("ALERTS/msgs", by, everything, 0, "queue")
		add("ALERTS/obs", by, nil, 0, "")
		add("POSITIONS", by, nil, 0, "restored from its copy")
		add("POSITIONS/msgs", by, nil, 0, "restored from its copy")
		add("DEADLETTERS", by, nil, 0, "")
		add("../..", by, everything, 0, "queue") // jetstream
		add("../../..", by, everything, 0, "queue")
	}
	for _, c := range tests {
		t.Run(strings.ReplaceAll(c.file, "/", "-")+" "+c.by.name, func(t *testing.T) {
			dir := copied(t, src)
			if err := c.by.do(filepath.Join(streamsDir(dir), c.file)); err != nil {
				t.Fatal(err)
			}
			var log strings.Builder
			got := reopened(t, dir, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})))
			if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Errorf("out of order, or twice: %v", got)
			}
			again := 0
			for e := range 100 {
				switch came := slices.Contains(got, e); {
				case e < 10 && came:
					again++
				case e >= 10 && !came && !slices.Contains(c.lost, e):
					t.Errorf("event %d is lost", e)
				}
			}
			if again > c.again {
				t.Errorf("%d events come again", again)
			}
			if !strings.Contains(log.String(), c.says) {
				t.Errorf("the log does not say %q", c.says)
			}
			if t.Failed() {
				t.Logf("got %v, log:\n%s", got, &log)
			}
		})
	}
}

func copied(t *testing.T, src string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(src)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What is sound is left alone, byte by byte, however the sidekick ended.
func TestSoundFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	runAndKill(t, dir, 60)
	for _, dir := range []string{dir, stocked(t)} {
		before := files(t, dir)
		if err := newMender(dir, slog.New(slog.NewTextHandler(t.Output(), nil))).mend(); err != nil {
			t.Fatal(err)
		}
		if after := files(t, dir); !slices.Equal(before, after) {
			t.Errorf("%v\nbecame\n%v", before, after)
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		list = append(list, fmt.Sprintf("%s %x", path, streamSum(content)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func streamSum(content []byte) []byte {
	h, err := streamHash("test")
	if err != nil {
		panic(err)
	}
	h.Write(content)
	return h.Sum(nil)
}

// What was cut out is beside the queue, and is all that is missing from it.
func TestDamageIsSetAside(t *testing.T) {
	dir := stocked(t)
	path := filepath.Join(streamsDir(dir), "ALERTS/msgs/2.blk")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := flip(5000).do(path); err != nil {
		t.Fatal(err)
	}
	reopened(t, dir, slog.New(slog.DiscardHandler))
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	aside, err := filepath.Glob(filepath.Join(dir, "damaged-*Z/store/jetstream/$G/streams/ALERTS/msgs/2.blk.at-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("set aside %v, %v", aside, err)
	}
	cut, err := os.ReadFile(aside[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(cut) == 0 || len(cut) > 2000 || len(cut)+len(after) != len(before) {
		t.Errorf("%d bytes became %d, and %d are set aside", len(before), len(after), len(cut))
	}
	// The next start has nothing to set aside.
	reopened(t, dir, slog.New(slog.DiscardHandler))
	if all, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(all) != 1 {
		t.Errorf("set aside %v", all)
	}
}

func TestCannotBeWritten(t *testing.T) {
	dir := stocked(t)
	if err := flip(100).do(filepath.Join(streamsDir(dir), "ALERTS/msgs/2.blk")); err != nil {
		t.Fatal(err)
	}
	m := newMender(dir, slog.New(slog.DiscardHandler))
	m.aside = "/proc/self/damaged"
	if err := m.mend(); !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "/proc/self/damaged") {
		t.Errorf("error %v", err)
	}
}

// A stream that lost its end has its positions go back. Their copy, which knows
// better, must not bring them forward over events that came since.
func TestPositionsStayBack(t *testing.T) {
	dir := stocked(t)
	if err := os.RemoveAll(filepath.Join(streamsDir(dir), "ALERTS/msgs")); err != nil {
		t.Fatal(err)
	}
	spare := filepath.Join(dir, "spare/positions.json")
	old, err := os.ReadFile(spare)
	if err != nil {
		t.Fatal(err)
	}
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles, Log: slog.New(slog.DiscardHandler)})
	take(t, reader(t, q, "slack", Alerts), 0, false)
	publish(t, q, alerts(200, 220))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spare, old, 0o600); err != nil { // as if it was killed before the next copy
		t.Fatal(err)
	}
	if got := reopened(t, dir, slog.New(slog.DiscardHandler)); len(got) != 20 || got[0] != 200 {
		t.Errorf("got %v", got)
	}
}

func TestDiskFull(t *testing.T) {
	// The kernel's own has no space at all.
	if got := (&Queue{dir: "/proc"}).ifDiskFull(); got != ", whose disk is full" {
		t.Errorf("got %q", got)
	}
	if got := (&Queue{dir: t.TempDir()}).ifDiskFull(); got != "" {
		t.Errorf("got %q", got)
	}
}

func FuzzScanBlock(f *testing.F) {
	dir := f.TempDir()
	q, err := Open(context.Background(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	if err := q.Publish(context.Background(), pack(alerts(0, 3)...), true); err != nil {
		f.Fatal(err)
	}
	if err := q.Close(); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(filepath.Join(streamsDir(dir), "ALERTS/msgs/1.blk"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(append([]byte{1, 2, 3}, sound...))
	f.Add(sound[:len(sound)-3])
	f.Fuzz(func(t *testing.T, buf []byte) {
		h, err := blockHash("ALERTS", 1)
		if err != nil {
			t.Fatal(err)
		}
		records, damage := scanBlock(buf, h)
		// Every byte is in one of both.
		parts := append(slices.Clone(records), damage...)
		slices.SortFunc(parts, func(a, b part) int { return a.from - b.from })
		at := 0
		for _, p := range parts {
			if p.from != at || p.to <= p.from {
				t.Fatalf("%v", parts)
			}
			at = p.to
		}
		if at != len(buf) {
			t.Fatalf("%v of %d bytes", parts, len(buf))
		}
		for _, r := range records {
			recordSeq(buf[r.from:r.to])
		}
	})
}

// A file that begins with the mark of a message deleted long ago does not look as if
// all between were lost; a gap between messages does.
func TestDeletedIsNotLost(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 10))
	stream, err := q.js.Stream(t.Context(), string(Alerts))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSequence(4)); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	msgs := filepath.Join(dir, "store", "jetstream", "$G", "streams", string(Alerts), "msgs")
	block := filepath.Join(msgs, "1.blk")
	content, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	h, err := blockHash(string(Alerts), 1)
	if err != nil {
		t.Fatal(err)
	}
	records, damage := scanBlock(content, h)
	if len(records) < 13 || len(damage) > 0 {
		t.Fatalf("%d records, %v", len(records), damage)
	}
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep func(seq uint64) bool
		want string
	}{
		{func(seq uint64) bool { return seq >= 8 }, ""},
		{func(seq uint64) bool { return seq >= 5 && seq != 7 }, "events=1"},
	} {
		var marks, messages []byte
		for _, r := range records {
			record := content[r.from:r.to]
			switch seq, deletes := recordSeq(record); {
			case deletes:
				marks = append(marks, record...)
			case c.keep(seq):
				messages = append(messages, record...)
			}
		}
		if err := os.WriteFile(block, slices.Concat(marks, messages), 0o600); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := newMender(dir, slog.New(slog.NewTextHandler(&text, nil))).mend(); err != nil {
			t.Fatal(err)
		}
		if lost := strings.Contains(text.String(), "are lost"); lost != (c.want != "") || !strings.Contains(text.String(), c.want) {
			t.Errorf("want %q in\n%s", c.want, &text)
		}
	}
}
