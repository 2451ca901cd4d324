package ecs

import (
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// imageLayout is an OCI layout with an image for both architectures.
func imageLayout(t *testing.T, entrypoint, cmd []string) string {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: v1.Config{Entrypoint: entrypoint, Cmd: cmd}})
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, index); err != nil {
		t.Fatal(err)
	}
	return dir
}

// fargate is a definition with parts to be filled in.
func fargate(task, container string) string {
	return `{"family": "x", "networkMode": "awsvpc", "requiresCompatibilities": ["FARGATE"], "cpu": "256", "memory": "512"` + task + `,
 "containerDefinitions": [{"name": "web", "image": "shop/web:7"` + container + `}]}`
}

func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", " \n", "it is empty"},
		{"no JSON", `{"a": }`, "not JSON"},
		{"cut off", fargate("", "")[:80], "not JSON"},
		{"prompt", "u@h$ aws ecs describe-task-definition --task-definition x\n{}", "what a terminal showed"},
		{"comment", "{\n// x\n}", "comments"},
		{"byte order mark", "\ufeff" + fargate("", ""), "byte order mark"},
		{"other JSON", `{"a": 1}`, "no task definition is in it"},
		{"other YAML", "a: 1\n", "no task definition is in it"},
		{"other list", `[{"a": 1}]`, "is no container"},
		{"other Terraform", "resource \"aws_s3_bucket\" \"x\" {\n}\n", "no task definition is in it"},
		{"twice", fargate(`, "family": "y"`, ""), `line 1: key "family" is there twice`},
		{"no containers", `{"containerDefinitions": []}`, "not a list that is written out"},
		{"Windows", fargate(`, "runtimePlatform": {"operatingSystemFamily": "WINDOWS_SERVER_2022_CORE"}`, ""), "the tracer runs on Linux only"},
		{"Windows by its paths", fargate("", `, "mountPoints": [{"sourceVolume": "x", "containerPath": "C:\\data"}]`), "so it is Windows"},
		{"bridge", strings.Replace(fargate("", ""), "awsvpc", "bridge", 1), `networkMode is "bridge": Fargate has awsvpc only`},
		{"none", `{"networkMode": "none", "containerDefinitions": [{"name": "web", "image": "x"}]}`, "networkMode is none"},
		{"traced", fargate("", `, "entryPoint": ["/opt/tracer", "run", "--", "x"]`), "a tracer already"},
		{"nothing runs", fargate("", `, "entryPoint": [""]`), "it runs nothing"},
		{"mounted", fargate("", `, "mountPoints": [{"sourceVolume": "x", "containerPath": "/sidearmor/"}]`), "mounts something at /sidearmor/"},
		{"volume", fargate(`, "volumes": [{"name": "sidearmor"}]`, ""), "it has a volume sidearmor"},
		{"container", strings.Replace(fargate("", ""), `"web"`, `"sidearmor-install"`, 1), "that inject did not write"},
		{"only a router", fargate("", `, "firelensConfiguration": {"type": "fluentbit"}`), "no container is left"},
		{"variable", fargate("", `, "environment": [{"name": "TRACER_VISIBILITY", "value": "x"}]`), "sets TRACER_VISIBILITY already"},

		{"cpu", strings.Replace(fargate("", ""), `"256"`, `"300"`, 1), "cpu 300 is not a size of Fargate"},
		{"memory", strings.Replace(fargate("", ""), `"512"`, `"4096"`, 1), "memory 4096 does not go with cpu 256 on Fargate, but 512, 1024, 2048"},
		{"no size", strings.Replace(fargate("", ""), `"cpu": "256", `, "", 1), "cpu is missing"},
		{"no room", fargate("", `, "memory": 500`), "the containers reserve 564 MiB of memory (web 500, sidearmor-sidekick 64), and the task has 512"},
		{"no CPU", fargate("", `, "cpu": 300`), "the containers reserve 300 units of cpu"},
		{"reservation", fargate("", `, "memory": 100, "memoryReservation": 200`), "memoryReservation 200 is more than memory 100"},
		{"capability", fargate("", `, "linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}`), "adds capability NET_ADMIN: Fargate allows SYS_PTRACE only"},
		{"privileged", fargate("", `, "privileged": true`), "is privileged"},
		{"host path", fargate(`, "volumes": [{"name": "x", "host": {"sourcePath": "/x"}}]`, ""), "volume x is a path of the host"},
		{"driver", fargate("", `, "logConfiguration": {"logDriver": "journald"}`), "Fargate has no log driver journald"},
		{"no such driver", fargate("", `, "logConfiguration": {"logDriver": "awslog"}`), `logConfiguration.logDriver is "awslog", not one of`},
		{"stop", fargate("", `, "stopTimeout": 300`), "stopTimeout 300 is more"},
		{"devices", fargate("", `, "linuxParameters": {"tmpfs": [{"containerPath": "/x", "size": 1}]}`), "linuxParameters.tmpfs is not there"},
		{"unknown key", fargate("", `, "cmd": []`), "containerDefinitions[web].cmd: the ECS API has no such setting"},
		{"key in capitals", fargate("", `, "Environment": []`), "containerDefinitions[web].Environment: the ECS API has no such setting"},
		{"number for string", fargate(`, "pidMode": 1`, ""), "pidMode must be a string"},
		{"string for number", fargate("", `, "stopTimeout": "ten"`), "stopTimeout must be a number"},
		{"string for boolean", fargate("", `, "privileged": "maybe"`), "must be true or false"},
		{"object for list", fargate("", `, "portMappings": {}`), "portMappings must be a list"},
		{"depends", fargate("", `, "dependsOn": [{"containerName": "db", "condition": "START"}]`), "dependsOn names db, which there is not"},
		{
			"intrinsic list", "Resources:\n  T:\n    Type: AWS::ECS::TaskDefinition\n    Properties:\n      ContainerDefinitions: !If [A, [], []]\n",
			"not a list that is written out here",
		},
		{
			"intrinsic entry point", "Resources:\n  T:\n    Type: AWS::ECS::TaskDefinition\n    Properties:\n      ContainerDefinitions:\n      - {Name: web, Image: x, EntryPoint: !Ref E}\n",
			"line 6: its entryPoint is not written out here",
		},
		{"elsewhere", "resource \"aws_ecs_task_definition\" \"x\" {\n  container_definitions = file(\"x.json\")\n}\n", `line 2: neither jsonencode(…) nor JSON: file("x.json")`},
		{"local", "resource \"aws_ecs_task_definition\" \"x\" {\n  container_definitions = jsonencode(local.x)\n}\n", "not a list that is written out here"},
	} {
		o := options()
		o.TracerEnv = []Pair{{"TRACER_VISIBILITY", "all"}}
		res, err := Inject(t.Context(), c.text, o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s (%v)", c.name, err, c.want, res != nil)
		}
	}
	if _, err := Remove(fargate("", "")); err == nil || !strings.Contains(err.Error(), "nothing in it was added") {
		t.Errorf("removed from nothing: %v", err)
	}
}

