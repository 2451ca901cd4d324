package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
)

// told runs a workload as a caller and gives what was reported of it.
func told(t *testing.T, who caller, args []string, argv ...string) []schema.Alert {
	t.Helper()
	c := newCollector(t)
	cmd := who.command(t, args, argv)
	cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
	if got := outcomeOf(t, cmd); got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	return c.records(t)
}

func named(t *testing.T, program string) string {
	t.Helper()
	path, err := filepath.EvalSymlinks(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// An event names the program that makes the call, also after an exec in the same
// process, whichever classes are visible.
func TestEventsNameTheProgramAfterAnExec(t *testing.T) {
	cat, dash, python := named(t, "/bin/cat"), named(t, "/bin/dash"), named(t, python)
	for _, who := range everybody {
		for _, visibility := range []string{"file", "file,network", "all"} {
			dir := sharedDir(t, who)
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			script := strings.ReplaceAll("read x < FILE; (exec cat FILE); cat FILE; exec python3 -c 'import os\nopen(\"FILE\")\nos.execv(\"/bin/cat\", [\"cat\", \"FILE\"])'", "FILE", file)
			script = strings.ReplaceAll(script, "python3", python)
			var got []string
			for _, e := range told(t, who, []string{"--visibility", visibility}, "/bin/dash", "-c", script) {
				if e.Operation == "File" && e.Resource == file {
					got = append(got, e.ProcessName)
					if !strings.HasPrefix(e.Source, e.ProcessName) {
						t.Errorf("%s, %s: process %s, source %.60s", who.name, visibility, e.ProcessName, e.Source)
					}
				}
			}
			if want := []string{dash, cat, cat, python, cat}; strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%s, %s: the file was opened by %v, want %v", who.name, visibility, got, want)
			}
		}
	}
}

// Where only connections are visible they have the right program as well.
func TestConnectionsNameTheProgramAfterAnExec(t *testing.T) {
	const connect = `import os, socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(("127.0.0.1", int(sys.argv[2])))
if sys.argv[1] != "end": os.execv(sys.argv[1], [sys.argv[1], "-c", sys.argv[3], "end", "78", ""])`
	dir := sharedDir(t, asItself)
	other := filepath.Join(dir, "other") // the same program under another name
	copyProgram(t, named(t, python), other)
	for _, who := range everybody {
		events := told(t, who, []string{"--visibility", "network"}, python, "-c", connect, other, "77", connect)
		for port, program := range map[string]string{"77": named(t, python), "78": other} {
			if e := find(events, "Network", "sin_port="+port+" ", ""); e == nil || e.ProcessName != program {
				t.Errorf("%s: port %s: %+v, want program %s", who.name, port, e, program)
			}
		}
	}
}

// leavesOrphans forks processes whose parent has ended when they execute a program.
const leavesOrphans = `import os
for _ in range(20):
    r, w = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.close(w)
            os.read(r, 1) # the end: the parent had the other side
            os.execv("/bin/true", ["true"])
        os._exit(0)
    os.close(w)
    os.wait()
`

// The source of an exec is the program that forked, also when that has gone by
// the time of the exec.
func TestOrphansKeepTheirParentsName(t *testing.T) {
	dash, trueFile := named(t, "/bin/dash"), named(t, "/bin/true")
	for _, who := range everybody {
		for _, c := range []struct {
			argv []string
			want int
		}{
			{[]string{"/bin/dash", "-c", "i=0; while [ $i -lt 100 ]; do (/bin/true &); i=$((i+1)); done"}, 100},
			{[]string{"/bin/dash", "-c", "i=0; while [ $i -lt 100 ]; do (exec /bin/true) & i=$((i+1)); done"}, 100},
			{[]string{python, "-c", leavesOrphans}, 20},
		} {
			source := dash
			if c.argv[0] == python {
				source = named(t, python)
			}
			all, right := 0, 0
			for _, e := range told(t, who, []string{"--visibility", "process"}, c.argv...) {
				if e.Operation != "Process" || e.Resource != trueFile {
					continue
				}
				all++
				if strings.HasPrefix(e.Source, source) {
					right++
				} else {
					t.Logf("source %q, parent %q, ppid %d", e.Source, e.ParentProcessName, e.PPID)
				}
			}
			if all != c.want || right != all {
				t.Errorf("%s, %.60q: %d of %d events name %s, want %d", who.name, c.argv[2], right, all, source, c.want)
			}
		}
	}
}

// A process that makes itself undumpable, or changes its user without an exec, is
// seen as before; how the number of the call's argument is written does not matter.
func TestProcessesThatHideAreSeen(t *testing.T) {
	for _, who := range everybody {
		for _, way := range []string{"undumpable", "upper half", "user", "user and undumpable", "undumpable child", "user's child", "thread", "capabilities"} {
			t.Run(who.name+"/"+way, func(t *testing.T) {
				if who.name == asUser.name && strings.Contains(way, "user") {
					return // cannot become another
				}
				if who.name != asItself.name && strings.HasSuffix(way, "child") {
					return // its opens are denied or let run unseen, see docs/tracer.md
				}
				dir := sharedDir(t, asItself)
				program := filepath.Join(dir, "program")
				copyProgram(t, built(t, "said.c"), program)
				file := filepath.Join(dir, "file")
				if err := os.WriteFile(file, nil, 0o644); err != nil {
					t.Fatal(err)
				}
				policies := sharedPolicies(t, strings.Replace(block("process: {matchPaths: [{path: "+program+"}]}", "file: {matchPaths: [{path: "+file+"}]}"), "Block", "Audit", 1))
				for _, args := range [][]string{{"--visibility", "all"}, {"--visibility", "none", "--policies", policies}} {
					events := told(t, who, args, append(victimOf(t, "hides.py", way), file, program)...)
					for operation, resource := range map[string]string{"File": file, "Process": program} {
						if n := count(events, operation, resource); n != 2 {
							t.Errorf("%v: %d events of %s %s, want 2", args[:2], n, operation, filepath.Base(resource))
						}
						for _, e := range events {
							if e.Resource == resource && e.Operation == "File" && e.ProcessName != named(t, python) {
								t.Errorf("%v: opened by %q", args[:2], e.ProcessName)
							}
						}
					}
				}
			})
		}
	}
}

// A workload that lowers the limits of the tracer does not blind it.
func TestLimitsOfTheTracerStay(t *testing.T) {
	file := filepath.Join(sharedDir(t, asItself), "file")
	script := "for l in nofile=8 fsize=0 cpu=1 as=1000000 nproc=0 data=1 stack=4096 memlock=0; do prlimit --pid $PPID --$l; done 2>/dev/null; read x < FILE; /bin/true; read x < FILE; :"
	if err := os.WriteFile(file, []byte("x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, who := range everybody {
		events := told(t, who, []string{"--visibility", "all"}, "sh", "-c", strings.ReplaceAll(script, "FILE", file))
		if n := count(events, "File", file); n != 2 {
			t.Errorf("%s: %s opens were reported, want 2", who.name, strconv.Itoa(n))
		}
	}
}
