package containers

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// What inject makes of a task definition runs as it says: the containers are made
// of the definition alone, started and stopped in its order.
func TestInjectedDefinition(t *testing.T) {
	k := newTask(t)
	file := k.write("definition.json", `{
  "family": "sample", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
  "containerDefinitions": [{
    "name": "app", "image": "app:1", "entryPoint": ["/bin/sh", "-c"], "command": ["exec /work/workload.sh"],
    "readonlyRootFilesystem": true, "linuxParameters": {"initProcessEnabled": true}
  }]
}`)
	text := k.inject("ecs", file, "--sidekick-env", "WEBHOOK_ADDRESS=http://127.0.0.1:9000/webhook", "--sidekick-env", "SLACK_WEBHOOKURL=http://127.0.0.1:9000/slack",
		"--tracer-env", "POD_LABELS=app=web,tier=front", "--tracer-env", "CONTAINER_NAME=app", "--tracer-env", "CLUSTER_NAME=sample", "--policies", "testdata/policies")
	containers := k.fromDefinition(text)
	runInjected(k, containers["sidearmor-install"], containers["sidearmor-sidekick"], containers["app"])
}

// The same with a pod, of which nothing may add a capability.
func TestInjectedPod(t *testing.T) {
	k := newTask(t)
	file := k.write("pod.yaml", `apiVersion: v1
kind: Pod
metadata:
  name: web
  labels: {app: web, tier: front}
spec:
  containers:
  - name: app
    image: app:1
    command: [/bin/sh, -c]
    args: [exec /work/workload.sh]
    securityContext: {runAsUser: 101, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
`)
	text := k.inject("eks", "-f", file, "--sidekick-env", "WEBHOOK_ADDRESS=http://127.0.0.1:9000/webhook", "--sidekick-env", "SLACK_WEBHOOKURL=http://127.0.0.1:9000/slack",
		"--cluster", "sample", "--policies", "testdata/policies")
	containers := k.fromPod(text)
	runInjected(k, containers["sidearmor-install"], containers["sidearmor-sidekick"], containers["app"])
}

func runInjected(k *task, install, sidekick, app *container) {
	t := k.t
	t.Helper()
	// The network is there before the containers, as that of a task.
	k.startReceiver()
	if _, stderr, status := k.run(install); status != 0 {
		t.Fatalf("install: %d %s", status, stderr)
	}
	k.start(sidekick)
	k.eventually("the sidekick is healthy", func() bool {
		return k.runc(t.Context(), "exec", k.name(sidekick), "/sidekick", "healthcheck").Run() == nil
	})
	if _, _, status := k.run(app); status != 42 {
		t.Errorf("exit status %d, want the workload's 42", status)
	}
	k.checkDelivery(app, sidekick)
}

// Stopped, the workload gets its signal at once, and what it does last is still
// delivered by the sidekick, which is stopped after it.
func TestInjectedStops(t *testing.T) {
	k := newTask(t)
	file := k.write("definition.json", `{
  "family": "sample", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
  "containerDefinitions": [{
    "name": "app", "image": "app:1", "entryPoint": ["/bin/sh", "-c"],
    "command": ["trap 'cat /data/secret/token; exit 0' TERM; echo ready; while :; do sleep 1; done"]
  }]
}`)
	text := k.inject("ecs", file, "--sidekick-env", "WEBHOOK_ADDRESS=http://127.0.0.1:9000/webhook",
		"--tracer-env", "POD_LABELS=app=web", "--policies", "testdata/policies")
	containers := k.fromDefinition(text)
	app, sidekick := containers["app"], containers["sidearmor-sidekick"]
	k.startReceiver()
	if _, stderr, status := k.run(containers["sidearmor-install"]); status != 0 {
		t.Fatalf("install: %d %s", status, stderr)
	}
	k.start(sidekick)
	k.start(app) // at START, the sidekick need not answer yet
	k.eventually("the workload is ready", func() bool {
		log, err := os.ReadFile(filepath.Join(k.dir, "app.log"))
		return err == nil && strings.Contains(string(log), "ready")
	})
	k.eventually("the sidekick is healthy", func() bool {
		return k.runc(t.Context(), "exec", k.name(sidekick), "/sidekick", "healthcheck").Run() == nil
	})
	k.stop(app)
	k.stop(sidekick)
	if alerts := k.alerts(); !slices.ContainsFunc(alerts, func(a alert) bool { return a.PolicyName == "protect-secret" && a.Result == "Permission denied" }) {
		t.Errorf("the last alert was not delivered: %+v", alerts)
	}
}

// inject runs the program and returns what it writes.
func (k *task) inject(args ...string) string {
	k.t.Helper()
	out, err := exec.CommandContext(k.t.Context(), filepath.Join(buildDir, "inject"), append(args, "--offline")...).Output()
	if err != nil {
		if failed, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Output returns it
			k.t.Fatalf("inject: %v\n%s", err, failed.Stderr)
		}
		k.t.Fatal(err)
	}
	return string(out)
}

// images are what the names in the definitions stand for: a root file system, and
// the ENTRYPOINT.
func (k *task) image(name string) (rootfs string, entrypoint []string) {
	k.t.Helper()
	switch name {
	case "sidearmor/tracer:latest":
		k.copy(k.programs.tracer, "tracer/tracer")
		return filepath.Join(k.dir, "tracer"), []string{"/tracer"}
	case "sidearmor/sidekick:latest":
		k.copy(k.programs.sidekick, "sidekick/sidekick")
		return filepath.Join(k.dir, "sidekick"), []string{"/sidekick"}
	case "machine:1":
		k.machineRoot()
		return filepath.Join(k.dir, "machine"), nil
	}
	k.applicationRoot()
	k.link("busybox", "app/bin/sleep")
	return filepath.Join(k.dir, "app"), nil
}

