package main

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// report says what a run gave, as tables in Markdown.
type report struct {
	options   options
	posters   []*poster
	receivers []*receiver
	side      *sidekick
	drained   time.Duration // how long after the last event was posted
	status    int           // of the last sidekick, after SIGTERM
}

// write writes it. ok says that nothing is wrong.
func (r *report) write(w io.Writer) (ok bool) {
	var posted, taken, repeats int64
	for _, p := range r.posters {
		posted, taken, repeats = posted+p.posted.Load(), taken+p.taken.Load(), repeats+p.repeats.Load()
	}
	kills := r.side.kills()
	fmt.Fprintf(w, "\n%d events sent, %d answered with 200, %d requests repeated, %d kills, drained after %s, exit status %d\n\n",
		posted, taken, repeats, kills, r.drained.Round(time.Second), r.status)
	fmt.Fprintln(w, "| output | accepted | received, distinct | lost | duplicates | most after one kill (batch) | without a kill | out of order | failures |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|")
	ok = r.status == 0 && taken > 0
	for _, one := range r.receivers {
		ok = r.output(w, one) && ok
	}
	r.details(w)
	r.memory(w)
	return ok
}

func (r *report) output(w io.Writer, one *receiver) (ok bool) {
	l := one.ledger
	lost, distinct := l.missing(), l.distinct()
	l.mu.Lock()
	defer l.mu.Unlock()
	most, twice := slices.Max(l.afterKills), l.unforced
	for _, n := range l.afterKills {
		twice += n
	}
	fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d (%d) | %d | %d | %d |\n",
		one.name, l.wanted(), distinct, lost, twice, most, one.batch, l.unforced, l.disorder, one.faults.total())
	return lost == 0 && l.unforced == 0 && l.disorder == 0 && most <= one.batch && one.failure() == nil
}

// details names what is wrong.
func (r *report) details(w io.Writer) {
	for _, one := range r.receivers {
		if gaps := one.ledger.gaps(); len(gaps) > 0 {
			fmt.Fprintf(w, "\n%s never got %s\n", one.name, join(gaps, 20))
		}
		one.ledger.mu.Lock()
		if odd := one.ledger.firstOdd; odd != "" {
			fmt.Fprintf(w, "\n%s: %s\n", one.name, odd)
		}
		fmt.Fprintf(w, "\n%s, duplicates by life: %v\n", one.name, one.ledger.afterKills)
		one.ledger.mu.Unlock()
		if err := one.failure(); err != nil {
			fmt.Fprintf(w, "\n%s: %v\n", one.name, err)
		}
	}
}

// memory shows resident memory, twelve times over the run.
func (r *report) memory(w io.Writer) {
	r.side.mu.Lock()
	defer r.side.mu.Unlock()
	samples := r.side.samples
	if len(samples) == 0 {
		return
	}
	largest := slices.MaxFunc(samples, func(a, b sample) int { return int(a.bytes - b.bytes) })
	fmt.Fprintf(w, "\nresident: first %d MB, last %d MB, most %d MB (after %s); start to ready: most %s\n",
		samples[0].bytes/1e6, samples[len(samples)-1].bytes/1e6, largest.bytes/1e6, largest.at.Round(time.Second),
		slices.Max(r.side.starts).Round(time.Millisecond))
	fmt.Fprintln(w, "\n| after | resident, MB |\n|---|---|")
	for i := range 12 {
		s := samples[i*(len(samples)-1)/11]
		fmt.Fprintf(w, "| %s | %d |\n", s.at.Round(time.Second), s.bytes/1e6)
	}
}
