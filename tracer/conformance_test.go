package main

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/sidearmor/sidearmor/schema"
)

// kubearmorCase is one of KubeArmor's own cases, see testdata/conformance.yaml.
type kubearmorCase struct {
	Spec  map[string]any `yaml:",inline"`
	Steps [][]string     `yaml:"steps"`
}

func kubearmorCases(t *testing.T) map[string]kubearmorCase {
	t.Helper()
	text, err := os.ReadFile("testdata/conformance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cases map[string]kubearmorCase
	if err := yaml.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// image makes a root directory after KubeArmor's own test image, with the programs of
// BusyBox: of a layout in which /bin is no link.
func image(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	sh := func(script string, args ...string) {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-ec", script, "sh"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		skip(t, err)
	}
	if _, err := os.Stat("../bin/tracer"); err != nil {
		skip(t, err)
	}
	sh(`umask 022; chmod 755 . ..
mkdir -p bin sbin usr/bin usr/sbin lib lib64 proc dev tmp mnt etc home/user1 credentials/keys var/www/html var/lib/mysql run/secrets/kubernetes.io/serviceaccount/..data
cp "$1" bin/ls; cp "$2" usr/bin/apt; cp "$3" tracer
dash=$(readlink -f /bin/dash); cp "$dash" bin/dash; ln bin/dash bin/sh; ldd "$dash" | grep -o '/[^ ]*' | xargs -I{} cp -L --parents {} .
for p in sleep cat head touch unlink rm mount umount ping wget su; do ln bin/ls bin/$p; done
for p in whoami unlink; do ln bin/ls usr/bin/$p; done
for p in usr/bin/python3 usr/bin/packet usr/bin/connect sbin/route usr/sbin/route readwrite home/user1/hello; do cp usr/bin/apt $p; done
for f in secret.txt credentials/password credentials/keys/priv.key etc/hostname etc/shadow etc/gshadow home/user1/secret_data1.txt docker-entrypoint.sh var/www/html/wp-config.php; do echo text > $f; done
echo nameserver 127.0.0.98 > etc/resolv.conf; echo html > var/www/html/index.html; echo token > run/secrets/kubernetes.io/serviceaccount/..data/token; ln -s ..data/token run/secrets/kubernetes.io/serviceaccount/token
printf 'root:x:0:0:root:/:/bin/sh\nuser1:x:1000:1000::/home/user1:/bin/sh\n' > etc/passwd; printf 'root:x:0:\nuser1:x:1000:\n' > etc/group
chown -R 1000:1000 home/user1; chmod 1777 tmp`, busybox, built(t, "tool.c", "-static"), absolute("../bin/tracer"))
	return root
}

// KubeArmor's cases, each step with a tracer of its own in that image.
func TestKubeArmorsCases(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		skip(t, "needs root, for a root directory of its own")
	}
	root := image(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	cases := kubearmorCases(t)
	for _, id := range slices.Sorted(maps.Keys(cases)) {
		t.Run(id, func(t *testing.T) {
			spec := maps.Clone(cases[id].Spec)
			delete(spec, "steps")
			policy, err := yaml.Marshal(map[string]any{
				"apiVersion": "security.kubearmor.com/v1", "kind": "KubeArmorPolicy", "metadata": map[string]any{"name": "pol", "namespace": "multiubuntu"}, "spec": spec,
			})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(root, "policy.yaml")
			if err := os.WriteFile(file, policy, 0o644); err != nil {
				t.Fatal(err)
			}
			for _, step := range cases[id].Steps {
				if len(spec) == 0 {
					file = ""
				}
				kubearmorStep(t, root, file, step[0], strings.ReplaceAll(step[1], "PORT", port), step[2], step[3])
			}
		})
	}
}

// kubearmorStep runs one command, and compares what it says and what is told.
func kubearmorStep(t *testing.T, root, policy, user, command, says, tells string) {
	t.Helper()
	c := newCollector(t)
	args := []string{"/tracer", "run", "--default-file-posture", "block", "--default-network-posture", "block", "--visibility", "all"}
	if policy != "" {
		args = append(args, "--policies", "/policy.yaml")
	}
	shell := []string{"--", "/bin/sh", "-c", command}
	if user != "root" {
		shell = []string{"--", "/bin/su", "-", user, "-c", command}
	}
	const world = `mount --make-rprivate /; mount -t proc proc proc; mount -t tmpfs none dev; mkdir dev/shm; mknod -m 666 dev/null c 1 3; exec chroot . "$@"`
	cmd := exec.CommandContext(t.Context(), "unshare", append(append([]string{"-m", "/bin/sh", "-ec", world, "sh"}, args...), shell...)...)
	cmd.Dir = root
	cmd.Env = []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin", "SIDEKICK_URL=" + c.URL, "POD_NAMESPACE=multiubuntu", "POD_LABELS=container=ubuntu-1,group=group-1", "POD_NAME=ubuntu-1", "CONTAINER_NAME=ubuntu-1-container"}
	out := outcomeOf(t, cmd)
	said := out.stdout + out.stderr
	switch {
	case says == "ok" && out.code == 0:
	case says == "denied" && out.code != 0 && regexp.MustCompile("(?i)permission denied").MatchString(said):
	case says != "ok" && says != "denied" && strings.Contains(said, says):
	default:
		t.Errorf("%s: %s: exit %d, %q; want %s", user, command, out.code, said, says)
	}
	events := c.records(t)
	if !kubearmorTold(events, tells) {
		t.Errorf("%s: %s: want %s of", user, command, tells)
		for _, e := range events {
			t.Logf("%s %s %s %s %s | %s | %s", e.PolicyName, e.Severity, e.Action, e.Result, e.Operation, e.Resource, e.Data)
		}
	}
}

func kubearmorTold(events []schema.Alert, want string) bool {
	alerts := slices.DeleteFunc(slices.Clone(events), func(e schema.Alert) bool { return e.PolicyName == "" })
	if want == "none" {
		return len(alerts) == 0
	}
	if resource, ok := strings.CutPrefix(want, "- "); ok {
		return slices.ContainsFunc(events, func(e schema.Alert) bool { return e.PolicyName == "" && strings.Contains(e.Resource, resource) })
	}
	w := strings.SplitN(want, " ", 5)
	severity, result := strings.TrimPrefix(w[1], "-"), strings.Replace(w[3], "denied", "Permission denied", 1)
	return slices.ContainsFunc(alerts, func(e schema.Alert) bool {
		return e.PolicyName == w[0] && e.Severity == severity && e.Action == w[2] && e.Result == result && strings.Contains(e.Resource, w[4]) && e.NamespaceName == "multiubuntu"
	})
}

// The table of the documents has each case that is run, and says of no other that it
// passes unless it names its test.
func TestConformanceTable(t *testing.T) {
	text, err := os.ReadFile("../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	cases := kubearmorCases(t)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !regexp.MustCompile(`^\| [A-Z]\d`).MatchString(line) {
			continue
		}
		known := false
		for _, id := range strings.Split(strings.TrimPrefix(cells[0], "| "), ", ") {
			_, is := cases[id]
			known = known || is
			delete(cases, id)
		}
		if passes := strings.HasPrefix(cells[2], "passes"); passes != (known || strings.HasPrefix(cells[2], "passes: `") || strings.HasPrefix(cells[2], "passes as ")) {
			t.Errorf("%s", line)
		}
	}
	for id := range cases {
		t.Errorf("%s is run, and not in docs/conformance.md", id)
	}
}

// KubeArmor's words for what is visible give its operations.
func TestVisibilityAsKubeArmors(t *testing.T) {
	t.Parallel()
	for visibility, want := range map[string]string{
		"file,process,network,capabilities": "File Network Process Syscall", "network": "Network", "none": "",
	} {
		c := newCollector(t)
		out := traceWith(t, c, []string{"--visibility", visibility}, "/bin/sh", "-c", `"$1" -c 'import os, socket
os.setuid(os.getuid())
try: socket.create_connection(("127.0.0.1", 1))
except OSError: pass'; :`, "sh", python)
		if out.code != 0 {
			t.Fatal(out)
		}
		seen := map[string]bool{}
		for _, e := range c.records(t) {
			seen[e.Operation] = true
		}
		if got := strings.Join(slices.Sorted(maps.Keys(seen)), " "); got != want {
			t.Errorf("%s: %q, want %q", visibility, got, want)
		}
	}
}
