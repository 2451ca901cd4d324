package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// secretFile is a file that policies of these tests are about.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// blockFile is a policy that denies opens of a file.
func blockFile(name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: %s}\nspec: {file: {matchPaths: [{path: %s}]}, action: Block}\n", name, path)
}

func TestPolicyInAVariable(t *testing.T) {
	one, other := secretFile(t), secretFile(t)
	dir := policyDir(t, blockFile("dir", other))
	text := blockFile("variable", one)
	for _, value := range []string{text, base64.StdEncoding.EncodeToString([]byte(text))} {
		cmd := tracer(t, "run", "--policies", dir, "--", "/bin/sh", "-c", "cat "+one+"; cat "+other)
		cmd.Env = append(cmd.Env, "TRACER_POLICY="+value)
		if got := outcomeOf(t, cmd); got.stdout != "" || strings.Count(got.stderr, "Permission denied") != 2 {
			t.Errorf("%.30q: %+v", value, got)
		}
	}
	// Of one name that of the variable counts.
	cmd := tracer(t, "run", "--policies", dir, "--log-level", "warn", "--", "/bin/sh", "-c", "cat "+one+" "+other)
	cmd.Env = append(cmd.Env, "TRACER_POLICY="+blockFile("dir", one))
	if got := outcomeOf(t, cmd); got.stdout != "s3cret\n" || !strings.Contains(got.stderr, "replaced by a later one") {
		t.Errorf("%+v", got)
	}
	cmd = tracer(t, "run", "--", "true")
	cmd.Env = append(cmd.Env, "TRACER_POLICY=kind: Pod")
	if got := outcomeOf(t, cmd); got.code != exitFailed || !strings.Contains(got.stderr, "TRACER_POLICY:1: kind") {
		t.Errorf("%+v", got)
	}
}

// running is a tracer whose workload does what it is told, a line each.
type running struct {
	in  io.WriteCloser
	out *lines
	log *lines
	n   int
}

// shell starts a workload that runs each line of its input as a command and then
// says its number and how it ended.
func shell(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	cmd := tracer(t, append(append([]string{"run"}, args...), "--", "/bin/bash", "-c", `n=0; while read -r line; do n=$((n+1)); eval "$line" 2>/dev/null; echo "$n $?"; done`)...)
	cmd.Env = append(cmd.Env, env...)
	r := &running{out: &lines{more: make(chan struct{}, 1)}, log: &lines{more: make(chan struct{}, 1)}}
	var err error
	if r.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = r.out, r.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.in.Close()
		if err := cmd.Wait(); err != nil && !t.Failed() {
			t.Errorf("%v\n%s", err, r.log)
		}
	})
	return r
}

// does runs a command in the workload and says whether it succeeded.
func (r *running) does(t *testing.T, command string) bool {
	t.Helper()
	r.n++
	fmt.Fprintln(r.in, command)
	r.out.await(t, fmt.Sprintf("%d ", r.n))
	return r.out.await(t, "\n") == "0"
}

