package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const python = "/usr/bin/python3"

// caller is as whom, and with what rights, the tracer and its workload run. The
// rights are laid down before the tracer starts: it has no more than its workload.
type caller struct {
	name    string
	setpriv []string // none: as the test itself
	uid     int
	around  []string // a command that runs all of it, the tracer too
}

// defaultCapabilities are those that a container gets when nobody says otherwise.
const defaultCapabilities = "-all,+chown,+dac_override,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap," +
	"+net_bind_service,+net_raw,+sys_chroot,+mknod,+audit_write,+setfcap"

var (
	asItself    = caller{name: "itself"}
	asContainer = caller{name: "container", setpriv: []string{"--bounding-set=" + defaultCapabilities, "--inh-caps=-all"}}
	asNotTracer = caller{name: "without CAP_SYS_PTRACE", setpriv: []string{"--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"}}
	asUser      = caller{name: "user", uid: 1000, setpriv: []string{"--reuid=1000", "--regid=1000", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"}}

	everybody = []caller{asItself, asContainer, asNotTracer, asUser}
	roots     = []caller{asItself, asContainer, asNotTracer}
)

// otherRules are about other programs, files and protocols than any here: with
// them the tracer holds every call that it ever holds, and opens all files.
const otherRules = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: other}
spec:
  process: {matchPaths: [{path: /no/such/program}]}
  file: {matchPaths: [{path: /no/such/file}]}
  network: {matchProtocols: [{protocol: sctp}]}
  capabilities: {matchCapabilities: [{capability: sys_pacct}]}
  action: Block
`

// block is a policy that denies; spec is lines of its spec, as "file: {…}".
func block(spec ...string) string {
	return "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: block}\nspec:\n  action: Block\n  " +
		strings.Join(spec, "\n  ") + "\n"
}

// publicDir is what public has made.
var publicDir atomic.Pointer[string]

// public is a directory that every user may read, with the test binary, to be the
// tracer, and the victims of testdata.
var public = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sidearmor-tracer-test")
	if err != nil {
		return "", err
	}
	publicDir.Store(&dir)
	script := `set -e; chmod 755 .; cp "$1" tracer; cp -R "$2" testdata; chmod -R a+rX .`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", self(), absolute("testdata"))
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return dir, nil
})

// removePublic removes the public directory, if one was made.
func removePublic() {
	if made := publicDir.Load(); made != nil {
		os.RemoveAll(*made)
	}
}

func self() string { return absolute(os.Args[0]) }

func absolute(path string) string {
	path, err := filepath.Abs(path)
	if err != nil {
		panic(err) // there is no working directory
	}
	return path
}

// inPublic is the path of a file in the public directory.
func inPublic(t *testing.T, name string) string {
	t.Helper()
	dir, err := public()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// command runs argv as the caller, under the tracer where it has arguments.
func (who *caller) command(t *testing.T, tracerArgs, argv []string) *exec.Cmd {
	t.Helper()
	if who.setpriv != nil && os.Getuid() != 0 {
		skip(t, "needs root, to become "+who.name)
	}
	if tracerArgs != nil {
		argv = slices.Concat([]string{inPublic(t, "tracer"), "run"}, tracerArgs, []string{"--"}, argv)
	}
	if who.setpriv != nil {
		argv = slices.Concat([]string{"setpriv"}, who.setpriv, []string{"--"}, argv)
	}
	argv = slices.Concat(who.around, argv)
	path, err := exec.LookPath(argv[0])
	if err != nil {
		skip(t, err)
	}
	cmd := tracer(t) // for its time limit and its environment
	cmd.Path, cmd.Args = path, argv
	if tracerArgs == nil {
		cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, asTracer+"=") })
	}
	cmd.Env = append(cmd.Env, "PYTHONDONTWRITEBYTECODE=1", "LC_ALL=C", "HOME=/", "TRACED="+fmt.Sprint(tracerArgs != nil))
	return cmd
}

// sharedDir is a directory that any user may work in, owned by the caller.
func sharedDir(t *testing.T, who caller) string {
	t.Helper()
	dir := t.TempDir()
	for _, made := range []string{filepath.Dir(dir), dir} { // by TempDir, both
		if err := os.Chmod(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, who.uid, who.uid); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sharedPolicies is policyDir where any user may read.
func sharedPolicies(t *testing.T, docs string) string {
	t.Helper()
	sharedDir(t, asItself)
	return policyDir(t, docs)
}

// scene is a program that is to do the same under the tracer as without it. It
// runs in an empty directory of its own.
type scene struct {
	argv  []string
	as    []caller // nil: everybody
	rules string   // "" stands for otherRules; DIR is the working directory
	setup func(t *testing.T, dir string, who caller)
	known string   // a regular expression: lines that differ, as docs/tracer.md says
	lines []string // that the output must have, natively: what the test is about did happen
}

// test runs the scene as each caller.
func (s scene) test(t *testing.T) {
	t.Helper()
	if s.as == nil {
		s.as = everybody
	}
	for _, who := range s.as {
		t.Run(who.name, func(t *testing.T) { s.compare(t, who) })
	}
}

func (s *scene) compare(t *testing.T, who caller) {
	t.Helper()
	native, traced := s.run(t, who, false), s.run(t, who, true)
	for _, line := range s.lines {
		if !strings.Contains("\n"+native.stdout, "\n"+line+"\n") {
			t.Fatalf("without the tracer there is no line %q: exit %d\n%s%s", line, native.code, native.stdout, native.stderr)
		}
	}
	if s.known != "" {
		known := regexp.MustCompile(s.known)
		for _, text := range []*string{&native.stdout, &native.stderr, &traced.stdout, &traced.stderr} {
			lines := strings.Split(*text, "\n")
			*text = strings.Join(slices.DeleteFunc(lines, known.MatchString), "\n")
		}
	}
	if native == traced {
		return
	}
	t.Errorf("lines with - are without the tracer (exit %d), with + under it (exit %d)\n%s%s", native.code, traced.code,
		difference(native.stdout, traced.stdout), difference(native.stderr, traced.stderr))
}

// mostShown bounds what is said of a run that went quite another way.
const mostShown = 40

// difference shows the lines that one text alone has.
func difference(a, b string) string {
	aLines, bLines := strings.Split(a, "\n"), strings.Split(b, "\n")
	shown := append(only("-", aLines, bLines), only("+", bLines, aLines)...)
	if len(shown) == 0 && a != b {
		return "the same lines in another order\n" + a + "\n" + b
	}
	return strings.Join(shown, "")
}

// only gives the lines that other lacks.
func only(sign string, of, other []string) []string {
	left := map[string]int{}
	for _, line := range other {
		left[line]++
	}
	var out []string
	for _, line := range of {
		if left[line]--; left[line] >= 0 {
			continue
		}
		if len(out) == mostShown {
			return append(out, sign+" …\n")
		}
		out = append(out, sign+" "+line+"\n")
	}
	return out
}

func (s *scene) run(t *testing.T, who caller, traced bool) outcome {
	t.Helper()
	dir := sharedDir(t, who)
	if s.setup != nil {
		s.setup(t, dir, who)
	}
	var args []string
	if traced {
		rules := s.rules
		if rules == "" {
			rules = otherRules
		}
		args = []string{"--policies", sharedPolicies(t, strings.ReplaceAll(rules, "DIR", dir))}
	}
	argv := slices.Clone(s.argv)
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "DIR", dir)
	}
	cmd := who.command(t, args, argv)
	cmd.Dir = dir
	cmd.WaitDelay = 5 * time.Second // what the program left behind may have kept the output open
	got := outcomeOf(t, cmd)
	got.stdout, got.stderr = strings.ReplaceAll(got.stdout, dir, "DIR"), strings.ReplaceAll(got.stderr, dir, "DIR")
	return got
}

// victim is the command line of a Python program of testdata.
func victimOf(t *testing.T, name string, args ...string) []string {
	t.Helper()
	if _, err := os.Stat(python); err != nil {
		skip(t, err)
	}
	return append([]string{python, inPublic(t, "testdata/"+name)}, args...)
}

// compiling is held while built looks whether there is something to do.
var compiling sync.Mutex

// built compiles a C program of testdata, once for all tests.
func built(t *testing.T, name string, flags ...string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		skip(t, err)
	}
	out := inPublic(t, strings.TrimSuffix(name, ".c"))
	compiling.Lock()
	defer compiling.Unlock()
	if _, err := os.Stat(out); err == nil {
		return out
	}
	args := slices.Concat([]string{"-O2", "-pthread", "-o", out, filepath.Join("testdata", name)}, flags)
	if text, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}
