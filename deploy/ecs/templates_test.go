package ecs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// The CloudFormation template is what inject makes of it without the tracer.
func TestCloudFormationTemplate(t *testing.T) {
	text := string(readFile(t, "cloudformation.yaml"))
	if err := Check(text, ""); err != nil {
		t.Error(err)
	}
	plain, err := Remove(text)
	if err != nil || strings.Contains(plain, workload.Sidekick) {
		t.Fatalf("%v\n%s", err, plain)
	}
	res, err := Inject(t.Context(), plain, Options{
		TracerImage: "sidearmor/tracer:latest", SidekickImage: "sidearmor/sidekick:latest", SidekickMemory: 128,
		PolicyParameter: "/sidearmor/policies",
		SidekickEnv:     []Pair{{"AWS_CLOUDWATCHLOGS_LOGGROUP", "/sidearmor/alerts"}},
		SidekickSecrets: []Pair{{"SLACK_WEBHOOKURL", "/sidearmor/slack-webhookurl"}},
		Commands:        &workload.Commands{Images: &image.Images{Offline: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		golden(t, "cloudformation.yaml", res.Text)
	} else if res.Text != text {
		t.Errorf("inject makes something else of it now:\n%s", res.Text)
	}
}

const moduleInput = `[{"name":"web","image":"shop/web:7","entryPoint":["/web"],"command":["serve"],"secrets":[{"name":"DB","valueFrom":"/db"}],
 "linuxParameters":{"initProcessEnabled":true,"capabilities":{"drop":["ALL"]}}},
 {"name":"router","image":"fluent/fluent-bit:3","firelensConfiguration":{"type":"fluentbit"}}]`

// The Terraform module makes the same containers as inject.
func TestTerraformModule(t *testing.T) {
	m := readModule(t, map[string]cty.Value{
		"tracer_image": cty.StringVal("sidearmor/tracer:1"), "sidekick_image": cty.StringVal("sidearmor/sidekick:1"),
		"policy_parameter_arn": cty.StringVal("/sidearmor/policies"), "slack_secret_arn": cty.StringVal("arn:slack"),
		"container_definitions": decoded(t, moduleInput),
	})
	if m.silent != 0 {
		t.Errorf("%d containers state no entry point", m.silent)
	}
	o := options()
	o.SidekickEnv, o.SidekickSecrets = nil, []Pair{{"SLACK_WEBHOOKURL", "arn:slack"}}
	res, err := Inject(t.Context(), `{"family":"x","networkMode":"awsvpc","requiresCompatibilities":["FARGATE"],"cpu":"256","memory":"512","containerDefinitions":`+moduleInput+"}", o)
	if err != nil {
		t.Fatal(err)
	}
	var injected struct{ ContainerDefinitions []map[string]any }
	if err := json.Unmarshal([]byte(res.Text), &injected); err != nil {
		t.Fatal(err)
	}
	var made []map[string]any
	if err := json.Unmarshal([]byte(m.containers), &made); err != nil {
		t.Fatal(err)
	}
	for _, c := range injected.ContainerDefinitions {
		if c["name"] == workload.Install {
			delete(c, "environment") // the record; Terraform needs none
		}
	}
	for i, c := range made {
		for key, v := range c {
			if list, ok := v.([]any); ok && len(list) == 0 {
				delete(c, key)
			}
		}
		if !reflect.DeepEqual(c, injected.ContainerDefinitions[i]) {
			t.Errorf("container %d:\n%v\nand inject makes\n%v", i, c, injected.ContainerDefinitions[i])
		}
	}
	if len(made) != 4 {
		t.Errorf("%d containers", len(made))
	}
	silent := readModule(t, map[string]cty.Value{
		"tracer_image": cty.StringVal("x"), "sidekick_image": cty.StringVal("x"),
		"container_definitions": decoded(t, `[{"name":"web","image":"x"}]`),
	})
	if silent.silent != 1 {
		t.Error("a container without an entry point is not refused")
	}
}

func decoded(t *testing.T, text string) cty.Value {
	t.Helper()
	v, err := stdlib.JSONDecode(cty.StringVal(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// module is what the module's files say for some variables.
type module struct {
	containers string
	silent     int // containers without an entry point, which its precondition refuses
}

// readModule evaluates the module as Terraform does, with the functions that it
// uses.
func readModule(t *testing.T, variables map[string]cty.Value) module {
	t.Helper()
	var blocks hclsyntax.Blocks
	for _, name := range []string{"variables.tf", "main.tf", "outputs.tf"} {
		file, diags := hclsyntax.ParseConfig(readFile(t, filepath.Join("terraform", name)), name, hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		blocks = append(blocks, file.Body.(*hclsyntax.Body).Blocks...)
	}
	values := map[string]cty.Value{}
	locals := map[string]cty.Value{}
	context := &hcl.EvalContext{Functions: map[string]function.Function{
		"merge": stdlib.MergeFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "length": stdlib.LengthFunc, "distinct": stdlib.DistinctFunc,
		"jsonencode": stdlib.JSONEncodeFunc, "jsondecode": stdlib.JSONDecodeFunc, "try": tryfunc.TryFunc, "can": tryfunc.CanFunc,
	}}
	value := func(e hclsyntax.Expression) (cty.Value, hcl.Diagnostics) {
		context.Variables = map[string]cty.Value{"var": cty.ObjectVal(values), "local": cty.ObjectVal(locals)}
		return e.Value(context)
	}
	for _, b := range blocks {
		if b.Type != "variable" {
			continue
		}
		name := b.Labels[0]
		if given, ok := variables[name]; ok {
			values[name] = given
		} else if byDefault := b.Body.Attributes["default"]; byDefault != nil {
			v, diags := value(byDefault.Expr)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			values[name] = v
		} else {
			t.Fatalf("variable %s has no value", name)
		}
	}
	// Locals may be about each other: as long as one more is known, it goes on.
	for again := true; again; {
		again = false
		for _, b := range blocks {
			if b.Type != "locals" {
				continue
			}
			for name, attribute := range b.Body.Attributes {
				if _, known := locals[name]; known || !ready(attribute.Expr, locals) {
					continue
				}
				v, diags := value(attribute.Expr)
				if diags.HasErrors() {
					t.Fatal(diags)
				}
				locals[name], again = v, true
			}
		}
	}
	var m module
	for _, b := range blocks {
		if b.Type == "output" {
			v, diags := value(b.Body.Attributes["value"].Expr)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if b.Labels[0] == "container_definitions" {
				m.containers = v.AsString()
			}
		}
	}
	m.silent = locals["silent"].LengthInt()
	return m
}

// ready says whether all locals are known that an expression is about.
func ready(e hclsyntax.Expression, locals map[string]cty.Value) bool {
	return !slices.ContainsFunc(e.Variables(), func(t hcl.Traversal) bool {
		if t.RootName() != "local" {
			return false
		}
		_, known := locals[t[1].(hcl.TraverseAttr).Name]
		return !known
	})
}

// Where Terraform itself is installed, it takes the module.
func TestTerraformTakesTheModule(t *testing.T) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Log("no terraform: the module was evaluated by its language's library alone")
		return
	}
	dir := t.TempDir()
	for _, name := range []string{"variables.tf", "main.tf", "outputs.tf"} {
		if err := os.WriteFile(filepath.Join(dir, name), readFile(t, filepath.Join("terraform", name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-backend=false", "-input=false"}, {"validate"}, {"fmt", "-check"}} {
		cmd := exec.CommandContext(t.Context(), terraform, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE="+os.DevNull)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
}
