package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs makes two programs that say that they ran, DIR/allowed and DIR/denied.
func programs(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"allowed", "denied"} {
		copyProgram(t, built(t, "said.c"), filepath.Join(dir, name))
	}
}

func copyProgram(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// A program that a rule denies, be it one about processes, about files or both,
// runs in no way: not under any of its names, by any call, nor as the interpreter
// of a script.
func TestDeniedProgramRunsInNoWay(t *testing.T) {
	process, file := "process: {matchPaths: [{path: DIR/denied}]}", "file: {matchPaths: [{path: DIR/denied}]}"
	for name, rules := range map[string]string{"process": block(process), "file": block(file), "both": block(process, file), "file and another process": block(file, "process: {matchPaths: [{path: /no/such}]}")} {
		t.Run(name, func(t *testing.T) {
			for _, who := range []caller{asItself, asContainer, asUser} {
				s := scene{argv: victimOf(t, "execs.py"), rules: rules, setup: func(t *testing.T, dir string, _ caller) { programs(t, dir) }}
				native, traced := strings.Split(s.run(t, who, false).stdout, "\n"), strings.Split(s.run(t, who, true).stdout, "\n")
				if strings.Count(strings.Join(native, "\n"), "ran") < 54 || len(native) != len(traced) {
					t.Fatalf("%s: without the tracer %q\nunder it %q", who.name, native, traced)
				}
				for i := range native {
					if strings.HasPrefix(native[i], "denied") {
						if strings.Contains(traced[i], "ran") {
							t.Errorf("%s: %s", who.name, traced[i])
						}
					} else if native[i] != traced[i] {
						t.Errorf("%s: %s, without the tracer: %s", who.name, traced[i], native[i])
					}
				}
			}
		})
	}
}

// The loader that a program names is a file that is read with it: a file rule
// that denies it denies the program.
func TestDeniedLoaderStartsNoProgram(t *testing.T) {
	dir := sharedDir(t, asItself)
	loader := filepath.Join(dir, "loader")
	out, err := exec.Command("sh", "-c", "readelf -l /bin/true | sed -n 's/.*interpreter: \\(.*\\)]/\\1/p'").Output()
	if err != nil || len(out) == 0 {
		skip(t, fmt.Sprint("readelf: ", err))
	}
	copyProgram(t, strings.TrimSpace(string(out)), loader)
	built(t, "said.c") // or there is no compiler
	program := filepath.Join(dir, "program")
	if text, err := exec.Command("cc", "-o", program, "testdata/said.c", "-Wl,--dynamic-linker="+loader).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!"+program+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	const ways = `for p in "$1" "$2"; do "$p"; (exec "$p"); env "$p"; done; "$3" "$1"; exec 2>/dev/null; cat "$3" | wc -c`
	argv := []string{"sh", "-c", ways, "sh", program, script, loader}
	if got := outcomeOf(t, exec.Command(argv[0], argv[1:]...)); strings.Count(got.stdout, "ran") != 7 {
		t.Fatalf("without the tracer: %+v", got)
	}
	for _, who := range []caller{asItself, asContainer, asUser} {
		got := outcomeOf(t, who.command(t, []string{"--policies", sharedPolicies(t, block("file: {matchPaths: [{path: "+loader+"}]}"))}, argv))
		if got.stdout != "0\n" {
			t.Errorf("%s: %+v", who.name, got)
		}
		got = outcomeOf(t, who.command(t, []string{"--policies", sharedPolicies(t, otherRules)}, argv))
		if strings.Count(got.stdout, "ran") != 7 {
			t.Errorf("%s, other rules: %+v", who.name, got)
		}
	}
}

// What a kind of rule says of the entry point holds, in whichever way it is named.
func TestDeniedEntryPoint(t *testing.T) {
	dir := sharedDir(t, asItself)
	programs(t, dir)
	for name, text := range map[string]string{"script": "#!" + dir + "/denied\n", "scripts": "#!" + dir + "/script\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("denied", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"process", "file"} {
		policies := sharedPolicies(t, block(kind+": {matchPaths: [{path: "+dir+"/denied}]}"))
		for _, who := range []caller{asItself, asContainer, asUser} {
			for _, entry := range []string{"denied", "link", "script", "scripts"} {
				c := newCollector(t)
				cmd := who.command(t, []string{"--visibility", "none", "--policies", policies}, []string{filepath.Join(dir, entry)})
				cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
				got := outcomeOf(t, cmd)
				if events := c.records(t); got.code != exitCannotExecute || got.stdout != "" || len(events) != 1 || events[0].PolicyName != "block" {
					t.Errorf("%s, %s rule, %s: %+v, %d alerts", who.name, kind, entry, got, len(events))
				}
			}
			if got := outcomeOf(t, who.command(t, []string{"--policies", policies}, []string{filepath.Join(dir, "allowed")})); got.code != 0 || got.stdout != "ran\n" {
				t.Errorf("%s: %+v", who.name, got)
			}
		}
	}
}

// race is what another thread or process changes while a program is executed.
type race struct {
	kind string
	who  caller
	in   []string // a command of the workload's that runs the racing program
}

// A program that is denied is not run by changing, while the exec is held, what
// leads to it: it gets as far as no open, neither in its own process nor in one
// that it forks first, without a C library whose calls could give it away.
func TestRacingExecNeverRunsTheDeniedProgram(t *testing.T) {
	as1000 := []string{"setpriv", "--reuid=1000", "--regid=1000", "--clear-groups"}
	races := []race{
		{"path", asItself, nil},
		{"traced", asItself, nil},
		{"cwd", asItself, nil},
		{"dirfd", asItself, nil},
		{"link", asItself, nil},
		{"script", asItself, nil},
		{"vfork-path", asItself, nil},
		{"path", asContainer, nil},
		{"path", asUser, nil},
		{"script", asUser, nil},
		{"path", asItself, as1000},
		{"link", asContainer, as1000},
		{"traced", asContainer, as1000},
		// A worker of a container, which has changed its user without an exec, cannot be
		// followed: docs/security.md.
		{"worker-path", asItself, nil},
		{"path", asItself, []string{"unshare", "-U"}},
		{"path", asContainer, []string{"setpriv", "--bounding-set=-all", "--inh-caps=-all"}},
	}
	tries := "60"
	if testing.Short() {
		tries = "15"
	}
	for _, r := range races {
		t.Run(strings.Join(append([]string{r.kind, r.who.name}, r.in...), " "), func(t *testing.T) {
			t.Parallel()
			r.run(t, tries, []string{"process"})
			if r.in == nil && r.who.name != asContainer.name { // where opens are held too, more is in the way
				r.run(t, "20", []string{"file"})
				r.run(t, "20", []string{"process", "file"})
			}
		})
	}
}

func (r *race) run(t *testing.T, tries string, kinds []string) {
	t.Helper()
	who := r.who
	dir := sharedDir(t, who)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"allowed": "/bin/true", "denied": built(t, "forks.c", "-O1", "-nostdlib", "-static", "-fno-stack-protector")} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		copyProgram(t, from, filepath.Join(dir, name, "program"))
	}
	argv := append(r.in, built(t, "execraces.c"), r.kind, filepath.Join(dir, "allowed/program"), filepath.Join(dir, "denied/program"))
	specs := make([]string, len(kinds))
	for i, kind := range kinds {
		specs[i] = kind + ": {matchPaths: [{path: " + dir + "/denied/program}]}"
	}
	cmd := who.command(t, []string{"--policies", sharedPolicies(t, block(specs...))}, append(argv, tries))
	cmd.Dir = dir
	if got := outcomeOf(t, cmd); got.code != 0 || got.stdout != "" {
		t.Errorf("rules about %v: exit %d, the denied program's child opened %d times, itself %d times\n%s", kinds, got.code,
			strings.Count(got.stdout, "CHILD"), strings.Count(got.stdout, "PARENT"), got.stderr)
	}
}

// Without the tracer the races are won, or the test above shows nothing.
func TestRacesAreWonWithoutTheTracer(t *testing.T) {
	dir := t.TempDir()
	for name, from := range map[string]string{"allowed": "/bin/true", "denied": built(t, "forks.c", "-O1", "-nostdlib", "-static", "-fno-stack-protector")} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		copyProgram(t, from, filepath.Join(dir, name, "program"))
	}
	for _, kind := range []string{"path", "traced", "cwd", "dirfd", "link", "script", "vfork-path"} {
		won := false // the threads must happen to run at once
		for attempt := 0; attempt < 20 && !won; attempt++ {
			cmd := exec.Command(built(t, "execraces.c"), kind, filepath.Join(dir, "allowed/program"), filepath.Join(dir, "denied/program"), "50")
			cmd.Dir = dir
			won = strings.Contains(outcomeOf(t, cmd).stdout, "CHILD\nPARENT\n")
		}
		if !won {
			t.Errorf("%s: the attack does not work without the tracer", kind)
		}
	}
}
