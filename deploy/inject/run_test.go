package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"
)

// imageFor runs arguments, and says them after its architecture.
func imageFor(t *testing.T, arch string) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: "linux", Architecture: arch,
		Config: v1.Config{Entrypoint: []string{"/bin/" + arch, "run"}, Cmd: []string{"serve"}, User: "1000", WorkingDir: "/srv"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func both(t *testing.T) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: imageFor(t, arch), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return index
}

func definition(t *testing.T, ref, arch string) string {
	t.Helper()
	return write(t, "task.json", `{
  "family": "x", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512",
  "runtimePlatform": {"cpuArchitecture": "`+arch+`"},
  "containerDefinitions": [{"name": "web", "image": "`+ref+`"}]
}
`)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func inject(t *testing.T, stdin io.Reader, args ...string) (int, string, string) {
	t.Helper()
	var out, problems bytes.Buffer
	status := run(t.Context(), args, stdin, &out, &problems)
	return status, out.String(), problems.String()
}

// entry is the entryPoint and the command of the first container.
func entry(t *testing.T, text string) string {
	t.Helper()
	var task struct {
		ContainerDefinitions []struct{ EntryPoint, Command []string }
	}
	if err := json.Unmarshal([]byte(text), &task); err != nil || len(task.ContainerDefinitions) != 3 {
		t.Fatalf("%v\n%s", err, text)
	}
	c := task.ContainerDefinitions[0]
	return strings.Join(c.EntryPoint, " ") + " | " + strings.Join(c.Command, " ")
}

// What an image runs is read from a registry, an OCI layout or a tarball, for the
// architecture of the task.
func TestImages(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/shop/web:7"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, both(t), remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, both(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, imageFor(t, "amd64")); err != nil {
		t.Fatal(err)
	}
	for arch, want := range map[string]string{"X86_64": "amd64", "ARM64": "arm64"} {
		for source, flags := range map[string][]string{
			"registry": nil,
			"layout":   {"--offline", "--image-file", ref + "=" + dir},
			"tarball":  {"--offline", "--image-file", ref + "=" + file},
		} {
			if source == "tarball" && want != "amd64" {
				continue
			}
			status, out, problems := inject(t, nil, append([]string{"ecs", definition(t, ref, arch)}, flags...)...)
			if status != ok {
				t.Fatalf("%s: %d %s", source, status, problems)
			}
			if got := entry(t, out); got != "/sidearmor/tracer run -- /bin/"+want+" run | serve" {
				t.Errorf("%s: %s", source, got)
			}
		}
	}
	if status, _, problems := inject(t, nil, "ecs", definition(t, ref+"8", "X86_64")); status != refused || !strings.Contains(problems, "MANIFEST_UNKNOWN") {
		t.Errorf("no such tag: %d %s", status, problems)
	}
	if status, _, problems := inject(t, nil, "ecs", "--offline", definition(t, ref, "X86_64")); status != refused || !strings.Contains(problems, "no registry is asked") {
		t.Errorf("offline: %d %s", status, problems)
	}
}

func TestECS(t *testing.T) {
	file := definition(t, "shop/web:7", "X86_64")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	given := []string{"--offline", "--entrypoint", `web=["/web"]`, "--cmd", "[]", "--slack-secret", "/slack", "--discord-secret", "/discord", "--cloudwatch-group", "/alerts", "--region", "eu-central-1"}
	status, injected, problems := inject(t, nil, append([]string{"ecs", file}, given...)...)
	if status != ok || entry(t, injected) != "/sidearmor/tracer run -- /web | " {
		t.Fatalf("%d %s\n%s", status, problems, injected)
	}
	if !strings.Contains(problems, "executionRoleArn") {
		t.Errorf("no note about the role: %s", problems)
	}
	for _, want := range []string{`"SLACK_WEBHOOKURL"`, `"DISCORD_WEBHOOKURL"`, `"AWS_CLOUDWATCHLOGS_LOGGROUP"`, `"eu-central-1"`} {
		if !strings.Contains(injected, want) {
			t.Errorf("%s is not in\n%s", want, injected)
		}
	}
	if _, out, _ := inject(t, strings.NewReader(injected), append([]string{"ecs", "-"}, given...)...); out != injected {
		t.Errorf("injected again:\n%s", out)
	}
	if _, out, _ := inject(t, strings.NewReader(injected), "ecs", "--remove", "-"); out != string(before) {
		t.Errorf("removed:\n%s", out)
	}
	if _, out, _ := inject(t, nil, append([]string{"ecs", "--diff", file}, given...)...); !strings.HasPrefix(out, "--- "+file) || !strings.Contains(out, "\n+") {
		t.Errorf("diff:\n%s", out)
	}
	if _, out, _ := inject(t, nil, append([]string{"ecs", "--explain", file}, given...)...); !strings.Contains(out, "What changes in") || !strings.Contains(out, "What it costs:\n  - memory:") || strings.Contains(out, "{") {
		t.Errorf("explained:\n%s", out)
	}
}

