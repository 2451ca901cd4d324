package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// ledger is what one receiver got: which events, how often, in which order, in
// which life of the sidekick.
type ledger struct {
	mu         sync.Mutex
	rows       []*row // one for each poster that this receiver gets
	life       int    // 1 for the first sidekick
	received   int    // events, repeated ones included
	afterKills []int  // duplicates by life: those whose first delivery was by an earlier sidekick
	unforced   int    // duplicates within a life
	disorder   int    // first deliveries behind a later event of the same poster
	firstOdd   string // the first of the last two
}

// row is the events of one poster.
type row struct {
	poster *poster
	lives  []uint16 // by sequence number: the last life that delivered it, 0 for none
	high   int      // highest number that was delivered, -1 for none
}

func newLedger(posters []*poster) *ledger {
	l := &ledger{}
	for _, p := range posters {
		l.rows = append(l.rows, &row{poster: p, high: -1})
	}
	l.nextLife()
	return l
}

// nextLife is called while no sidekick runs.
func (l *ledger) nextLife() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.life++
	l.afterKills = append(l.afterKills, 0)
}

// take notes events that the receiver answers for with a success.
func (l *ledger) take(ids []id) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range ids {
		at := slices.IndexFunc(l.rows, func(r *row) bool { return r.poster.number == i.poster })
		if at < 0 {
			return fmt.Errorf("event of poster %d, which this output does not get", i.poster)
		}
		l.note(l.rows[at], i)
	}
	return nil
}

func (l *ledger) note(r *row, i id) {
	l.received++
	for len(r.lives) <= i.seq {
		r.lives = append(r.lives, make([]uint16, 4096)...)
	}
	before := int(r.lives[i.seq])
	r.lives[i.seq] = uint16(l.life)
	switch {
	case before == l.life:
		l.unforced++
		l.odd("%s came twice without a kill (life %d)", i, l.life)
	case before != 0:
		l.afterKills[l.life-1]++
	case i.seq < r.high:
		l.disorder++
		l.odd("%s came for the first time after %s (life %d)", i, id{i.poster, r.high}, l.life)
	}
	r.high = max(r.high, i.seq)
}

func (l *ledger) odd(format string, a ...any) {
	if l.firstOdd == "" {
		l.firstOdd = fmt.Sprintf(format, a...)
	}
}

// missing is how many accepted events have not come.
func (l *ledger) missing() int {
	n := 0
	for _, gap := range l.gaps() {
		n += gap.to - gap.from + 1
	}
	return n
}

// distinct is how many different events have come.
func (l *ledger) distinct() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, r := range l.rows {
		for _, life := range r.lives {
			if life != 0 {
				n++
			}
		}
	}
	return n
}

// gap is a run of accepted events of one poster that have not come.
type gap struct{ poster, from, to int }

func (g gap) String() string {
	return fmt.Sprintf("%s to %d (%d)", id{g.poster, g.from}, g.to, g.to-g.from+1)
}

func (l *ledger) gaps() []gap {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gaps []gap
	for _, r := range l.rows {
		open := false
		for seq := range r.poster.accepted() {
			if seq < len(r.lives) && r.lives[seq] != 0 {
				open = false
				continue
			}
			if !open {
				gaps = append(gaps, gap{poster: r.poster.number, from: seq})
			}
			gaps[len(gaps)-1].to, open = seq, true
		}
	}
	return gaps
}

// wanted is how many events this receiver should have.
func (l *ledger) wanted() int {
	n := 0
	for _, r := range l.rows {
		n += r.poster.accepted()
	}
	return n
}

// id tells one event: its poster and its place in what that posts.
type id struct{ poster, seq int }

func (i id) String() string { return fmt.Sprintf("soak-%d-%d", i.poster, i.seq) }

func parseID(s string) (i id, err error) {
	if _, err := fmt.Sscanf(s, "soak-%d-%d", &i.poster, &i.seq); err != nil {
		return id{}, fmt.Errorf("%.80q is no event of ours", s)
	}
	return i, nil
}

func join[T fmt.Stringer](list []T, most int) string {
	var all []string
	for _, one := range list[:min(len(list), most)] {
		all = append(all, one.String())
	}
	if len(list) > most {
		all = append(all, "…")
	}
	return strings.Join(all, ", ")
}
