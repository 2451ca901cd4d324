package ecs

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

var update = flag.Bool("update", false, "write the golden files anew")

// options are those of the golden files: images whose ENTRYPOINT and CMD the user
// gave, and outputs.
func options() Options {
	return Options{
		TracerImage: "sidearmor/tracer:1", SidekickImage: "sidearmor/sidekick:1",
		SidekickMemory: 128,
		SidekickEnv:    []Pair{{"AWS_REGION", "eu-central-1"}},
		SidekickSecrets: []Pair{
			{"SLACK_WEBHOOKURL", "arn:aws:secretsmanager:eu-central-1:111122223333:secret:slack-AbCdEf"},
		},
		PolicyParameter: "/sidearmor/policies",
		Commands: &workload.Commands{
			Given:  map[string]workload.Given{"": {Entrypoint: []string{"/entry.sh"}, Cmd: []string{"serve", "it's ${HOME} <&> \"quoted\""}}},
			Images: &image.Images{Offline: true},
		},
	}
}

// Each form is injected as the golden file has it, again without a change, and
// taken back to the byte.
func TestForms(t *testing.T) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".want") || strings.HasSuffix(file, ".explain") {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			text := string(readFile(t, file))
			res, err := Inject(t.Context(), text, options())
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file+".want", res.Text)
			golden(t, file+".explain", strings.Join(append(res.Changes, res.Notes...), "\n")+"\n")
			again, err := Inject(t.Context(), res.Text, options())
			if err != nil || again.Text != res.Text {
				t.Errorf("injected again: %v\n%s", err, again.Text)
			}
			back, err := Remove(res.Text)
			if err != nil || back != text {
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
	if want := string(readFile(t, path)); got != want {
		t.Errorf("%s is not what is made now (-update writes it):\n%s", path, got)
	}
}

// A definition that was registered and described comes back with other white
// space and another order. What was added is found all the same.
func TestRemoveAfterDescribe(t *testing.T) {
	text := readFile(t, "testdata/register.json")
	res, err := Inject(t.Context(), string(text), options())
	if err != nil {
		t.Fatal(err)
	}
	var described any
	if err := json.Unmarshal([]byte(res.Text), &described); err != nil {
		t.Fatal(err)
	}
	other, err := json.MarshalIndent(described, "", "\t") // keys in the order of the alphabet
	if err != nil {
		t.Fatal(err)
	}
	back, err := Remove(string(other))
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := errors.Join(json.Unmarshal([]byte(back), &got), json.Unmarshal(text, &want)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", back)
	}
}

