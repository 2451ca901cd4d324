package kernels

import (
	"flag"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var (
	long       = flag.Bool("long", false, "all kernels and checks, and more tries")
	only       = flag.String("only", "", "regular expression: the checks to make")
	bin        = flag.String("bin", "../../bin", "directory with the built tracer")
	kernelsDir = flag.String("kernels", "../../build/kernels", "directory with what .ci/kernel has fetched")
)

// pending are the checks of faults that are known and not mended yet, and why.
// They are shown, and do not fail.
var pending = map[string]string{
	"signals-that-restart/files/notify":   "before Linux 5.14 a signal can leave a descriptor behind that the caller does not know of, if its handler makes calls of its own",
	"signals-that-interrupt/files/notify": "as signals-that-restart",
}

// form is one of the two extents to which kernels are tested.
type form struct {
	machines []machine
	engines  []string // of the tracer, with each of which all checks are made
	tries    int
	limit    int // seconds after which a check is taken to hang; none of them needs near as many
}

var (
	shortForm = form{[]machine{{"5.10", runtime.GOARCH}}, []string{"notify"}, 200, 300}
	longForm  = form{[]machine{{"5.10", "amd64"}, {"6.1", "amd64"}, {"6.1", "arm64"}}, []string{"notify", "ptrace"}, 3000, 600}
)

func TestKernels(t *testing.T) {
	f := shortForm
	if *long {
		f = longForm
	}
	for _, m := range f.machines {
		t.Run(m.String(), func(t *testing.T) {
			m.requireAll(t)
			chosen := choose()
			report(t, chosen, f.engines, m.boot(t, m.root(t, chosen, f)))
		})
	}
}

// choose gives the checks that are to be run, with their defaults. In the short
// form one user must do.
func choose() []check {
	var chosen []check
	wanted := regexp.MustCompile(*only)
	for _, c := range checks {
		if c.long && !*long || !wanted.MatchString(c.name) {
			continue
		}
		if c.as == "" {
			c.as = everyone
		}
		if !*long && strings.Contains(c.as, "container") {
			c.as = "container"
		}
		if c.rules == "" {
			c.rules = anyRules
		}
		chosen = append(chosen, c)
	}
	return chosen
}

// report makes a subtest of each result that is due.
func report(t *testing.T, checks []check, engines []string, console string) {
	t.Helper()
	results := parse(console)
	if !strings.Contains(console, "\nEND\n") {
		t.Errorf("the guest did not come to its end:\n%s", tail(console, 4000))
	}
	for _, c := range checks {
		for who := range strings.FieldsSeq(c.as) {
			for rules := range strings.FieldsSeq(c.rules) {
				for _, engine := range engines {
					t.Run(c.name+"/"+who+"/"+rules+"/"+engine, func(t *testing.T) {
						r, ok := results[c.name+"/"+who+"/"+rules+"/"+engine]
						r.report(t, ok, pending[c.name+"/"+rules+"/"+engine])
					})
				}
			}
		}
	}
}

type result struct {
	ok     bool
	when   string // seconds since the guest's start
	detail string
}

func (r result) report(t *testing.T, came bool, known string) {
	t.Helper()
	switch {
	case !came:
		t.Error("no result")
	case !r.ok && known != "":
		t.Logf("known at %s s: %s\n%s", r.when, known, r.detail)
	case !r.ok:
		t.Errorf("- is wanted, + is\n%s", r.detail)
	default:
		t.Logf("done %s s after the start", r.when)
	}
}

// parse reads the results from a guest's console, where the kernel and the
// firmware may have written too.
func parse(console string) map[string]result {
	results := map[string]result{}
	var detail strings.Builder
	for line := range strings.Lines(console) {
		if text, ok := strings.CutPrefix(line, "| "); ok {
			detail.WriteString(text)
			continue
		}
		words := strings.Fields(line)
		if len(words) == 4 && words[0] == "RESULT" {
			results[words[1]] = result{words[2] == "ok", words[3], detail.String()}
			detail.Reset()
		}
	}
	return results
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

func TestParse(t *testing.T) {
	got := parse("SeaBIOS\nRESULT a/b ok 1.0\n| one\n| two\nRESULT c FAIL 2.0\n[    1.0] oops\nRESULT d ok 3.0\nRESULT\nEND\n")
	want := map[string]result{"a/b": {true, "1.0", ""}, "c": {false, "2.0", "one\ntwo\n"}, "d": {true, "3.0", ""}}
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for name, r := range want {
		if got[name] != r {
			t.Errorf("%s: %+v, want %+v", name, got[name], r)
		}
	}
}
