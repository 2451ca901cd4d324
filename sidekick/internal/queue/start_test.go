package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

func streamsDir(dir string) string { return filepath.Join(dir, "store/jetstream/$G/streams") }

// stockedDir gives a directory whose queue holds 100 alerts in three files, of which
// slack has acknowledged ten.
func stockedDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles})
	for i := range 100 {
		e := alert(fmt.Sprintf("a-%d", i))
		e.Alert.Source = strings.Repeat("x", 600)
		publish(t, q, []schema.Event{e})
	}
	take(t, reader(t, q, "slack", Alerts), 10, true)
	if err := q.DeadLetter(t.Context(), "slack", "no", time.Now(), alert("dead")); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// smallFiles is a limit with which the server makes files of 32 KiB.
const smallFiles = 100 << 10

// Whatever is damaged, the queue opens, takes events and gives them, and says what it
// lost or set aside.
func TestDamage(t *testing.T) {
	zero := func(from, to float64) func(string) error {
		return func(path string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			clear(b[int(from*float64(len(b))):int(to*float64(len(b)))])
			return os.WriteFile(path, b, 0o600)
		}
	}
	cut := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()/2)
	}
	garbage := func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte{0xa5}, 5000), 0o600) }
	file := func(path string) error {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		return os.WriteFile(path, []byte("x"), 0o600)
	}
	for _, c := range []struct {
		name, path string
		damage     func(string) error
		aside      bool // all is set aside
		least      int  // so many events come again at least
	}{
		{"first file, middle", "ALERTS/msgs/1.blk", zero(0.4, 0.6), false, 60},
		{"first file, begin", "ALERTS/msgs/1.blk", zero(0, 0.1), false, 60},
		{"first file gone", "ALERTS/msgs/1.blk", os.Remove, false, 60},
		{"second file, middle", "ALERTS/msgs/2.blk", zero(0.4, 0.6), false, 60},
		{"second file gone", "ALERTS/msgs/2.blk", os.Remove, false, 50},
		{"second file garbage", "ALERTS/msgs/2.blk", garbage, false, 50},
		{"last file cut", "ALERTS/msgs/3.blk", cut, false, 70},
		{"last file gone", "ALERTS/msgs/3.blk", os.Remove, false, 60},
		{"index gone", "ALERTS/msgs/index.db", os.Remove, false, 90},
		{"index garbage", "ALERTS/msgs/index.db", garbage, false, 90},
		{"all files gone", "ALERTS/msgs", os.RemoveAll, false, 0},
		{"description gone", "ALERTS/meta.inf", os.Remove, true, 0},
		{"description garbage", "ALERTS/meta.inf", garbage, true, 0},
		{"its checksum gone", "ALERTS/meta.sum", os.Remove, true, 0},
		{"stream gone", "LOGS", os.RemoveAll, true, 0},
		{"stream is a file", "ALERTS", file, true, 0},
		{"dead letters gone", "DEADLETTERS", os.RemoveAll, true, 0},
		{"consumer's state cut", "ALERTS/obs/slack/o.dat", cut, false, 100},
		{"consumer's state garbage", "ALERTS/obs/slack/o.dat", garbage, false, 100},
		{"consumer's state gone", "ALERTS/obs/slack/o.dat", os.Remove, false, 90},
		{"consumer's description garbage", "ALERTS/obs/slack/meta.inf", garbage, false, 90},
		{"consumers gone", "ALERTS/obs", os.RemoveAll, false, 100},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, killed %v", c.name, killed), func(t *testing.T) {
				dir := stockedDir(t)
				if killed { // a server that is killed leaves no summary
					if err := os.Remove(filepath.Join(streamsDir(dir), "ALERTS/msgs/index.db")); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.damage(filepath.Join(streamsDir(dir), c.path)); err != nil && !(killed && os.IsNotExist(err)) {
					t.Fatal(err)
				}
				var log bytes.Buffer
				q := open(t, Options{Dir: dir, AlertBytes: smallFiles, Log: slog.New(slog.NewTextHandler(&log, nil))})
				got := upToMarker(t, q)
				aside, err := filepath.Glob(filepath.Join(dir, "damaged-*"))
				position := strings.HasPrefix(c.name, "consumer's state ") && c.least == 100
				if err != nil || (len(aside) == 1) != (c.aside || position) || q.aside.Load() != int64(len(aside)) {
					t.Errorf("set aside %v, %v, want %v", aside, err, c.aside)
				}
				for _, dir := range aside {
					if !strings.Contains(log.String(), dir) {
						t.Errorf("log does not tell of %s:\n%s", dir, &log)
					}
				}
				if len(got) < c.least || c.aside && len(got) != 0 {
					t.Errorf("%d events came, want %d, log:\n%s", len(got), c.least, &log)
				}
				stream, err := q.js.Stream(t.Context(), string(Alerts))
				if err != nil {
					t.Fatal(err)
				}
				tr := &trimmer{q: q, stream: Alerts}
				if err := tr.trim(t.Context(), time.Now()); err != nil {
					t.Fatal(err)
				}
				if gaps := stream.CachedInfo().State.NumDeleted; gaps > 0 && (q.lost[Alerts].count() != int64(gaps) || !strings.Contains(log.String(), "events are lost")) {
					t.Errorf("%d are missing, %d counted, log:\n%s", gaps, q.lost[Alerts].count(), &log)
				}
			})
		}
	}
}