// until repeats a command of the workload until it succeeds, or fails, and gives
// how long that took.
func (r *running) until(t *testing.T, command string, succeeds bool) time.Duration {
	t.Helper()
	begin := time.Now()
	for r.does(t, command) != succeeds {
		if time.Since(begin) > 30*time.Second {
			t.Fatalf("%s: succeeds is still %v\n%s", command, !succeeds, r.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begin)
}

// What is changed in a directory that is watched is in force at the running
// workload's next call, of every kind: the filter holds them all from the start.
func TestPoliciesChangeUnderARunningWorkload(t *testing.T) {
	secret, dir := secretFile(t), t.TempDir()
	for _, visibility := range []string{"none", "all"} {
		r := shell(t, nil, "--policies", dir, "--policies-watch=true", "--visibility", visibility, "--log-level", "info")
		file := filepath.Join(dir, "a.yaml")
		for _, c := range []struct{ rules, command string }{
			{"file: {matchPaths: [{path: " + secret + "}]}", "read x < " + secret},
			{"file: {matchPaths: [{path: " + secret + ", readOnly: true}]}", "echo -n >> " + secret},
			{"process: {matchPaths: [{path: /usr/bin/true}]}", "/usr/bin/true"},
			{"network: {matchProtocols: [{protocol: udp}]}", "exec 3<>/dev/udp/127.0.0.1/9"},
		} {
			if !r.does(t, c.command) {
				t.Fatalf("%s fails without a policy\n%s", c.command, r.log)
			}
			writePolicy(t, file, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: live}\nspec: {"+c.rules+", action: Block}\n")
			added := r.until(t, c.command, false)
			writePolicy(t, file, "apiVersion: [")
			r.log.await(t, "a policy file is wrong")
			if r.does(t, c.command) {
				t.Errorf("%s: a policy that is wrong took away the one before", c.command)
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: denied after %v, allowed again after %v", c.command, added, r.until(t, c.command, true))
		}
		if text := r.log.String(); strings.Contains(text, "not enforced") || !strings.Contains(text, "can change its own policies") {
			t.Errorf("log:\n%s", text)
		}
	}
}

func writePolicy(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A volume that only others can write to is watched by itself, and stays what it is
// whatever the workload renames.
func TestReadOnlyVolumeIsWatched(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, to mount")
	}
	secret, dir, mounted := secretFile(t), t.TempDir(), filepath.Join(t.TempDir(), "policies")
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		skip(t, err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	writePolicy(t, filepath.Join(dir, "a.yaml"), blockFile("a", "/nowhere"))
	cmd := tracer(t)
	script := `mkdir "$1" && mount --bind "$2" "$1" && mount -o remount,bind,ro "$1" && shift 2 && exec "$@"`
	workload := fmt.Sprintf(`mv %[1]s %[1]s.old; mkdir -p %[2]s; while read x < %[3]s; do sleep 0.02; done; echo denied`, filepath.Dir(mounted), mounted, secret)
	cmd.Path = "/usr/bin/unshare"
	cmd.Args = []string{"unshare", "--mount", "/bin/sh", "-c", script, "sh", mounted, dir, os.Args[0], "run", "--policies", mounted, "--log-level", "info", "--", "/bin/bash", "-c", workload}
	log := &lines{more: make(chan struct{}, 1)}
	out := &lines{more: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "policies in force")
	writePolicy(t, filepath.Join(dir, "b.yaml"), blockFile("b", secret))
	out.await(t, "denied")
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	if strings.Contains(log.String(), "can change its own policies") {
		t.Error("the log warns of a volume that is read-only")
	}
}

// Without watching nothing more is held, and the workload does not wait for a
// directory that is misspelt.
func TestDirectoryThatIsNotWatched(t *testing.T) {
	secret := secretFile(t)
	dir := policyDir(t, blockFile("a", "/nowhere"))
	for _, watch := range []string{"auto", "false"} {
		r := shell(t, nil, "--policies", dir, "--policies-watch", watch, "--log-level", "info")
		r.does(t, "true") // the policies have been read
		writePolicy(t, filepath.Join(dir, "b.yaml"), blockFile("b", secret))
		time.Sleep(700 * time.Millisecond)
		if !r.does(t, "read x < "+secret) {
			t.Errorf("%s: the directory is watched", watch)
		}
		if err := os.Remove(filepath.Join(dir, "b.yaml")); err != nil {
			t.Fatal(err)
		}
		if got := outcomeOf(t, tracer(t, "run", "--policies", dir+"x", "--policies-watch", watch, "--", "true")); got.code != exitFailed || !strings.Contains(got.stderr, dir+"x") {
			t.Errorf("%s: %+v", watch, got)
		}
	}
}

// The start waits for a directory that is still to come.
func TestDirectoryThatComesLater(t *testing.T) {
	secret, dir := secretFile(t), filepath.Join(t.TempDir(), "policies")
	got := outcomeOf(t, tracer(t, "run", "--policies", dir, "--policies-watch=true", "--policy-timeout=10ms", "--", "true"))
	if got.code != exitFailed || !strings.Contains(got.stderr, "the policies from "+dir) {
		t.Errorf("%+v", got)
	}
	cmd := tracer(t, "run", "--policies", dir, "--policies-watch=true", "--log-level=info", "--", "cat", secret)
	out, log := &lines{more: make(chan struct{}, 1)}, &lines{more: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.await(t, "the start waits")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writePolicy(t, filepath.Join(dir, "a.yaml"), blockFile("a", secret))
	if err := cmd.Wait(); err == nil || out.String() != "" || !strings.Contains(log.String(), "Permission denied") {
		t.Errorf("%v, %s\n%s", err, out, log)
	}
}

func TestStrict(t *testing.T) {
	secret := secretFile(t)
	dir := policyDir(t, blockFile("a", secret)+"extra: 1\n")
	got := outcomeOf(t, tracer(t, "run", "--policies", dir, "--log-level=warn", "--", "cat", secret))
	if got.code != 1 || !strings.Contains(got.stderr, "Permission denied") || !strings.Contains(got.stderr, "policies.yaml:5: the policy has no key") {
		t.Errorf("%+v", got)
	}
	got = outcomeOf(t, tracer(t, "run", "--policies", dir, "--strict", "--", "cat", secret))
	if got.code != exitFailed || got.stdout != "" || !strings.Contains(got.stderr, "policies.yaml:5: the policy has no key") {
		t.Errorf("%+v", got)
	}
}

func TestRulesThroughLinksOfTheSystem(t *testing.T) {
	if to, err := os.Readlink("/bin"); err != nil || to == "" {
		skip(t, "/bin is no link here")
	}
	policies := policyDir(t, "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: a}\nspec: {process: {matchPaths: [{path: /bin/sort}]}, action: Block}\n")
	got := outcomeOf(t, tracer(t, "run", "--policies", policies, "--", "/bin/bash", "-c", "/usr/bin/sort /etc/passwd; sort /etc/passwd; /usr/bin/true && echo fine"))
	if got.stdout != "fine\n" || strings.Count(got.stderr, "Permission denied") != 2 {
		t.Errorf("%+v", got)
	}
}

// confined forbids itself to read files, and says whether it can before and after it
// is told to look again.
const confined = `
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ruleset = libc.syscall(444, struct.pack("Q", 1 << 2), 8, 0)
libc.prctl(38, 1, 0, 0, 0)
print("confined", libc.syscall(446, ruleset, 0), flush=True)
for line in sys.stdin:
    try:
        os.close(os.open(line.strip(), os.O_RDONLY))
        print("opened", flush=True)
    except OSError as e:
        print(e.strerror, flush=True)
`

// What a process has forbidden itself while no rule could deny a file stays forbidden
// when one comes that can: then the tracer opens in its place.
func TestLandlockHoldsUnderLaterPolicies(t *testing.T) {
	dir, file := t.TempDir(), secretFile(t)
	cmd := tracer(t, "run", "--policies", dir, "--policies-watch=true", "--log-level=info", "--", python, "-c", confined)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, log := &lines{more: make(chan struct{}, 1)}, &lines{more: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out.await(t, "confined ")
	if out.await(t, "\n") != "0" {
		in.Close()
		_ = cmd.Wait()
		skip(t, "there is no Landlock here")
	}
	for range 2 {
		fmt.Fprintln(in, file)
		if got := out.await(t, "\n"); got != "Permission denied" {
			t.Errorf("%s\n%s", got, log)
		}
		writePolicy(t, filepath.Join(dir, "a.yaml"), blockFile("a", "/nowhere"))
		log.await(t, `"operations":"file"`)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}
