package queue

import (
	"maps"
	"slices"
	"testing"
	"time"
)

func TestRecent(t *testing.T) {
	made, now := time.Unix(5, 7), time.Unix(100, 0)
	var r recent
	r.add([]uint64{1, 2, 3, 7}, now)
	r.add([]uint64{8, 4}, now.Add(recentFor/2))
	for _, c := range []struct {
		name string
		last uint64
		made time.Time
		want []uint64
	}{
		{"all", 100, made, []uint64{1, 2, 3, 4, 7, 8}},
		{"the stream's end was lost", 7, made, []uint64{1, 2, 3, 4, 7}},
		{"of another consumer", 100, now, nil},
	} {
		got, err := parseRecent(string(r.encode(made)), c.made, c.last)
		if all := slices.Sorted(maps.Keys(got)); err != nil || !slices.Equal(all, c.want) {
			t.Errorf("%s: got %v, %v", c.name, all, err)
		}
	}
	r.add([]uint64{20}, now.Add(2*recentFor))
	r.add([]uint64{21}, now.Add(4*recentFor))
	if got := string(r.encode(made)); got != "5000000007 20-20 21-21 " {
		t.Errorf("later: %q", got)
	}
	for i := range uint64(2 * recentSpans) {
		r.add([]uint64{100 + 2*i}, now.Add(5*recentFor))
	}
	if len(r.spans) != recentSpans {
		t.Errorf("%d spans are kept", len(r.spans))
	}
}

func FuzzRecent(f *testing.F) {
	f.Add("5 1-2 7-7 ")
	f.Add("5 18446744073709551615-18446744073709551615")
	f.Add("5 1-18446744073709551615")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseRecent(text, time.Unix(0, 5), 100)
		for seq := range all {
			if seq > 100 || err != nil {
				t.Errorf("%q: %d, %v", text, seq, err)
			}
		}
	})
}
