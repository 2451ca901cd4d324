package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A workload may be of the tracer's user, and root at that: it could take the
// tracer's descriptors, processor and disk time away from it. What it does to
// itself goes on.
func TestTracerKeepsItsResources(t *testing.T) {
	for _, tool := range []string{"prlimit", "renice", "taskset", "chrt", "ionice"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip(t, err)
		}
	}
	script := `for p in $PPID $$; do
try() { "$@" >/dev/null 2>&1 && echo "$1 done" || echo "$1 refused"; }
try prlimit --pid $p --nofile=64
try renice -n 5 -p $p
try taskset -p -c 0 $p
try chrt --batch -p 0 $p
try ionice -c 3 -p $p
done; ulimit -n`
	all := func(what string) string {
		var b strings.Builder
		for _, tool := range []string{"prlimit", "renice", "taskset", "chrt", "ionice"} {
			b.WriteString(tool + " " + what + "\n")
		}
		return b.String()
	}
	want := all("refused") + all("done") + "64\n"
	for _, args := range [][]string{{"--policies", blockPolicy(t, "/no/such/file")}, {"--visibility", "none"}} {
		args = append(append([]string{"run"}, args...), "--", "/bin/sh", "-c", script)
		if got := outcomeOf(t, tracer(t, args...)); got.stdout != want || got.stderr != "" {
			t.Errorf("%v: %+v, want\n%s", args[:3], got, want)
		}
	}
}

// The same for each of the tracer's threads, and however the number is written.
// What the kernel lets a container's root do to others is left to it for others.
func TestTracerKeepsTheResourcesOfAllItsThreads(t *testing.T) {
	argv := []string{"sh", "-c", `exec "$@" $PPID`, "sh"}
	for _, who := range []caller{asItself, asContainer, asUser} {
		who.setpriv = append(slices.Clone(who.setpriv), withoutPerfmon(&who)...)
		got := outcomeOf(t, who.command(t, []string{"--policies", sharedPolicies(t, otherRules)}, append(argv, victimOf(t, "guarded.py")...)))
		if got.code != 0 || strings.TrimSpace(got.stdout) != "tried True" {
			t.Errorf("%s: %+v", who.name, got)
		}
		c := newCollector(t)
		cmd := who.command(t, []string{"--visibility", "process"}, append(argv, victimOf(t, "guarded.py")...))
		cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
		for line := range strings.Lines(outcomeOf(t, cmd).stdout) {
			if strings.Contains(line, "threads") {
				t.Errorf("%s, nothing but programs is held: %s", who.name, line)
			}
		}
	}
}

// withoutPerfmon takes CAP_PERFMON away (38), which alone lets recent kernels tell
// memory maps; containers do not have it.
func withoutPerfmon(who *caller) []string {
	if who.setpriv != nil || os.Getuid() != 0 {
		return nil
	}
	return []string{"--bounding-set=-cap_38,-sys_admin"}
}

func TestNoSignalFromInsideEndsPIDOne(t *testing.T) {
	if _, err := os.Stat(python); err != nil {
		skip(t, err)
	}
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := tracer(t, "run", "--policies", blockPolicy(t, secret), "--", python, "testdata/signals.py", secret)
	cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "--pid", "--fork", "--mount-proc"}, cmd.Args...)
	if got := outcomeOf(t, cmd); got.code != 0 || got.stdout != "denied\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
}

// Without a /proc of its own pid namespace the tracer says so, and nothing runs.
func TestProcOfAnother(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	for _, c := range []struct{ before, says string }{
		{"", "/proc is that of another pid namespace"},
		{"umount -l /proc && ", "/proc is not mounted"},
	} {
		run := tracer(t, "run", "--", "echo", "ran")
		cmd := tracer(t)
		cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "--pid", "--fork", "--mount", "sh", "-c", c.before + `exec "$@"`, "sh"}, run.Args...)
		if got := outcomeOf(t, cmd); got.code != 125 || got.stdout != "" || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%q: %+v", c.before, got)
		}
	}
}

// crowdLimit is how many processes and threads a crowd may have.
const crowdLimit = 150

// Where the workload has as many processes as it may, the tracer can make no thread. It
// goes on all the same: calls are answered, and rules hold.
func TestNoRoomForThreads(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, to be a user of its own")
	}
	if _, err := exec.LookPath("prlimit"); err != nil {
		skip(t, err)
	}
	uid := 1_000_000 + os.Getpid() // nobody else's, or its processes would count
	id := strconv.Itoa(uid)
	who := caller{
		name: "crowd", uid: uid, around: []string{"prlimit", "--nproc=" + strconv.Itoa(crowdLimit)},
		setpriv: []string{"--reuid=" + id, "--regid=" + id, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"},
	}
	secret := filepath.Join(sharedDir(t, asItself), "secret")
	if err := os.WriteFile(secret, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	crowd := func(tracerArgs []string, becomes string) outcome {
		cmd := who.command(t, tracerArgs, victimOf(t, "crowd.py", secret, becomes))
		cmd.Dir = sharedDir(t, who)
		return outcomeOf(t, cmd)
	}
	native := crowd(nil, "opened")
	if strings.Count(native.stdout, "no more: EAGAIN") != 2 || native.code != 0 {
		t.Fatalf("without the tracer: %+v", native)
	}
	got := crowd([]string{"--policies", sharedPolicies(t, block("file: {matchPaths: [{path: "+secret+"}]}"))}, "EACCES")
	if got != native {
		t.Errorf("exit %d\n%s%s\nwithout the tracer:\n%s", got.code, got.stdout, got.stderr, native.stdout)
	}
}
