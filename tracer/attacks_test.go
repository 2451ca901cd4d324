package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// attack is a program of testdata/attacks, with its arguments.
func attack(t *testing.T, name string, args ...string) []string {
	t.Helper()
	if _, err := os.Stat(python); err != nil {
		skip(t, err)
	}
	return append([]string{python, inPublic(t, "testdata/attacks/"+name)}, args...)
}

// ways lists what an attack can try.
func ways(t *testing.T, name string) []string {
	t.Helper()
	return strings.Fields(outcomeOf(t, asItself.command(t, nil, attack(t, name))).stdout)
}

// scenery makes a directory for each way, with a secret part and a public one, and
// gives the whole and a rule for the secret parts.
func scenery(t *testing.T, who caller, ways []string, file string, content []byte) (dir string, secrets []string) {
	t.Helper()
	dir = sharedDir(t, who)
	for _, way := range ways {
		for _, part := range []string{"", "secret", "public"} {
			name := filepath.Join(dir, way, part)
			made(t, os.Mkdir(name, 0o755), name, who)
		}
		key, public := filepath.Join(dir, way, "secret", file), filepath.Join(dir, way, "public", "file")
		made(t, os.WriteFile(key, content, 0o755), key, who)
		made(t, os.WriteFile(public, nil, 0o644), public, who)
		secrets = append(secrets, filepath.Join(dir, way, "secret")+"/")
	}
	return dir, secrets
}

// won lists the ways that an attack says it won, and fails where it says too little.
func won(t *testing.T, who caller, out outcome, ways []string) (list []string) {
	t.Helper()
	said := 0
	for line := range strings.Lines(out.stdout) {
		way, how, _ := strings.Cut(strings.TrimSpace(line), " ")
		if said++; how == "won" {
			list = append(list, way)
		}
	}
	if out.code != 0 || said != len(ways) {
		t.Errorf("%s: exit %d, %d of %d ways: %s%s", who.name, out.code, said, len(ways), out.stdout, out.stderr)
	}
	return list
}

func directoryRule(section string, dirs []string) string {
	var list []string
	for _, d := range dirs {
		list = append(list, "{dir: "+d+", recursive: true}")
	}
	return section + ": {matchDirectories: [" + strings.Join(list, ", ") + "]}"
}

// The catalogue of ways to a denied file: all work without the tracer, none under it.
func TestAttacksOnFiles(t *testing.T) {
	t.Parallel()
	all := ways(t, "files.py")
	if len(all) < 40 {
		t.Fatalf("only %d ways: %q", len(all), all)
	}
	dir, _ := scenery(t, asItself, all, "key", []byte("content"))
	native := won(t, asItself, outcomeOf(t, asItself.command(t, nil, attack(t, "files.py", dir))), all)
	for _, way := range all { // what the machine may not have by itself
		if !slices.Contains(native, way) && !slices.Contains([]string{"uring", "own_namespace", "new_mount", "attribute"}, way) && os.Getuid() == 0 {
			t.Errorf("%s does not work without the tracer", way)
		}
	}
	for _, who := range everybody {
		dir, secrets := scenery(t, who, all, "key", []byte("content"))
		cmd := who.command(t, []string{"--policies", sharedPolicies(t, block(directoryRule("file", secrets)))}, attack(t, "files.py", dir))
		if list := won(t, who, outcomeOf(t, cmd), all); len(list) > 0 {
			t.Errorf("%s: %q", who.name, list)
		}
	}
}

// The same for programs. A copy of a program is another program; a file rule, and
// for memory the preset, are about it.
func TestAttacksOnPrograms(t *testing.T) {
	t.Parallel()
	all := ways(t, "programs.py")
	program, err := os.ReadFile(built(t, "said.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := scenery(t, asItself, all, "program", program)
	if native := won(t, asItself, outcomeOf(t, asItself.command(t, nil, attack(t, "programs.py", dir))), all); !slices.Equal(native, all) {
		t.Errorf("without the tracer only %q of %q", native, all)
	}
	for _, who := range everybody {
		for rules, want := range map[string][]string{"process": {"hard_link", "renamed", "directory_renamed", "by_loader", "copied", "memory"}, "both": nil} {
			dir, secrets := scenery(t, who, all, "program", program)
			policy := block(directoryRule("process", secrets))
			if rules == "both" {
				policy = block(directoryRule("process", secrets), directoryRule("file", secrets), "presets: [{name: filelessExec}]")
			}
			list := won(t, who, outcomeOf(t, who.command(t, []string{"--policies", sharedPolicies(t, policy)}, attack(t, "programs.py", dir))), all)
			if !slices.Equal(list, want) {
				t.Errorf("%s, %s: %q, want %q", who.name, rules, list, want)
			}
		}
	}
}

// Attacks on the tracer itself: as process 1 it survives all; elsewhere whoever is of
// its user can end it by its process group, or by a descriptor of it.
func TestAttacksOnTheTracer(t *testing.T) {
	t.Parallel()
	native := outcomeOf(t, asItself.command(t, nil, attack(t, "tracer.py", "0")))
	all := strings.Fields(strings.NewReplacer(" won", "", " lost", "").Replace(native.stdout))
	if list := won(t, asItself, native, all); len(list) != len(all) || len(all) < 20 {
		t.Errorf("without the tracer only %q of %q", list, all)
	}
	without := []string{"kill_group", "kill_by_pidfd"}
	for _, who := range everybody {
		who.setpriv = append(slices.Clone(who.setpriv), withoutPerfmon(&who)...)
		argv := append([]string{"/bin/sh", "-c", `exec "$@"`, "sh"}, attack(t, "tracer.py")...)
		argv[2] = `p=$1 s=$2; shift 2; exec "$p" "$s" $PPID "$@"`
		cmd := who.command(t, []string{"--policies", sharedPolicies(t, otherRules)}, append(argv, without...))
		if list := won(t, who, outcomeOf(t, cmd), all[:len(all)-len(without)]); len(list) > 0 {
			t.Errorf("%s: %q", who.name, list)
		}
	}
	if os.Getuid() != 0 {
		skip(t, "needs root, for a pid namespace")
	}
	cmd := tracer(t, append([]string{"run", "--policies", policyDir(t, otherRules), "--"}, attack(t, "tracer.py", "1")...)...)
	cmd.Path, cmd.Args = "/usr/bin/unshare", append([]string{"unshare", "--pid", "--fork", "--mount-proc"}, cmd.Args...)
	if list := won(t, asItself, outcomeOf(t, cmd), all); len(list) > 0 {
		t.Errorf("process 1: %q", list)
	}
}
