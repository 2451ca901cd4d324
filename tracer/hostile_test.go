package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func blockPolicy(t *testing.T, path string) string {
	t.Helper()
	return policyDir(t, fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: secret}\nspec: {file: {matchPaths: [{path: %s}]}, action: Block}\n", path))
}

// A thread that changes the path between the check and the use must never get
// the denied file, whatever kind of file the path named at first.
func TestRacingThreadNeverGetsTheDeniedFile(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		skip(t, err)
	}
	dir := t.TempDir()
	race := filepath.Join(dir, "race")
	if out, err := exec.Command(cc, "-O2", "-pthread", "-o", race, "testdata/race.c").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	public, secret, fifo := filepath.Join(dir, "public"), filepath.Join(dir, "secret"), filepath.Join(dir, "fifo")
	for _, name := range []string{public, secret} {
		if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(fifo, os.O_RDWR, 0) // so that readers need not wait
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for _, from := range []string{public, fifo, "/dev/null", "/dev/ptmx", "/proc/self/status", "/proc/self/maps", dir, filepath.Join(dir, "missing")} {
		wins := false // without the tracer; the threads must happen to run at once
		for attempt := 0; attempt < 20 && !wins; attempt++ {
			wins = !strings.HasPrefix(outcomeOf(t, exec.Command(race, from, secret, "50000")).stdout, "0 ")
		}
		if !wins {
			t.Fatalf("%s: the attack does not work without the tracer", from)
		}
		tries := "5000"
		if from == public && !testing.Short() {
			tries = "100000"
		}
		got := outcomeOf(t, tracer(t, "run", "--policies", blockPolicy(t, secret), "--", race, from, secret, tries))
		if got.code != 0 || !strings.HasPrefix(got.stdout, "0 ") {
			t.Errorf("%s: %+v, want no win", from, got)
		}
	}
}

// The same for other calls, and for other things that lead to a file than its name
// in memory: it is neither opened nor cut.
func TestRacesForADeniedFile(t *testing.T) {
	tries := "6000"
	if testing.Short() {
		tries = "1000"
	}
	for _, kind := range []string{"openat2", "cut", "creat", "cwd", "dirfd", "link", "dirlink", "self"} {
		for _, who := range []caller{asItself, asContainer, asUser} {
			t.Run(kind+"/"+who.name, func(t *testing.T) {
				t.Parallel()
				dir := sharedDir(t, who)
				var files [2]string
				for i, name := range []string{"public", "secret"} {
					files[i] = filepath.Join(dir, name, "file")
					if err := os.Mkdir(filepath.Dir(files[i]), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(files[i], []byte("text"), 0o666); err != nil {
						t.Fatal(err)
					}
					if err := os.Chmod(files[i], 0o666); err != nil {
						t.Fatal(err)
					}
				}
				argv := []string{built(t, "openraces.c"), kind, files[0], files[1]}
				cmd := who.command(t, []string{"--policies", sharedPolicies(t, block("file: {matchPaths: [{path: "+files[1]+"}]}"))}, append(argv, tries))
				cmd.Dir = dir
				if got := outcomeOf(t, cmd); got.code != 0 || got.stdout != "0 1 4\n" {
					t.Errorf("%+v, want no win, some opens, and 4 bytes left", got)
				}
				won := false // without the tracer; the threads must happen to run at once
				for attempt := 0; attempt < 20 && !won; attempt++ {
					cmd := who.command(t, nil, append(argv, "5000"))
					cmd.Dir = dir
					won = !strings.HasPrefix(outcomeOf(t, cmd).stdout, "0 ")
				}
				if !won {
					t.Error("the attack does not work without the tracer")
				}
			})
		}
	}
}

// A thread that changes the path of an exec may get the denied program started,
// but not as far as its first open.
func TestRacingThreadNeverGetsTheDeniedProgramToOpenAFile(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		skip(t, err)
	}
	dir := t.TempDir()
	build := func(name, source string) string {
		t.Helper()
		out := filepath.Join(dir, name)
		cmd := exec.Command(cc, "-O2", "-pthread", "-x", "c", "-o", out, "-")
		cmd.Stdin = strings.NewReader(source)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return out
	}
	source, err := os.ReadFile("testdata/execrace.c")
	if err != nil {
		t.Fatal(err)
	}
	marker := filepath.Join(dir, "marker")
	race := build("race", string(source))
	denied := build("denied", fmt.Sprintf("#include <fcntl.h>\nint main(void) { return open(\"%s\", O_WRONLY | O_CREAT, 0600) < 0; }\n", marker))
	allowed := build("allowed", "int main(void) { return 0; }\n")
	policies := policyDir(t, fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: program}\nspec: {process: {matchPaths: [{path: %s}]}, action: Block}\n", denied))
	_, err = os.Stat(marker)
	for attempt := 0; attempt < 20 && err != nil; attempt++ { // without the tracer; the threads must happen to run at once
		outcomeOf(t, exec.Command(race, allowed, denied, "200"))
		_, err = os.Stat(marker)
	}
	if err != nil {
		t.Fatal("the attack does not work without the tracer")
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	if got := outcomeOf(t, tracer(t, "run", "--policies", policies, "--", race, allowed, denied, "300")); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the denied program ran as far as its first open")
	}
}

