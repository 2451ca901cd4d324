package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema"
	"golang.org/x/sys/unix"
)

// What the tracer changes in the place of a program ends as it does natively: the
// same errors, the same files with the same modes and owners.
func TestChangesAreAsTheWorkloadsOwn(t *testing.T) {
	t.Parallel()
	// The list of a process's own descriptors, after it has changed its user.
	const known = `from-tmpfile2`
	scene{argv: victimOf(t, "changes.py"), as: []caller{asItself, asUser}, known: known}.test(t)
	scene{argv: victimOf(t, "changes.py", "unreadable"), as: []caller{asContainer, asNotTracer}, known: known}.test(t)
	scene{argv: victimOf(t, "attributes.py"), as: []caller{asItself, asUser}}.test(t)
	scene{argv: victimOf(t, "attributes.py", "unreadable"), as: []caller{asContainer, asNotTracer}}.test(t)
}

// bypasses are ways to a denied file, or to change it, by other calls than open.
// Each line is a shell command that fails.
const bypasses = `
mv secret/key public/key
mv secret public/secret
mv ../DIRNAME ../moved
ln secret/key public/key
ln -s ../secret/key public/sym && cat public/sym
rm secret/key
rm -r secret
mkdir secret/new
touch secret/new
ln -s x secret/new
ln public/file secret/new
mv public/file secret/new
mv public/file secret/key
mkfifo secret/fifo
chmod 777 secret/key
chmod 777 secret
chown 0:0 secret/key
truncate -s 0 secret/key
touch -d 2001-01-01 secret/key
python3 -c 'import ctypes, os; exit(0 if ctypes.CDLL(None).renameat2(-100, b"public", -100, b"secret", 2) == 0 else 1)'
python3 -c 'import os; os.truncate("secret/key", 0)'
python3 -c 'import os; f = os.open("public", os.O_PATH); os.rename("../secret/key", "x", src_dir_fd=f, dst_dir_fd=f)'
python3 -c 'import os; os.link("secret/key", "public/key", follow_symlinks=False)'
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("secret/sock")'
python3 -c 'import os, socket; os.chdir("secret"); socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).bind("sock")'
cd public; mv ./../secret/../secret/./key .
cd secret && mv key ../public/key`

// Neither a denied file nor its directory can be given another name, and nothing
// in a denied directory can be made, removed or changed.
func TestDeniedFilesStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	for _, who := range everybody {
		t.Run(who.name, func(t *testing.T) {
			t.Parallel()
			dir := secretTree(t, who)
			script := strings.ReplaceAll(`i=0
while read -r line; do
	i=$((i+1))
	[ -z "$line" ] || (eval "$line") >/dev/null 2>&1 && [ -n "$line" ] && echo "passed: $line"
done <<'LINES'
`+bypasses+`
LINES
touch public/made && mv public/made public/moved && ln public/moved public/linked && chmod 600 public/linked && rm public/linked && mkdir public/d && mv public/d public/e && rmdir public/e &&
python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind("public/sock"); s.listen(); socket.socket(socket.AF_UNIX).connect("public/sock"); socket.socket(socket.AF_UNIX).bind("\0secret/sock")' && echo free`, "DIRNAME", "work")
			cmd := who.command(t, []string{"--policies", sharedPolicies(t, block("file: {matchDirectories: [{dir: "+dir+"/secret/, recursive: true}]}"))}, []string{"/bin/sh", "-c", script})
			cmd.Dir = dir
			got := outcomeOf(t, cmd)
			if got.stdout != "free\n" {
				t.Errorf("exit %d: %s%s", got.code, got.stdout, got.stderr)
			}
			if text, err := os.ReadFile(dir + "/secret/key"); err != nil || string(text) != "content" {
				t.Errorf("the denied file: %q, %v", text, err)
			}
			if entries, err := os.ReadDir(dir + "/secret"); err != nil || len(entries) != 1 {
				t.Errorf("the denied directory: %v, %v", entries, err)
			}
		})
	}
}

// A Unix socket with a path is told of as the file that it is.
func TestSocketsAreFiles(t *testing.T) {
	t.Parallel()
	for action, result := range map[string]string{"Block": "Permission denied", "Audit": "Passed"} {
		c := newCollector(t)
		dir := sharedDir(t, asItself)
		policy := strings.Replace(block("file: {matchDirectories: [{dir: "+dir+"/, readOnly: true}]}"), "Block", action, 1)
		cmd := asItself.command(t, []string{"--visibility=none", "--policies", sharedPolicies(t, policy)},
			[]string{python, "-c", "import socket; s = socket.socket(socket.AF_UNIX)\ntry: s.bind('" + dir + "/./sock'); print(s.getsockname()[-4:])\nexcept OSError as e: print(e.strerror)"})
		cmd.Env = append(cmd.Env, "SIDEKICK_URL="+c.URL)
		if got := outcomeOf(t, cmd); got.stdout != map[string]string{"Block": "Permission denied\n", "Audit": "sock\n"}[action] {
			t.Errorf("%s: %+v", action, got)
		}
		events := c.records(t)
		if e := find(events, "File", dir+"/sock", ""); len(events) != 1 || e == nil || e.Result != result || e.Action != action || !strings.HasPrefix(e.Data, "syscall=SYS_BIND fd=") {
			t.Errorf("%s: %+v", action, events)
		}
	}
}

