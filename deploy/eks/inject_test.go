package eks

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files anew")

func options() Options {
	return Options{
		TracerImage: "sidearmor/tracer:1", SidekickImage: "sidearmor/sidekick:1", Arch: "amd64",
		PolicyConfigMap: "policies", Cluster: "prod", ClusterPolicies: true, TraceProbes: true,
		SidekickSecret: "sidekick", Shared: Setting{Secret: "alerts", Key: "token"},
		SidekickEnv: []Setting{{Name: "SLACK_WEBHOOKURL", Secret: "alerts", Key: "slack"}, {Name: "AWS_REGION", Value: "eu-central-1"}},
		Commands: &workload.Commands{
			Given:  map[string]workload.Given{"": {Entrypoint: []string{"/entry.sh"}, Cmd: []string{"serve", "$(HOME)"}}},
			Images: &image.Images{Offline: true},
		},
	}
}

// Each form is injected as the golden file has it, again without a change, and
// taken back to the byte.
func TestForms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".want") || strings.HasSuffix(file, ".explain") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			res, err := Inject(t.Context(), string(body), options())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file+".want", res.Text)
			golden(t, file+".explain", strings.Join(append(append(res.Changes, res.Notes...), res.Costs...), "\n")+"\n")
			again, err := Inject(t.Context(), res.Text, options())
			if err != nil || again.Text != res.Text {
				t.Errorf("injected again: %v\n%s", err, again.Text)
			}
			back, err := Remove(res.Text)
			if err != nil || back != string(body) {
				t.Errorf("removed: %v\n%s", err, back)
			}
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is made now (-update writes it):\n%s", path, got)
	}
}