// A crash of the machine can cost the end of the stream after all of it was
// acknowledged. New events take the numbers of those, and come all the same.
func TestEndIsLost(t *testing.T) {
	dir := stockedDir(t)
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles})
	take(t, reader(t, q, "slack", Alerts), 90, true)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"index.db", "3.blk"} {
		if err := os.Remove(filepath.Join(streamsDir(dir), "ALERTS/msgs", name)); err != nil {
			t.Fatal(err)
		}
	}
	q = open(t, Options{Dir: dir, AlertBytes: smallFiles})
	r := reader(t, q, "slack", Alerts)
	publish(t, q, alerts(200, 240))
	if got := take(t, r, 40, true); !slices.Equal(got, ids(200, 240)) {
		t.Errorf("got %v", got)
	}
}

// A start after an orderly stop has nothing to say.
func TestStartAfterOrderlyStop(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		var log bytes.Buffer
		q := open(t, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
		r := reader(t, q, "slack", Alerts)
		publish(t, q, alerts(10*round, 10*round+10))
		if got := take(t, r, 10, true); !slices.Equal(got, ids(10*round, 10*round+10)) {
			t.Errorf("round %d: got %v", round, got)
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		if text := log.String(); text != "" {
			t.Errorf("round %d: the log says %s", round, text)
		}
	}
}

// upToMarker reads for slack up to an event that is stored now.
func upToMarker(t *testing.T, q *Queue) []string {
	t.Helper()
	r := reader(t, q, "slack", Alerts)
	if err := q.Publish(t.Context(), pack(alert("marker")), false); err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		id := take(t, r, 1, true)[0]
		if id == "marker" {
			return got
		}
		got = append(got, id)
	}
}

// A start that is given up leaves the store as it is.
func TestStartIsGivenUp(t *testing.T) {
	dir := stockedDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	q := open(t, Options{Dir: dir, AlertBytes: smallFiles})
	if got := upToMarker(t, q); len(got) != 90 {
		t.Errorf("%d events came, want 90", len(got))
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(aside) > 0 {
		t.Errorf("set aside: %v", aside)
	}
}

// A crash while the format was written, or a disk that was full then, costs nothing.
func TestDamagedFormat(t *testing.T) {
	for _, is := range []string{"", "\x00\x00", "2", "nonsense\n"} {
		dir := stockedDir(t)
		file := filepath.Join(dir, "format")
		if err := os.WriteFile(file, []byte(is), 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, Options{Dir: dir, AlertBytes: smallFiles})
		if got := upToMarker(t, q); len(got) != 90 {
			t.Errorf("%q: %d events came, want 90", is, len(got))
		}
		if aside, _ := filepath.Glob(filepath.Join(dir, "damaged-*")); len(aside) > 0 {
			t.Errorf("%q: set aside: %v", is, aside)
		}
		if now, err := os.ReadFile(file); err != nil || string(now) != format {
			t.Errorf("%q: the format is %q, error %v", is, now, err)
		}
	}
}

func TestNewerFormat(t *testing.T) {
	dir := stockedDir(t)
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(context.Background(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), `has the format "3" of another version`) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(streamsDir(dir)); err != nil {
		t.Errorf("the store is touched: %v", err)
	}
}