// Without the tracer each of the ways leads there, or else the test shows nothing.
func TestDeniedFilesCouldBeMoved(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(strings.TrimSpace(bypasses)) {
		line = strings.TrimSpace(strings.ReplaceAll(line, "DIRNAME", "work"))
		cmd := asItself.command(t, nil, []string{"/bin/sh", "-c", line})
		cmd.Dir = secretTree(t, asItself)
		if got := outcomeOf(t, cmd); got.code != 0 {
			t.Errorf("%s: exit %d: %s", line, got.code, got.stderr)
		}
	}
}

// secretTree makes a directory with a secret one and a public one.
func secretTree(t *testing.T, who caller) string {
	t.Helper()
	dir := filepath.Join(sharedDir(t, who), "work")
	for _, name := range []string{dir, dir + "/secret", dir + "/public"} {
		made(t, os.Mkdir(name, 0o755), name, who)
	}
	for _, name := range []string{dir + "/secret/key", dir + "/public/file"} {
		made(t, os.WriteFile(name, []byte("content"), 0o644), name, who)
	}
	return dir
}

func made(t *testing.T, err error, name string, who caller) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(name, who.uid, who.uid); err != nil {
			t.Fatal(err)
		}
	}
}

// What is changed is told, with the kernel's result where the tracer makes the
// change itself.
func TestChangesAreTold(t *testing.T) {
	t.Parallel()
	for _, carried := range []bool{false, true} {
		t.Run(fmt.Sprint("carried out ", carried), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			args := []string{"--visibility", "file:write"}
			if carried {
				args = append(args, "--policies", policyDir(t, otherRules))
			}
			c := newCollector(t)
			attributes := `os.setxattr("n", "user.a", b"x"); os.removexattr("n", "user.a");`
			told := changesTold
			if !userAttributes(t, dir) {
				attributes, told = "", regexp.MustCompile("(?m)^.*XATTR.*\n").ReplaceAllString(told, "")
			}
			out := traceWith(t, c, args, python, "-c", strings.ReplaceAll(`
import os, sys
os.chdir(sys.argv[1]); os.umask(0)
os.mkdir("d", 0o750); os.mknod("n", 0o600); os.symlink("n", "s"); os.link("n", "l"); os.rename("l", "m"); os.chmod("n", 0o640)
os.chown("n", -1, -1); os.truncate("n", 3); os.utime("n"); ATTRIBUTES os.unlink("m"); os.rmdir("d")
for f in (lambda: os.mkdir("n"), lambda: os.unlink("missing"), lambda: os.rename("missing", "x")):
    try: f()
    except OSError: pass
`, "ATTRIBUTES", attributes), dir)
			if out.code != 0 {
				t.Fatalf("exit %d: %s", out.code, out.stderr)
			}
			var got []string
			events := c.records(t)
			// What might have waited is told by another thread, perhaps after what came next.
			slices.SortStableFunc(events, func(a, b schema.Alert) int { return strings.Compare(a.UpdatedTime, b.UpdatedTime) })
			for _, e := range events {
				got = append(got, strings.ReplaceAll(e.Resource+" "+e.Data+" "+e.Result, dir, "DIR"))
			}
			want := strings.Split(strings.TrimSpace(told), "\n")
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s", difference(strings.Join(want, "\n"), strings.Join(got, "\n")))
			}
		})
	}
}

// userAttributes says whether files there have extended attributes of users.
func userAttributes(t *testing.T, dir string) bool {
	t.Helper()
	name := filepath.Join(dir, "attributes")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	return unix.Setxattr(name, "user.a", []byte("x"), 0) == nil
}

const changesTold = `
DIR/d syscall=SYS_MKDIR mode=0750 Passed
DIR/n syscall=SYS_MKNODAT fd=-100 mode=0600 Passed
DIR/s syscall=SYS_SYMLINK target=n Passed
DIR/n syscall=SYS_LINK newpath=DIR/l Passed
DIR/l syscall=SYS_RENAME newpath=DIR/m Passed
DIR/n syscall=SYS_CHMOD mode=0640 Passed
DIR/n syscall=SYS_CHOWN userid=-1 group=-1 Passed
DIR/n syscall=SYS_TRUNCATE length=3 Passed
DIR/n syscall=SYS_UTIMENSAT fd=-100 flags= Passed
DIR/n syscall=SYS_SETXATTR name=user.a Passed
DIR/n syscall=SYS_REMOVEXATTR name=user.a Passed
DIR/m syscall=SYS_UNLINK Passed
DIR/d syscall=SYS_RMDIR Passed
DIR/n syscall=SYS_MKDIR mode=0777 File exists
`

// No thread that changes a path after the check gets at a denied file.
func TestChangesAreNotRaced(t *testing.T) {
	t.Parallel()
	race := built(t, "changerace.c")
	for _, who := range everybody {
		for _, call := range []string{"unlink", "rename", "link", "chmod", "truncate"} {
			t.Run(who.name+"/"+call, func(t *testing.T) {
				dir := secretTree(t, who)
				args := []string{"--policies", sharedPolicies(t, block("file: {matchPaths: [{path: "+dir+"/secret/key}]}"))}
				cmd := who.command(t, args, []string{race, call, dir + "/public/file", dir + "/secret/key", dir + "/public/scratch", "2000"})
				if got := outcomeOf(t, cmd); got.stdout != "0 1\n" {
					t.Errorf("exit %d: %q %s", got.code, got.stdout, got.stderr)
				}
			})
		}
	}
}
