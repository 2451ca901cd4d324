package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// denials is a policy that denies a file and a program in dir, which it makes.
func denials(t *testing.T, dir string) string {
	t.Helper()
	programs(t, dir)
	for _, name := range []string{"secret", "public"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sharedPolicies(t, block("process: {matchPaths: [{path: "+dir+"/denied}]}", "file: {matchPaths: [{path: "+dir+"/secret}]}"))
}

// What the tracer asks of the kernel about a held call can be interrupted by a
// signal at every place. A denied call stays denied then, an allowed one is
// carried out once, and calls are answered to the end.
func TestInterruptedRequests(t *testing.T) {
	if differs(t, "strace traces what the tracer is to trace") {
		return
	}
	if err := exec.Command("strace", "-qq", "-o", "/dev/null", "true").Run(); err != nil {
		skip(t, fmt.Sprint("strace: ", err)) // not there, or not allowed
	}
	const script = `i=0; while [ $i -lt 15 ]; do
read x < $0/secret && echo leaked; $0/denied && echo ran
read x < $0/public || echo not opened; [ "$x" = public ] || echo "read $x"
: > $0/made.$i || echo not made; $0/allowed || echo not executed
cd / || echo no chdir; i=$((i+1)); done 2>/dev/null; echo end`
	want := strings.Repeat("ran\n", 15) + "end\n"
	for _, when := range []string{"1+2", "2+2", "1+3", "2+3", "3+3", "2+5", "3+5", "4+5", "5+5", "6+5", "2+7", "3+7", "4+7", "5+7", "6+7", "7+7", "8+7"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			log := filepath.Join(dir, "log")
			cmd := tracer(t, "run", "--policies", denials(t, dir), "--log-file", log, "--log-level", "warn", "--", "sh", "-c", script, dir)
			path, err := exec.LookPath("strace")
			if err != nil {
				t.Fatal(err)
			}
			cmd.Path, cmd.Args = path, append([]string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=ioctl", "-e", "inject=ioctl:error=EINTR:when=" + when}, cmd.Args...)
			got := outcomeOf(t, cmd)
			said, err := os.ReadFile(log)
			if err != nil || got.code != 0 || got.stdout != want || len(said) > 0 {
				t.Errorf("%+v\nthe tracer's log: %v\n%s", got, err, said)
			}
		})
	}
}

// Signals to the tracer's threads, of which Go's runtime sends itself some and
// the workload can send others, change no answer.
func TestSignalsToTheTracerChangeNoAnswer(t *testing.T) {
	tries := "12000"
	if testing.Short() {
		tries = "2000"
	}
	for _, who := range []caller{asItself, asContainer, asUser} {
		for _, sender := range []string{"quiet", "storm"} {
			t.Run(who.name+"/"+sender, func(t *testing.T) {
				t.Parallel()
				dir := sharedDir(t, who)
				cmd := who.command(t, []string{"--policies", denials(t, dir)}, []string{built(t, "storm.c"), sender, dir + "/public", dir + "/secret", tries})
				if got := outcomeOf(t, cmd); got.code != 0 || got.stdout != "" {
					t.Errorf("%+v", got)
				}
			})
		}
	}
}

// Calls that are not held fail with EINTR as little as without the tracer, and
// those that are held with nothing else, whatever signals the caller gets. (Where
// the tracer lacks CAP_SYS_PTRACE and files are carried out, chdir is held.)
func TestSignalsToTheCallerInterruptNothing(t *testing.T) {
	const script = `i=0; b=0; while [ $i -lt 500 ]; do /bin/true & cd /tmp || b=$((b+1)); read x </etc/passwd || b=$((b+1)); : >$0/o || b=$((b+1)); i=$((i+1)); done; wait; echo $b`
	for _, who := range []caller{asItself, asContainer, asUser} {
		for _, policies := range []string{"", otherRules} {
			if policies != "" && who.name == asContainer.name {
				continue
			}
			t.Run(fmt.Sprintf("%s %t", who.name, policies != ""), func(t *testing.T) {
				t.Parallel()
				args := []string{"--visibility", "none"}
				if policies != "" {
					args = append(args, "--policies", sharedPolicies(t, policies))
				}
				got := outcomeOf(t, who.command(t, args, []string{"dash", "-c", script, sharedDir(t, who)}))
				if got.code != 0 || got.stdout != "0\n" {
					t.Errorf("%+v", got)
				}
			})
		}
	}
	scene{argv: []string{built(t, "alarms.c")}, lines: []string{"other: 0"}, as: []caller{asItself, asContainer, asUser}}.test(t)
}