func TestEKS(t *testing.T) {
	const manifest = "# a pod\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: web # here\n    image: shop/web:7\n    command: [web]\n"
	file := write(t, "pod.yaml", manifest)
	given := []string{"--slack-secret", "alerts/slack", "--discord-secret", "alerts/discord", "--cloudwatch-group", "/alerts", "--region", "eu-central-1", "--cluster", "prod"}
	status, injected, problems := inject(t, nil, append([]string{"eks", "-f", file}, given...)...)
	if status != ok || !strings.Contains(injected, `command: ["/sidearmor/tracer", "run", "--", web]`) || !strings.Contains(injected, "- name: web # here") {
		t.Fatalf("%d %s\n%s", status, problems, injected)
	}
	for _, want := range []string{"SLACK_WEBHOOKURL", "DISCORD_WEBHOOKURL", "AWS_CLOUDWATCHLOGS_LOGGROUP", "eu-central-1", "CLUSTER_NAME"} {
		if !strings.Contains(injected, want) {
			t.Errorf("%s is not in\n%s", want, injected)
		}
	}
	if _, out, _ := inject(t, strings.NewReader(injected), append([]string{"eks", "-"}, given...)...); out != injected {
		t.Errorf("injected again:\n%s", out)
	}
	if _, out, _ := inject(t, strings.NewReader(injected), "eks", "--remove", "-f", "-"); out != manifest {
		t.Errorf("removed:\n%s", out)
	}
	if _, out, _ := inject(t, nil, append([]string{"eks", "--explain", file}, given...)...); !strings.Contains(out, "Fargate size: 0.25 vCPU and 0.5 GB, as before") {
		t.Errorf("explained:\n%s", out)
	}
}

// Policies are checked before they are put into anything.
func TestPolicies(t *testing.T) {
	file := definition(t, "shop/web:7", "X86_64")
	policy := write(t, "p.yaml", "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: x\nspec:\n  process:\n    matchPaths:\n    - path: /usr/bin/curl\n  action: Block\n")
	given := []string{"ecs", file, "--offline", "--entrypoint", `["/web"]`, "--cmd", "[]", "--policies"}
	if status, out, problems := inject(t, nil, append(given, policy)...); status != ok || !strings.Contains(out, `"TRACER_POLICY"`) {
		t.Errorf("%d %s", status, problems)
	}
	bad := write(t, "bad.yaml", "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: x\nspec:\n  action: Nope\n")
	if status, _, problems := inject(t, nil, append(given, bad)...); status != refused || !strings.Contains(problems, "bad.yaml") {
		t.Errorf("%d %s", status, problems)
	}
}

func TestUsage(t *testing.T) {
	file := definition(t, "shop/web:7", "X86_64")
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"", misused, "inject ecs FILE"},
		{"help", ok, "inject ecs FILE"},
		{"version", ok, version},
		{"ecs --help", ok, "--slack-secret"},
		{"eks2", misused, `no command "eks2"`},
		{"ecs", misused, "which file?"},
		{"ecs a b", misused, "one file at a time"},
		{"ecs --none x", misused, "unknown flag: --none"},
		{"ecs " + file + "x", refused, "no such file"},
		{"ecs --launch-type lambda " + file, misused, "is not one of FARGATE"},
		{"ecs --sidekick-memory 10 " + file, misused, "at least 64"},
		{"ecs --entrypoint web=/x " + file, misused, "a list in JSON is wanted"},
		{"ecs --cmd [1] " + file, misused, "a list in JSON is wanted"},
		{"ecs --image-file x " + file, misused, "is not IMAGE=PATH"},
		{"ecs --tracer-env x " + file, misused, "is not NAME=VALUE"},
		{"ecs --sidekick-env x " + file, misused, "is not NAME=VALUE"},
		{"ecs --policies x --policy-parameter y " + file, misused, "two ways to say the same"},
		{"eks", misused, "which file?"},
		{"eks -f a b", misused, "one file at a time"},
		{"eks --compute lambda " + file, misused, "neither fargate nor ec2"},
		{"eks --arch 386 " + file, misused, "neither amd64 nor arm64"},
		{"eks --slack-secret alerts " + file, misused, "alerts/slack-webhookurl"},
		{"eks --slack-secret https://hooks.slack.com/services/T/B/CANARY " + file, misused, "the name of a Secret and its key"},
		{"ecs --slack-secret https://hooks.slack.com/services/T/B/CANARY " + file, misused, "not the secret itself"},
	} {
		status, out, problems := inject(t, nil, strings.Fields(c.args)...)
		if status != c.status || !strings.Contains(out+problems, c.want) {
			t.Errorf("%s: %d %s%s", c.args, status, out, problems)
		}
		if strings.Contains(out+problems, "CANARY") {
			t.Errorf("%s: a secret is shown: %s", c.args, problems)
		}
	}
}

// The webhook understands what the Helm chart calls it with.
func TestChartsArguments(t *testing.T) {
	files, err := filepath.Glob("../eks/testdata/chart/*.want")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for part := range strings.SplitSeq("\n"+string(text), "\n---") {
			var d appsv1.Deployment
			if !strings.Contains(part, "kind: Deployment") {
				continue
			}
			if err := yaml.UnmarshalStrict([]byte(part), &d); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			found = true
			args := d.Spec.Template.Spec.Containers[0].Args
			var w webhookFlags
			f := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
			w.register(f)
			if extra, err := parse(f, args[1:], io.Discard, args[0]); err != nil || extra != "" || args[0] != "webhook" {
				t.Errorf("%s: %q: %q, %v", file, args, extra, err)
			}
			if err := w.complete(); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		if !found {
			t.Errorf("%s has no Deployment", file)
		}
	}
}