// pod is a manifest with parts to be filled in.
func pod(spec, container string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n" + spec + "  containers:\n  - name: web\n    image: shop/web:7\n" + container
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "\n", "it is empty"},
		{"template", "a: {{ .Values.x }}\n{{ end }}\n", "it is a template"},
		{"no JSON", "{\"a\": }", "not JSON"},
		{"twice", "a: 1\na: 2\n", `line 2: key "a" is there twice`},
		{"Windows", pod("  nodeSelector: {kubernetes.io/os: windows}\n", ""), "wants Windows"},
		{"for Windows", pod("  os: {name: windows}\n", ""), "is for Windows"},
		{"DaemonSet", "kind: DaemonSet\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: a, image: b}]}}}\n", "Fargate has no DaemonSets"},
		{"host network", pod("  hostNetwork: true\n", ""), "hostNetwork is not there on Fargate"},
		{"host processes", pod("  hostPID: true\n", ""), "hostPID and hostIPC"},
		{"host path", pod("  volumes: [{name: x, hostPath: {path: /x}}]\n", ""), "volume x is a hostPath"},
		{"host port", pod("", "    ports: [{containerPort: 1, hostPort: 2}]\n"), "hostPort 2"},
		{"privileged", pod("", "    securityContext: {privileged: true}\n"), "is privileged"},
		{"capability", pod("", "    securityContext: {capabilities: {add: [SYS_PTRACE]}}\n"), "adds capability SYS_PTRACE"},
		{"GPU", pod("", "    resources: {limits: {nvidia.com/gpu: 1}}\n"), "wants a GPU"},
		{"too large", pod("", "    resources: {requests: {cpu: 16}}\n"), "Fargate's largest size"},
		{"no pod's", pod("  restartPolicy: [Always]\n", ""), "its spec is not a pod's"},
		{"no quantity", pod("", "    resources: {requests: {cpu: much}}\n"), "its spec is not a pod's"},
		{"mounted", pod("", "    volumeMounts: [{name: x, mountPath: /sidearmor/}]\n"), "mounts something at /sidearmor already"},
		{"volume", pod("  volumes: [{name: sidearmor}]\n", ""), "it has a volume sidearmor"},
		{"container", strings.ReplaceAll(pod("", ""), "name: web\n    image", "name: sidearmor-sidekick\n    image"), "that inject did not write"},
		{"init container", pod("  initContainers: [{name: sidearmor-install}]\n", ""), "that inject did not write"},
		{"traced", pod("", "    command: [/x/tracer, run, --, y]\n"), "a tracer already"},
		{"command elsewhere", pod("", "    command: *x\n"), "unknown anchor"},
		{"merged", "x: &x {command: [a]}\nkind: Pod\nspec:\n  containers:\n  - <<: *x\n    name: a\n", "line 5: Pod: a container is not written out"},
		{"alias", "x: &x [{name: a}]\nkind: Pod\nspec:\n  containers: *x\n", "line 4: the containers of Pod are not a list"},
		{"no name", "kind: Pod\nspec:\n  containers:\n  - image: x\n", "line 4: Pod: a container has no name"},
		{"no image", "kind: Pod\nspec:\n  containers:\n  - name: x\n", "no image is named here"},
		{"mesh alone", "kind: Pod\nspec:\n  containers:\n  - name: istio-proxy\n    image: x\n", "no container is left"},
	} {
		o := options()
		if c.name == "no image" {
			o.Commands.Given = nil
		}
		if _, err := Inject(t.Context(), c.text, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
	if _, err := Remove(pod("", "")); err == nil || !strings.Contains(err.Error(), "nothing in it was added") {
		t.Errorf("removed from nothing: %v", err)
	}
}

// On nodes pods may do what Fargate forbids; then the host's network is shared,
// and the sidekick is reached by a socket.
func TestNodes(t *testing.T) {
	o := options()
	o.Nodes = true
	text := "kind: DaemonSet\nmetadata: {name: x}\nspec:\n  template:\n    spec:\n      hostNetwork: true\n      containers:\n      - {name: a, image: b}\n"
	res, err := Inject(t.Context(), text, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"LISTENSOCKET", "unix:///run/sidearmor/sidekick.sock", "sidearmor-socket"} {
		if !strings.Contains(res.Text, want) {
			t.Errorf("%s is not in\n%s", want, res.Text)
		}
	}
	if back, err := Remove(res.Text); err != nil || back != text {
		t.Errorf("%v\n%s", err, back)
	}
}

// Objects that have no pods pass.
func TestNothingToDo(t *testing.T) {
	const text = "kind: Service\n---\n# nothing\n---\nkind: List\nitems: []\n"
	res, err := Inject(t.Context(), text, options())
	if err != nil || res.Text != text || len(res.Notes) != 1 {
		t.Errorf("%v %+v", err, res)
	}
}

// A pod's size is that of its requests and 256 MiB, in Fargate's steps.
func TestSizes(t *testing.T) {
	for requests, want := range map[string]string{
		"":                         "0.25 vCPU and 0.5 GB",
		"cpu: 250m":                "0.5 vCPU and 1 GB", // with the sidekick's 50m
		"memory: 200Mi":            "0.25 vCPU and 1 GB",
		"cpu: 2, memory: 7Gi":      "4 vCPU and 8 GB",
		"cpu: 100m, memory: 100Gi": "16 vCPU and 104 GB",
	} {
		res, err := Inject(t.Context(), pod("", "    resources: {requests: {"+requests+"}}\n"), options())
		if err != nil {
			t.Fatal(err)
		}
		if costs := strings.Join(res.Costs, "\n"); !strings.Contains(costs, "Fargate size: "+want) {
			t.Errorf("%s: %s", requests, costs)
		}
	}
}

func FuzzInject(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(file, ".explain") {
			f.Add(string(body))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		original, err := Remove(text)
		if err != nil {
			original = text
		}
		res, err := Inject(t.Context(), text, options())
		if err != nil || res.Pods == 0 {
			return
		}
		if back, err := Remove(res.Text); err != nil || back != original {
			t.Errorf("removed: %v\n%s", err, back)
		}
	})
}
