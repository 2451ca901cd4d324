package containers

import (
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ptrace = "CAP_SYS_PTRACE"

// The pair observes, blocks and delivers, whoever the workload runs as and
// whatever the tracer may.
func TestPair(t *testing.T) {
	workload := []string{"/work/workload.sh"}
	asUser := []string{"/bin/su", "-s", "/bin/sh", "web", "-c", "exec /work/workload.sh"}
	withPtrace := append(slices.Clone(fargateCapabilities), ptrace)
	for _, test := range []struct {
		name string
		app  container
	}{
		{"root with SYS_PTRACE", container{args: workload, capabilities: withPtrace}},
		{"root", container{args: workload, capabilities: fargateCapabilities}},
		{"user with SYS_PTRACE", container{args: workload, uid: 1000, capabilities: withPtrace}},
		{"user", container{args: workload, uid: 1000, capabilities: fargateCapabilities}},
		{"root that becomes a user with SYS_PTRACE", container{args: asUser, capabilities: withPtrace}},
		{"root that becomes a user", container{args: asUser, capabilities: fargateCapabilities}},
		{"as in deploy/eks", container{args: workload, uid: 101, readonly: true, noNewPrivileges: true}},
	} {
		t.Run(test.name, func(t *testing.T) { testPair(t, test.app, "auto") })
		t.Run(test.name+", by ptrace", func(t *testing.T) { testPair(t, test.app, "ptrace") })
	}
}

func testPair(t *testing.T, app container, engine string) {
	k := newTask(t)
	sidekick := k.startSidekick()
	k.startReceiver()
	k.install()
	k.applicationRoot()

	tracer := []string{"/sidearmor/tracer", "run", "--engine", engine, "--"}
	app.name, app.rootfs = "app", filepath.Join(k.dir, "app")
	app.args = append(tracer, app.args...)
	app.env = []string{
		"TRACER_POLICIES=/sidearmor/policies", "SIDEKICK_URL=http://localhost:2801/",
		"POD_LABELS=app=web,tier=front", "CONTAINER_NAME=app", "CLUSTER_NAME=sample",
	}
	app.binds = append(
		app.binds,
		bind{filepath.Join(k.dir, "volume"), "/sidearmor", "ro"},
		bind{abs(t, "testdata/workload.sh"), "/work/workload.sh", "ro"},
	)
	stdout, stderr, status := k.run(&app)

	if status != 42 {
		t.Errorf("exit status %d, want the workload's 42", status)
	}
	if diff := cmp.Diff("start\nexec: 126\nread: 1\npublic\npong\nconnect: 0\n", stdout); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
	wantErrors := "/work/workload.sh: line 5: /usr/local/bin/wget: Permission denied\n" +
		"cat: can't open '/data/secret/token': Permission denied\n"
	if diff := cmp.Diff(wantErrors, stderr); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
	k.checkDelivery(&app, sidekick)
}

// alert is what the test looks at of a KubeArmor alert.
type alert struct {
	PolicyName, Action, Result, Operation, Resource, ProcessName, Severity, ContainerName, ContainerID, ClusterName, Labels string
}

func (k *task) checkDelivery(app, sidekick *container) {
	t := k.t
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("received: %s", strings.Join(append(k.posts("/slack"), k.posts("/webhook")...), "\n"))
		}
	}()
	base := alert{
		ContainerName: "app", ClusterName: "sample", Labels: "app=web,tier=front",
		ContainerID: filepath.Base(k.cgroup(app.name)),
	}
	exec, file, network := base, base, base
	exec.PolicyName, exec.Action, exec.Result, exec.Operation = "block-wget", "Block", "Permission denied", "Process"
	exec.Resource, exec.ProcessName, exec.Severity = "/usr/local/bin/wget --help", "/usr/local/bin/wget", "8"
	file.PolicyName, file.Action, file.Result, file.Operation = "protect-secret", "Block", "Permission denied", "File"
	file.Resource, file.ProcessName, file.Severity = "/data/secret/token", "/bin/busybox", "9"
	network.PolicyName, network.Action, network.Result, network.Operation = "audit-outbound", "Audit", "Passed", "Network"
	network.Resource, network.ProcessName, network.Severity = "remoteip=127.0.0.1 port=9000 protocol=TCP", "/bin/busybox", "3"
	want := []alert{exec, file, network}

	k.eventually("all alerts have been delivered", func() bool {
		slack := strings.Join(k.posts("/slack"), "\n")
		return len(k.alerts()) >= len(want) &&
			!slices.ContainsFunc(want, func(a alert) bool { return !strings.Contains(slack, a.PolicyName) })
	})
	// A sidekick that delivers something twice would have done so by its end.
	k.stop(sidekick)
	if diff := cmp.Diff(want, k.alerts()); diff != "" {
		t.Errorf("alerts at the webhook (-want +got):\n%s", diff)
	}
}

