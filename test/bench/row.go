package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// row is one kind of work, done under several arms in turn.
type row struct {
	name   string
	needs  string   // programs, separated by spaces, without which it is skipped
	values []string // what a run gives, with its unit
	arms   []arm    // the first is the one that others are put beside
	runs   int      // rounds at most; 0: as many as were asked for
	times  int      // runs in a round; 0: one
	goals  []goal
	either bool           // one of an arm's goals is enough
	events map[string]int // what must be delivered of a run, at least, by arm
	load   func(ctx context.Context, b *bench, dir string) (*load, error)
}

// arm is one way to run a program.
type arm struct {
	name   string
	floor  string   // program of the floor that runs it, or ""
	before []string // the command of another program that runs it, or nil
	tracer []string // flags of tracer run that runs it, or nil
	policy string   // with them: rules of writePolicies
}

// load is a row's work, prepared.
type load struct {
	run  func(ctx context.Context, a *arm) ([]float64, error)
	stop func() // nil: there is nothing to end
}

// goal is a bound of a figure of an arm: of its value ÷ that of another, or of
// the value itself.
type goal struct {
	arm   string
	value int    // which of the row's values
	of    string // the other arm, "" for none
	added bool   // what is added to the first arm's value, of both
	least bool   // the bound is a lower one
	bound float64
}

// results are the values of a row's runs, by arm and value, and the number of
// events that were delivered.
type results struct {
	values [][][]float64
	events [][]float64
}

// row measures and prints one row.
func (b *bench) row(ctx context.Context, r *row) error {
	dir, err := os.MkdirTemp(b.dir, "row")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	l, err := r.load(ctx, b, dir)
	if err != nil {
		return err
	}
	if l.stop != nil {
		defer l.stop()
	}
	res := results{values: make([][][]float64, len(r.arms)), events: make([][]float64, len(r.arms))}
	for i := range r.arms {
		res.values[i] = make([][]float64, len(r.values))
	}
	rounds := b.rounds
	warmUp := 1
	if r.runs > 0 {
		rounds, warmUp = min(rounds, r.runs), 0
	}
	for round := range rounds + warmUp {
		if err := b.round(ctx, r, l, round >= warmUp, &res); err != nil {
			return err
		}
	}
	b.print(r, &res)
	return nil
}

// round runs each arm, in turn, so that the machine's drift meets all of them.
// What the sidekick still has to do for one is not the next one's burden.
func (b *bench) round(ctx context.Context, r *row, l *load, counts bool, res *results) error {
	for range max(r.times, 1) {
		for i := range r.arms {
			if err := b.once(ctx, r, l, i, counts, res); err != nil {
				return fmt.Errorf("%s: %w", r.arms[i].name, err)
			}
		}
	}
	return nil
}

func (b *bench) once(ctx context.Context, r *row, l *load, i int, counts bool, res *results) error {
	before, err := b.side.taken(ctx)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	values, err := l.run(limited, &r.arms[i])
	b.side.settle()
	if err != nil || !counts {
		return err
	}
	after, err := b.side.taken(ctx)
	if err != nil {
		return err
	}
	for v, x := range values {
		res.values[i][v] = append(res.values[i][v], x)
	}
	res.events[i] = append(res.events[i], after-before)
	return nil
}

// argv is the command line that runs a command in this way.
func (b *bench) argv(a *arm, command ...string) []string {
	switch {
	case a.floor != "":
		return append([]string{filepath.Join(b.floor, a.floor)}, command...)
	case a.tracer == nil:
		return slices.Concat(a.before, command)
	}
	argv := append([]string{filepath.Join(b.bin, "tracer"), "run"}, a.tracer...)
	if a.policy != "" {
		argv = append(argv, "--policies", filepath.Join(b.dir, a.policy+".yaml"))
	}
	return slices.Concat(argv, []string{"--"}, command)
}