// What somebody changed after the injection stays when it is removed.
func TestRemoveKeepsLaterChanges(t *testing.T) {
	res, err := Inject(t.Context(), string(readFile(t, "testdata/nulls.json")), options())
	if err != nil {
		t.Fatal(err)
	}
	later := strings.Replace(res.Text, `"mountPoints":[`, `"mountPoints":[{"sourceVolume":"more","containerPath":"/more"},`, 1)
	later = strings.Replace(later, "shop/web:7", "shop/web:8", 1)
	later = strings.Replace(later, `"volumes":[`, `"volumes":[{"name":"more"},`, 1)
	if strings.Count(later, "more") < 3 {
		t.Fatalf("not changed: %s", later)
	}
	back, err := Remove(later)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"mountPoints":[{"sourceVolume":"more","containerPath":"/more"}]`, `"volumes":[{"name":"more"}]`, "shop/web:8", `"entryPoint":null`} {
		if !strings.Contains(back, want) {
			t.Errorf("%s is not in\n%s", want, back)
		}
	}
	if strings.Contains(back, "sidearmor") {
		t.Errorf("left over:\n%s", back)
	}
}

// A second injection works with what the first one found out about images.
func TestInjectAgainNeedsNoImage(t *testing.T) {
	layout := imageLayout(t, []string{"/from-image"}, []string{"cmd"})
	o := options()
	o.Commands = &workload.Commands{Images: &image.Images{Local: map[string]string{"shop/web:7": layout}}}
	first, err := Inject(t.Context(), string(readFile(t, "testdata/nulls.json")), o)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(first.Text, `["/sidearmor/tracer", "run", "--", "/from-image"]`) || !strings.Contains(first.Text, `["cmd"]`) {
		t.Errorf("the image's command is not there:\n%s", first.Text)
	}
	o.Commands = &workload.Commands{Images: &image.Images{Offline: true}}
	second, err := Inject(t.Context(), first.Text, o)
	if err != nil || second.Text != first.Text {
		t.Errorf("again: %v", err)
	}
	// Another image may run something else.
	if _, err := Inject(t.Context(), strings.Replace(first.Text, "shop/web:7", "shop/web:8", 1), o); err == nil {
		t.Error("the command of another image was guessed")
	}
}

func TestOptions(t *testing.T) {
	text := string(readFile(t, "testdata/register.json"))
	for name, c := range map[string]struct {
		change    func(*Options)
		want, not []string
	}{
		"health checks": {
			func(o *Options) { o.TraceHealthChecks = true },
			[]string{`["CMD", "/sidearmor/tracer", "run", "--", "/bin/sh", "-c", "curl -f http://localhost/ || exit 1"]`},
			nil,
		},
		"one container": {
			func(o *Options) { o.Only = []string{"migrate"} },
			[]string{`"entryPoint": ["/docker-entrypoint.sh"]`, `"entryPoint": ["/sidearmor/tracer", "run", "--", "/entry.sh"]`},
			nil,
		},
		"all but one": {
			func(o *Options) { o.Skip = []string{"web"} },
			[]string{`"entryPoint": ["/docker-entrypoint.sh"]`},
			nil,
		},
		"wait": {func(o *Options) { o.WaitHealthy = true }, []string{`"HEALTHY"`}, []string{`"START"`}},
		"task size": {
			func(o *Options) { o.TaskCPU, o.TaskMemory = "1024", "2048" },
			[]string{`"cpu": "1024"`, `"memory": "2048"`},
			[]string{`"cpu": "512"`},
		},
		"no share":    {func(o *Options) { o.SidekickMemory = 0 }, nil, []string{"memoryReservation"}},
		"share":       {func(o *Options) { o.SidekickCPU = 32 }, []string{`"cpu": 32`}, nil},
		"tracer":      {func(o *Options) { o.TracerEnv = []Pair{{"TRACER_VISIBILITY", "all"}} }, []string{"TRACER_VISIBILITY"}, nil},
		"policies":    {func(o *Options) { o.PolicyParameter, o.Policies = "", "YQ==" }, []string{`"value": "YQ=="`}, []string{"/sidearmor/policies"}},
		"no policies": {func(o *Options) { o.PolicyParameter = "" }, nil, []string{"TRACER_POLICY"}},
	} {
		o := options()
		c.change(&o)
		res, err := Inject(t.Context(), text, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(res.Text, want) {
				t.Errorf("%s: %s is not in\n%s", name, want, res.Text)
			}
		}
		for _, not := range c.not {
			if strings.Contains(res.Text, not) {
				t.Errorf("%s: %s is in\n%s", name, not, res.Text)
			}
		}
		if back, err := Remove(res.Text); err != nil || back != text {
			t.Errorf("%s: removed: %v", name, err)
		}
	}
}

// The result of every form in JSON is one that the SDK's types take, as a whole.
func TestResultIsOfTheSDKsTypes(t *testing.T) {
	for _, name := range []string{"register.json", "describe.json", "nulls.json", "bridge.json", "firelens.json"} {
		res, err := Inject(t.Context(), string(readFile(t, "testdata/"+name)), options())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(res.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		task := loadTask(t, path)
		if n := len(task.ContainerDefinitions); n < 3 {
			t.Errorf("%s: %d containers", name, n)
		}
	}
}

func FuzzInject(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(file, ".explain") {
			f.Add(string(text))
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
		if err != nil {
			if strings.Contains(err.Error(), "fault of inject") || strings.Contains(err.Error(), "cannot be read again") {
				t.Fatal(err)
			}
			return
		}
		if back, err := Remove(res.Text); err != nil || back != original {
			t.Errorf("removed: %v\n%s", err, back)
		}
	})
}
