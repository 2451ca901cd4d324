package queue

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Against a plain set: numbers are read in order and acknowledged in any.
func TestSpans(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var s spans
	want := map[uint64]bool{}
	next := uint64(1)
	for range 300 {
		for range random.IntN(20) {
			next += uint64(random.IntN(3)/2) + 1 // now and then one is missing
			s, want[next] = s.add(next), true
		}
		var gone []uint64
		for seq := range want {
			if random.IntN(4) == 0 {
				gone = append(gone, seq)
				delete(want, seq)
			}
		}
		if random.IntN(2) == 0 {
			gone = append(gone, next+1000) // was never there
		}
		slices.Sort(gone)
		s = s.without(gone)
		if s.count() != uint64(len(want)) {
			t.Fatalf("%d are left of %d", s.count(), len(want))
		}
		for seq := range next + 2 {
			if s.has(seq) != want[seq] {
				t.Fatalf("has %d: %v", seq, s.has(seq))
			}
		}
	}
	if half := s.upTo(next / 2); half.count() >= uint64(len(want)) || half.has(next/2+1) {
		t.Errorf("up to the half: %d of %d", half.count(), len(want))
	}
}

func TestPosition(t *testing.T) {
	for _, c := range []struct {
		text  string
		floor uint64
	}{
		{"17 0", 0},
		{"17 42", 42},
		{"17 42 7-7", 6},
		{"17 42 7-9 40-42", 6},
	} {
		p, err := parsePosition(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := string(p.encode()); got != c.text || p.floor() != c.floor {
			t.Errorf("%s became %s, with floor %d", c.text, got, p.floor())
		}
	}
	for _, text := range []string{"", "17", "x 1", "17 x", "17 -1", "17 42 7", "17 42 7-", "17 42 9-7", "17 42 7-9 9-10", "17 42 0-1", "17 42 41-43", "17  42"} {
		if p, err := parsePosition(text); err == nil {
			t.Errorf("%q is read as %+v", text, p)
		}
	}
}

// What a position has no room for comes again; it is not taken for delivered.
func TestLongPositionEndsEarly(t *testing.T) {
	p := position{created: 1}
	for seq := uint64(2); seq <= 10*maxSpans; seq += 2 {
		p.open = p.open.add(seq)
		p.last = seq
	}
	short, err := parsePosition(string(p.encode()))
	if err != nil {
		t.Fatal(err)
	}
	if len(short.open) != maxSpans || short.last != 2*maxSpans+1 || short.floor() != p.floor() {
		t.Errorf("%d rows, last %d", len(short.open), short.last)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("17 42 7-9 40-42")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil || len(p.open) > maxSpans {
			return
		}
		again, err := parsePosition(string(p.encode()))
		if err != nil || again.last != p.last || !slices.Equal(again.open, p.open) {
			t.Errorf("%q became %q: %v", text, p.encode(), err)
		}
	})
}

// A crash of the machine cost the end of the stream: what comes then has the
// numbers of what was lost, and must not be taken for it.
func TestPositionBeyondTheStream(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 3))
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	stream := filepath.Join(q.storeDir(), "jetstream", "$G", "streams", string(Alerts))
	synced := t.TempDir()
	if err := os.CopyFS(synced, os.DirFS(stream)); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	publish(t, q, alerts(3, 10))
	r := reader(t, q, "slack", Alerts)
	take(t, r, 10, true)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(stream); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(stream, os.DirFS(synced)); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	reader(t, q, "slack", Alerts)
	publish(t, q, alerts(10, 13))
	if err := q.Close(); err != nil { // nothing was acknowledged in between
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	r = reader(t, q, "slack", Alerts)
	if got := take(t, r, 3, false); !slices.Equal(got, ids(10, 13)) {
		t.Errorf("got %v", got)
	}
}

func TestUnreadablePositionStartsAnew(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 2))
	take(t, reader(t, q, "slack", Alerts), 2, true)
	if _, err := q.js.Publish(t.Context(), positionSubject(Alerts, "slack"), []byte(strings.Repeat("\x00", 8))); err != nil {
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	if got := take(t, reader(t, q, "slack", Alerts), 2, false); !slices.Equal(got, ids(0, 2)) {
		t.Errorf("got %v", got)
	}
}