// machineRoot makes a root file system in which the machine's own programs run.
func (k *task) machineRoot() {
	k.t.Helper()
	for _, dir := range []string{"proc", "dev", "sys", "usr", "etc", "run", "var", "data", "work", "sidearmor", "tmp"} {
		k.path("machine/" + dir)
	}
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		k.link("usr/"+link, "machine/"+link)
	}
	if err := os.Chmod(k.path("machine/tmp"), 0o1777); err != nil {
		k.t.Fatal(err)
	}
}

// volume is a directory of the host. It belongs to whom the directory in the
// image belongs to that it covers, as Docker has it.
func (k *task) volume(name string) string {
	k.t.Helper()
	dir := k.path("volumes/" + name)
	if name != "sidearmor" {
		if err := os.Chown(dir, 65532, 65532); err != nil {
			k.t.Fatal(err)
		}
	}
	return dir
}

// workload is mounted into the application by the test: its image would have it.
func workload(k *task, c *container) *container {
	switch c.name {
	case "app":
		c.binds = append(c.binds, bind{abs(k.t, "testdata/workload.sh"), "/work/workload.sh", "ro"})
	case "server":
		for _, dir := range []string{"/usr", "/etc"} {
			c.binds = append(c.binds, bind{dir, dir, "ro"})
		}
		c.binds = append(c.binds, bind{k.path("work"), "/work", "ro"})
	}
	return c
}

// fromDefinition makes containers of a task definition, with what Fargate gives.
func (k *task) fromDefinition(text string) map[string]*container {
	k.t.Helper()
	var definition types.TaskDefinition
	if err := json.Unmarshal([]byte(text), &definition); err != nil {
		k.t.Fatal(err)
	}
	containers := map[string]*container{}
	for _, d := range definition.ContainerDefinitions {
		rootfs, entrypoint := k.image(*d.Image)
		c := &container{name: *d.Name, rootfs: rootfs, readonly: d.ReadonlyRootFilesystem != nil && *d.ReadonlyRootFilesystem, capabilities: slices.Clone(fargateCapabilities)}
		if len(d.EntryPoint) > 0 {
			entrypoint = d.EntryPoint
		}
		c.args = slices.Concat(entrypoint, d.Command)
		for _, e := range d.Environment {
			c.env = append(c.env, *e.Name+"="+*e.Value)
		}
		if d.User != nil {
			uid, err := strconv.ParseUint(strings.Split(*d.User, ":")[0], 10, 32)
			if err != nil {
				k.t.Fatal(err)
			}
			c.uid = uint32(uid)
		}
		if l := d.LinuxParameters; l != nil && l.Capabilities != nil {
			if slices.Contains(l.Capabilities.Drop, "ALL") {
				c.capabilities = nil
			}
			for _, added := range l.Capabilities.Add {
				c.capabilities = append(c.capabilities, "CAP_"+added)
			}
		}
		for _, m := range d.MountPoints {
			mode := "rw"
			if m.ReadOnly != nil && *m.ReadOnly {
				mode = "ro"
			}
			c.binds = append(c.binds, bind{k.volume(*m.SourceVolume), *m.ContainerPath, mode})
		}
		containers[c.name] = workload(k, c)
	}
	return containers
}

// fromPod makes containers of a pod, as the kubelet does.
func (k *task) fromPod(text string) map[string]*container {
	k.t.Helper()
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
		k.t.Fatal(err)
	}
	volumes := map[string]string{}
	for _, v := range pod.Spec.Volumes {
		dir := k.path("volumes/" + v.Name)
		if err := os.Chmod(dir, 0o777); err != nil { // as that of an emptyDir
			k.t.Fatal(err)
		}
		if v.DownwardAPI != nil {
			k.write("volumes/"+v.Name+"/labels", "app=\"web\"\ntier=\"front\"")
		}
		volumes[v.Name] = dir
	}
	containers := map[string]*container{}
	for _, d := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		rootfs, entrypoint := k.image(d.Image)
		if len(d.Command) > 0 {
			entrypoint = d.Command
		}
		s := d.SecurityContext
		if len(s.Capabilities.Drop) == 0 || len(s.Capabilities.Add) > 0 || s.RunAsUser == nil {
			k.t.Fatalf("%s: %+v", d.Name, s)
		}
		c := &container{
			name: d.Name, rootfs: rootfs, readonly: *s.ReadOnlyRootFilesystem, args: slices.Concat(entrypoint, d.Args),
			uid: uint32(*s.RunAsUser), noNewPrivileges: !*s.AllowPrivilegeEscalation, //nolint:gosec // a user's id
		}
		fields := map[string]string{"metadata.name": pod.Name, "metadata.namespace": "default", "spec.nodeName": "node"}
		for _, e := range d.Env {
			value := e.Value
			if e.ValueFrom != nil {
				value = fields[e.ValueFrom.FieldRef.FieldPath]
			}
			c.env = append(c.env, e.Name+"="+value)
		}
		for _, m := range d.VolumeMounts {
			mode := "rw"
			if m.ReadOnly {
				mode = "ro"
			}
			c.binds = append(c.binds, bind{volumes[m.Name], m.MountPath, mode})
		}
		containers[c.name] = workload(k, c)
	}
	return containers
}