// What an image runs is never guessed.
func TestUnknownCommandIsRefused(t *testing.T) {
	for name, commands := range map[string]*workload.Commands{
		"offline":           {Images: &image.Images{Offline: true}},
		"no such file":      {Images: &image.Images{Local: map[string]string{"shop/web:7": "testdata/none"}}},
		"no image":          {Images: &image.Images{Local: map[string]string{"shop/web:7": "testdata/register.json"}}},
		"entry point alone": {Given: map[string]workload.Given{"web": {Entrypoint: []string{"/x"}}}, Images: &image.Images{Offline: true}},
		"empty image":       {Images: &image.Images{Local: map[string]string{"shop/web:7": imageLayout(t, nil, nil)}}},
	} {
		o := options()
		o.Commands = commands
		if _, err := Inject(t.Context(), fargate("", ""), o); err == nil || !strings.Contains(err.Error(), "container web") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := options()
	o.Commands = &workload.Commands{Images: &image.Images{Offline: true}}
	if _, err := Inject(t.Context(), fargate("", `, "entryPoint": ["/x"]`), o); err != nil {
		t.Errorf("the definition says what it runs: %v", err)
	}
	o.Commands = &workload.Commands{Given: map[string]workload.Given{"web": {Entrypoint: []string{"/x"}}}, Images: &image.Images{Offline: true}}
	if _, err := Inject(t.Context(), fargate("", `, "command": ["y"]`), o); err != nil {
		t.Errorf("the entry point is given: %v", err)
	}
}

func TestContainersThatThereAreNot(t *testing.T) {
	o := options()
	o.Only = []string{"wbe"}
	if _, err := Inject(t.Context(), fargate("", ""), o); err == nil || !strings.Contains(err.Error(), "no container wbe, only web") {
		t.Error(err)
	}
}