// Named pipes wait for their other side, and are left alone by callers that die
// waiting.
func TestNamedPipes(t *testing.T) {
	const script = `mkfifo p; (sleep 0.1; echo one > p) & cat p; wait
(sleep 0.1; cat p) & echo two > p; wait
(exec 3<>p; echo three >&3; read x <&3; echo $x)
cat p & c=$!; sleep 0.2; kill -KILL $c; wait $c; echo $?; sleep 1
sh -c 'echo x > p' & c=$!; sleep 0.2; kill -TERM $c; wait $c; echo $?; sleep 1
(sleep 0.1; : > p) & cat p; wait; echo four`
	policies := blockPolicy(t, "/no/such/file")
	var outcomes [2]outcome
	for i, cmd := range []*exec.Cmd{
		exec.Command("/bin/sh", "-c", script),
		tracer(t, "run", "--policies", policies, "--", "/bin/sh", "-c", script),
	} {
		cmd.Dir = t.TempDir()
		outcomes[i] = outcomeOf(t, cmd)
	}
	if outcomes[0].stdout != outcomes[1].stdout || !strings.HasSuffix(outcomes[0].stdout, "four\n") {
		t.Errorf("traced %+v\nwithout %+v", outcomes[1], outcomes[0])
	}
}

// Files that the tracer opens in the workload's place are those that the
// workload would have opened, with its rights, mask and flags.
func TestOpensAreAsTheWorkloadsOwn(t *testing.T) {
	if _, err := os.Stat(python); err != nil {
		skip(t, err)
	}
	policies := blockPolicy(t, "/no/such/file")
	var outcomes [2]outcome
	for i, run := range []func(argv ...string) *exec.Cmd{
		func(argv ...string) *exec.Cmd { return exec.Command(argv[0], argv[1:]...) },
		func(argv ...string) *exec.Cmd {
			return tracer(t, append([]string{"run", "--policies", policies, "--"}, argv...)...)
		},
	} {
		script, err := filepath.Abs("testdata/opens.py")
		if err != nil {
			t.Fatal(err)
		}
		outcomes[i] = outcomeOf(t, run(python, script, opensDir(t)))
	}
	plain, traced := strings.Split(outcomes[0].stdout, "\n"), strings.Split(outcomes[1].stdout, "\n")
	if outcomes[0].code != 0 || outcomes[1].code != 0 || len(plain) != len(traced) || len(plain) < 300 {
		t.Fatalf("exit %d and %d, %d and %d lines\n%s%s", outcomes[0].code, outcomes[1].code, len(plain), len(traced), outcomes[0].stderr, outcomes[1].stderr)
	}
	for i := range plain {
		if withoutNoFollow(plain[i]) != withoutNoFollow(traced[i]) {
			t.Errorf("traced %q, without %q", traced[i], plain[i])
		}
	}
}

// withoutNoFollow leaves O_NOFOLLOW (0x20000 on amd64, 0x8000 on arm64) out of
// the flags that F_GETFL tells: it has done its work by then, and a file that is
// opened by its descriptor cannot have it.
func withoutNoFollow(line string) string {
	fields := strings.Fields(line)
	for i, f := range fields {
		if n, err := strconv.ParseUint(f, 0, 64); err == nil && strings.HasPrefix(f, "0x") {
			fields[i] = strconv.FormatUint(n&^unix.O_NOFOLLOW, 16)
		}
	}
	return strings.Join(fields, " ")
}

// opensDir makes the files of testdata/opens.py.
func opensDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, made := range []string{dir, filepath.Dir(dir)} { // by TempDir, both
		must(os.Chmod(made, 0o777)) // another user is to get here
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	must(os.Mkdir(at("dir"), 0o755))
	must(os.Mkdir(at("closed"), 0o700))
	must(os.Mkdir(at("etc"), 0o755))
	for name, mode := range map[string]os.FileMode{"file": 0o644, "owned": 0o640, "private": 0o600, "dir/file": 0o644, "closed/file": 0o644, "etc/absolute": 0o644} {
		must(os.WriteFile(at(name), []byte("content"), mode))
	}
	if os.Getuid() == 0 {
		must(os.Chown(at("owned"), 1000, 12345))
	}
	must(os.Symlink("file", at("link")))
	must(os.Symlink("target-of-dangling", at("dangling")))
	must(os.Symlink("loop", at("loop")))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at("sock")})
	must(err)
	t.Cleanup(func() { l.Close() })
	return dir
}

// Of the tracer's own directory in procfs the workload sees what the kernel
// would show it, also where the tracer opens files in its place.
func TestTracerCannotBeLookedInto(t *testing.T) {
	policies := blockPolicy(t, "/no/such/file")
	script := `t=$PPID
for f in mem environ maps auxv fd/0 root/bin/sh cwd/main.go exe task/$t/mem; do cat /proc/$t/$f >/dev/null 2>&1 && echo "read $f"; done
for n in /proc/$t/task/*; do n=${n##*/}; cat /proc/$n/maps >/dev/null 2>&1 && echo "read maps of $n"; (exec 3<>/proc/$n/mem) 2>/dev/null && echo "opened mem of $n"; done
cat /proc/$t/stat /proc/$t/cmdline >/dev/null && echo public; ls /proc/self/fd >/dev/null && cat /proc/self/environ /proc/$$/maps > /dev/null && echo own`
	for _, args := range [][]string{{"run", "--policies", policies, "--"}, {"run", "--"}} {
		cmd := tracer(t, append(args, "/bin/sh", "-c", script)...)
		if os.Getuid() == 0 {
			// CAP_PERFMON (38) alone lets recent kernels tell memory maps; containers do not have it.
			cmd.Path, cmd.Args = "/usr/bin/setpriv", append([]string{"setpriv", "--bounding-set=-cap_38,-sys_admin", cmd.Path}, cmd.Args[1:]...)
		}
		if got := outcomeOf(t, cmd); got.stdout != "public\nown\n" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}