// alerts are the alerts among what the webhook got, in order. It gets logs too.
func (k *task) alerts() []alert {
	k.t.Helper()
	var all []alert
	for _, body := range k.posts("/webhook") {
		var a alert
		if err := json.Unmarshal([]byte(body), &a); err != nil {
			k.t.Fatalf("webhook got %s: %v", body, err)
		}
		if a.PolicyName != "" {
			all = append(all, a)
		}
	}
	return all
}

func (k *task) posts(path string) []string {
	var bodies []string
	for _, p := range k.received() {
		if p.Path == path {
			bodies = append(bodies, p.Body)
		}
	}
	return bodies
}

// startSidekick starts the sidekick as its image does and waits until it says
// that it is healthy.
func (k *task) startSidekick() *container {
	k.t.Helper()
	k.copy(k.programs.sidekick, "sidekick/sidekick")
	queue := k.path("queue")
	if err := os.Chown(queue, 65532, 65532); err != nil {
		k.t.Fatal(err)
	}
	c := &container{
		name: "sidekick", rootfs: filepath.Join(k.dir, "sidekick"), readonly: true,
		args: []string{"/sidekick"}, uid: 65532,
		env: []string{
			"QUEUE_DIR=/var/lib/sidearmor/queue",
			"WEBHOOK_ADDRESS=http://127.0.0.1:9000/webhook",
			"SLACK_WEBHOOKURL=http://127.0.0.1:9000/slack",
		},
		binds: []bind{{queue, "/var/lib/sidearmor", "rw"}},
	}
	k.start(c)
	k.eventually("the sidekick is healthy", func() bool {
		return k.runc(k.t.Context(), "exec", k.name(c), "/sidekick", "healthcheck").Run() == nil
	})
	return c
}

func (k *task) startReceiver() {
	k.t.Helper()
	k.copy(k.programs.receiver, "receiver/receiver")
	k.start(&container{
		name: "receiver", rootfs: filepath.Join(k.dir, "receiver"),
		args:  []string{"/receiver", "127.0.0.1:9000", "/out/received"},
		binds: []bind{{k.path("out"), "/out", "rw"}},
	})
}

// install copies the tracer into the volume that the application shares, by the
// tracer's own command, and the policies as Kubernetes mounts a ConfigMap: links
// into a directory that is itself a link.
func (k *task) install() {
	k.t.Helper()
	volume := k.path("volume")
	k.copy(k.programs.tracer, "tracer/tracer")
	_, stderr, status := k.run(&container{
		name: "install", rootfs: filepath.Join(k.dir, "tracer"), readonly: true,
		args:  []string{"/tracer", "install", "/sidearmor"},
		binds: []bind{{volume, "/sidearmor", "rw"}},
	})
	if status != 0 {
		k.t.Fatalf("install: status %d\n%s", status, stderr)
	}
	policies, err := filepath.Glob("testdata/policies/*.yaml")
	if err != nil || len(policies) == 0 {
		k.t.Fatalf("no policies: %v", err)
	}
	for _, from := range policies {
		body, err := os.ReadFile(from)
		if err != nil {
			k.t.Fatal(err)
		}
		k.write("volume/policies/..2026_01_01/"+filepath.Base(from), string(body))
		k.link("..data/"+filepath.Base(from), "volume/policies/"+filepath.Base(from))
	}
	k.link("..2026_01_01", "volume/policies/..data")
}

func (k *task) link(to, name string) {
	k.t.Helper()
	if err := os.Symlink(to, filepath.Join(k.dir, name)); err != nil {
		k.t.Fatal(err)
	}
}

// applicationRoot makes the root file system of an application: busybox, a
// second copy of it under a name that policies block, and data.
func (k *task) applicationRoot() {
	k.t.Helper()
	k.copy(k.programs.busybox, "app/bin/busybox")
	for _, applet := range []string{"sh", "cat", "wget", "su"} {
		k.link("busybox", "app/bin/"+applet)
	}
	k.copy(k.programs.busybox, "app/usr/local/bin/wget")
	k.write("app/etc/passwd", "root:x:0:0:root:/:/bin/sh\nweb:x:1000:1000:web:/:/bin/sh\n")
	k.write("app/etc/group", "root:x:0:\nweb:x:1000:\n")
	k.write("app/data/secret/token", "secret\n")
	k.write("app/data/public", "public\n")
	// Mount points, for the read-only case.
	for _, dir := range []string{"proc", "dev", "sys", "sidearmor", "work", "tmp"} {
		k.path("app/" + dir)
	}
}

// What runs in scratch images must need no file beside it.
func TestProgramsAreStatic(t *testing.T) {
	for _, tool := range []string{"make", "gcc"} {
		_, err := exec.LookPath(tool)
		require(t, err == nil, tool)
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{p.tracer, p.sidekick} {
		file, err := elf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range file.Progs {
			if section.Type == elf.PT_INTERP || section.Type == elf.PT_DYNAMIC {
				t.Errorf("%s is linked dynamically: it has a %s segment", filepath.Base(path), section.Type)
			}
		}
		if file.Section(".debug_info") != nil || file.Section(".symtab") != nil {
			t.Errorf("%s is not stripped", filepath.Base(path))
		}
		_ = file.Close()
	}
}

func abs(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}