// environ is the environment of commands.
func (b *bench) environ() []string { return append(os.Environ(), "SIDEKICK_URL="+b.side.url) }

func (b *bench) header() {
	fmt.Fprint(b.out, "| work | runner | median (least–most) | events, least | ratio | goal | reached |\n|---|---|---|---|---|---|---|\n")
}

func (b *bench) print(r *row, res *results) {
	for v, unit := range r.values {
		for i := range r.arms {
			x := res.values[i][v]
			ratio, bound, reached := r.judge(res, i, v)
			fmt.Fprintf(b.out, "| %s | %s | %s %s (%s–%s) | %s | %s | %s | %s |\n", r.name, r.arms[i].name,
				figure(median(x)), unit, figure(slices.Min(x)), figure(slices.Max(x)), r.delivered(res, i), ratio, bound, reached)
		}
	}
}

// judge puts an arm's value beside its goals; without any, beside the first arm's.
func (r *row) judge(res *results, i, v int) (ratio, bound, reached string) {
	var ratios, bounds []string
	met := 0
	for _, g := range r.goals {
		if g.arm != r.arms[i].name || g.value != v {
			continue
		}
		x := r.figure(res, &g)
		ratios = append(ratios, g.text(x))
		if g.least {
			bounds = append(bounds, "≥ "+figure(g.bound))
		} else {
			bounds = append(bounds, "≤ "+figure(g.bound))
		}
		if g.least && x >= g.bound || !g.least && x <= g.bound { // neither of NaN
			met++
		}
	}
	switch {
	case len(ratios) == 0 && i == 0:
		return "", "", ""
	case len(ratios) == 0:
		g := goal{arm: r.arms[i].name, value: v, of: r.arms[0].name}
		return g.text(r.figure(res, &g)), "", ""
	case met == len(ratios), met > 0 && r.either:
		return strings.Join(ratios, ", "), strings.Join(bounds, " or "), "yes"
	}
	return strings.Join(ratios, ", "), strings.Join(bounds, " or "), "**no**"
}

// figure is what a goal is about: the median of what it was in each run, as the
// runs of one turn meet the same machine. It is NaN where it cannot be told, as
// what the other arm adds is lost in the noise.
func (r *row) figure(res *results, g *goal) float64 {
	of := func(name string) []float64 {
		i := slices.IndexFunc(r.arms, func(a arm) bool { return a.name == name })
		return res.values[i][g.value]
	}
	var figures []float64
	first := of(r.arms[0].name)
	for run, x := range of(g.arm) {
		base := 1.0
		if g.of != "" {
			base = of(g.of)[run]
		}
		if g.added {
			x -= first[run]
			if g.of != "" {
				base -= first[run]
			}
		}
		if base > 0 {
			figures = append(figures, x/base)
		}
	}
	if 2*len(figures) <= len(first) {
		return math.NaN()
	}
	return median(figures)
}

func (g *goal) text(x float64) string {
	s := "–"
	if !math.IsNaN(x) {
		s = strconv.FormatFloat(x, 'f', 2, 64)
	}
	switch {
	case g.of != "" && g.added:
		return s + " × what " + g.of + " adds"
	case g.of != "":
		return s + " × " + g.of
	case g.added:
		return s + " added"
	}
	return s
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// figure is a number for people: three digits, more where there are thousands.
func figure(x float64) string {
	digits := 0
	switch {
	case math.Abs(x) < 10:
		digits = 2
	case math.Abs(x) < 100:
		digits = 1
	}
	s := strconv.FormatFloat(x, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// delivered is the number of events that reached the sidekick of a run, and of
// how many where some were lost.
func (r *row) delivered(res *results, i int) string {
	x := int(slices.Min(res.events[i]))
	switch due := r.events[r.arms[i].name]; {
	case x < due:
		return fmt.Sprintf("%d of **%d**", x, due)
	case x == 0:
		return ""
	}
	return strconv.Itoa(x)
}
