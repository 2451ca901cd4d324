package differential

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is a program that is run without the tracer and under it.
type row struct {
	name     string
	debs     string   // Debian packages that have it
	commands string   // programs without which it cannot run
	script   string   // a file in testdata, started by its first line
	args     []string // its arguments
	as       []identity
	// replace makes texts that differ by nature the same: in the output, and in
	// the list of files.
	replace []replacement
	// known are differences that cannot be avoided, with the document that says so.
	known, onPtrace []known // anywhere, and with that engine
	// diary: the standard error is a log for whoever looks into a difference; it
	// is shown, not compared.
	diary bool
	// ptrace: it is made with that engine in the short form, too. traces: it never is,
	// since a process has one tracer.
	ptrace, traces bool
	limit          time.Duration
}

// replacement is what a text that is random by nature looks like. Lines that
// become empty by it are left out.
type replacement struct{ pattern, with string }

// known is a line of the comparison that may differ, and why.
type known struct{ line, why string }

// mostShown bounds what is said of a run that went quite another way.
const mostShown = 60

// atOnce is how many programs run at the same time: most of them wait for
// themselves.
const atOnce = 3

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests take turns by themselves, the longest first: see queue.
	_ = flag.Set("test.parallel", "1000")
	os.Exit(m.Run())
}

// queue lets a number of tests run at a time, in the order in which they came.
// The testing package would start them in any order, and one of the longest last.
type queue struct {
	slots chan struct{}
	next  chan struct{} // closed when the one that came last has begun
}

func newQueue(slots int) *queue {
	first := make(chan struct{})
	close(first)
	return &queue{slots: make(chan struct{}, slots), next: first}
}

// come takes a place in the queue; the function that it gives waits for the turn.
func (q *queue) come() func() {
	mine, after := q.next, make(chan struct{})
	q.next = after
	return func() {
		<-mine
		q.slots <- struct{}{}
		close(after)
	}
}

func (q *queue) leave() { <-q.slots }

// skip skips a test, except in CI, where nothing is to be missing.
func skip(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// Programs do under the tracer what they do without it.
func TestPrograms(t *testing.T) {
	q := newQueue(atOnce)
	for _, r := range rows {
		for _, who := range r.as {
			for _, engine := range r.engines(who) {
				t.Run(r.name+"/"+who.name+"/"+engine, func(t *testing.T) {
					turn := q.come()
					t.Parallel()
					turn()
					defer q.leave()
					r.test(t, who, engine)
				})
			}
		}
	}
}

var everyEngine = flag.Bool("engines", false, "make all comparisons with both of the tracer's engines")

// engines are those that a row is compared on: some rows, as one identity, with ptrace,
// too.
func (r *row) engines(who identity) []string {
	if *everyEngine && !r.traces || r.ptrace && who.name == r.as[0].name {
		return []string{"auto", "ptrace"}
	}
	return []string{"auto"}
}

func (r *row) test(t *testing.T, who identity, engine string) {
	for _, command := range strings.Fields(r.commands) {
		if _, err := exec.LookPath(command); err != nil {
			skip(t, fmt.Sprintf("%v: of the packages %s", err, r.debs))
		}
	}
	if os.Getuid() != 0 && who.root {
		skip(t, "needs root, to become "+who.name)
	}
	s := newStage(t, r, who, engine)
	native := s.run(t, false)
	traced := s.run(t, true)
	found := r.compare(native, traced)
	if len(found) > 0 {
		// What differs from one run without the tracer to the next says nothing.
		again := s.run(t, false)
		noise := r.compare(native, again)
		found = slices.DeleteFunc(found, func(line string) bool { return slices.Contains(noise, line) })
		for _, line := range noise {
			t.Logf("differs without the tracer too: %s", line)
		}
	}
	found = slices.DeleteFunc(found, func(line string) bool {
		why := r.excuse(line, engine)
		if why != "" {
			t.Logf("known: %s (%s)", line, why)
		}
		return why != ""
	})
	for i, line := range found {
		if i == mostShown {
			t.Errorf("and %d more lines", len(found)-i)
			break
		}
		t.Errorf("%s", line)
	}
	if t.Failed() {
		log, err := os.ReadFile(s.log())
		t.Logf("lines with - are without the tracer, with + under it\ncommand: %s\nstandard error without the tracer:\n%s\nunder it:\n%s\nthe tracer's log: %v\n%s",
			s.commandLine(true), tail(native.stderr), tail(traced.stderr), err, tail(string(log)))
	}
}

// compare gives the lines that differ, each with the part that it is of.
func (r *row) compare(a, b outcome) []string {
	var found []string
	part := func(name string, a, b []string) {
		for _, line := range differences(a, b) {
			found = append(found, name+": "+line)
		}
	}
	part("end", []string{a.end}, []string{b.end})
	part("output", r.lines(a.stdout), r.lines(b.stdout))
	if !r.diary {
		part("error", r.lines(a.stderr), r.lines(b.stderr))
	}
	aFiles, bFiles := r.lines(a.files), r.lines(b.files)
	slices.Sort(aFiles) // the replacements may have changed the order
	slices.Sort(bFiles)
	part("files", aFiles, bFiles)
	return found
}

// lines splits a text, with what is random in it replaced.
func (r *row) lines(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		whole := line
		for _, with := range r.replace {
			line = regexp.MustCompile(with.pattern).ReplaceAllString(line, with.with)
		}
		if line != "" || whole == line {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

func (r *row) excuse(line, engine string) string {
	all := r.known
	if engine == "ptrace" {
		all = slices.Concat(all, r.onPtrace)
	}
	for _, k := range all {
		if regexp.MustCompile(k.line).MatchString(line) {
			return k.why
		}
	}
	return ""
}

// tail is the end of a text that may be long.
func tail(text string) string {
	const most = 6000
	if len(text) > most {
		return "…" + text[len(text)-most:]
	}
	return text
}

// The scripts of the table exist, and each in testdata is in the table.
func TestEveryScriptIsInTheTable(t *testing.T) {
	used := map[string]bool{}
	for _, r := range rows {
		used[r.script] = true
		for _, with := range slices.Concat(r.replace, patterns(r.known)) {
			if _, err := regexp.Compile(with.pattern); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		}
	}
	scripts, err := filepath.Glob("testdata/*.sh")
	if err != nil || len(scripts) == 0 {
		t.Fatal(scripts, err)
	}
	for _, path := range scripts {
		if !used[filepath.Base(path)] {
			t.Errorf("%s is in no row", path)
		}
		delete(used, filepath.Base(path))
	}
	for name := range used {
		if strings.HasSuffix(name, ".sh") {
			t.Errorf("testdata/%s does not exist", name)
		}
	}
}

func patterns(of []known) []replacement {
	var out []replacement
	for _, k := range of {
		if k.why == "" {
			out = append(out, replacement{pattern: "(no reason"}) // which is no pattern
		}
		out = append(out, replacement{pattern: k.line})
	}
	return out
}
