package ecs

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

func TestTaskDefinition(t *testing.T) {
	task := loadTask(t, "task-definition.json")
	if !slices.Equal(task.RequiresCompatibilities, []types.Compatibility{types.CompatibilityFargate}) || task.NetworkMode != types.NetworkModeAwsvpc {
		t.Errorf("not a Fargate task: %v, network mode %q", task.RequiresCompatibilities, task.NetworkMode)
	}
	if task.PidMode != "" {
		t.Errorf("pidMode %q: the tracer has to be process 1 of its container", task.PidMode)
	}
	want := []string{"install", "sidekick", "app"}
	var names []string
	for _, c := range task.ContainerDefinitions {
		names = append(names, *c.Name)
	}
	if !slices.Equal(names, want) {
		t.Fatalf("containers %v, want %v", names, want)
	}
	volumes := map[string]bool{}
	for _, v := range task.Volumes {
		volumes[*v.Name] = true
	}
	for _, c := range task.ContainerDefinitions {
		for _, m := range c.MountPoints {
			if !volumes[*m.SourceVolume] {
				t.Errorf("%s mounts volume %s, which the task does not have", *c.Name, *m.SourceVolume)
			}
		}
	}
}

func TestOnlyTheApplicationGetsACapability(t *testing.T) {
	for _, c := range loadTask(t, "task-definition.json").ContainerDefinitions {
		var add, drop []string
		if c.LinuxParameters != nil && c.LinuxParameters.Capabilities != nil {
			add, drop = c.LinuxParameters.Capabilities.Add, c.LinuxParameters.Capabilities.Drop
		}
		if *c.Name == "app" {
			if !slices.Equal(add, []string{"SYS_PTRACE"}) {
				t.Errorf("app adds %v, want SYS_PTRACE and nothing else", add)
			}
			continue
		}
		if len(add) != 0 || !slices.Equal(drop, []string{"ALL"}) {
			t.Errorf("%s adds %v and drops %v, want none and ALL", *c.Name, add, drop)
		}
		if c.ReadonlyRootFilesystem == nil || !*c.ReadonlyRootFilesystem {
			t.Errorf("the root file system of %s is writable", *c.Name)
		}
		if c.Essential == nil || *c.Essential {
			t.Errorf("the task ends with %s", *c.Name)
		}
	}
}

func TestApplicationContainer(t *testing.T) {
	app := containerOf(t, "app")
	if want := []string{"/sidearmor/tracer", "run", "--"}; !slices.Equal(app.EntryPoint, want) {
		t.Errorf("entry point %q, want %q", app.EntryPoint, want)
	}
	if len(app.Command) == 0 {
		t.Error("no command: ECS drops the image's when the entry point is set")
	}
	if app.LinuxParameters.InitProcessEnabled != nil && *app.LinuxParameters.InitProcessEnabled {
		t.Error("initProcessEnabled: the tracer would not be process 1")
	}
	waits := map[string]types.ContainerCondition{}
	for _, d := range app.DependsOn {
		waits[*d.ContainerName] = d.Condition
	}
	want := map[string]types.ContainerCondition{
		"install":  types.ContainerConditionSuccess,
		"sidekick": types.ContainerConditionHealthy,
	}
	if !reflect.DeepEqual(waits, want) {
		t.Errorf("waits for %v, want %v", waits, want)
	}
	for _, m := range app.MountPoints {
		if *m.SourceVolume == "sidearmor" && (m.ReadOnly == nil || !*m.ReadOnly) {
			t.Error("the workload can write to the tracer's own file")
		}
	}
	token := secretOf(app, "SIDEKICK_TOKEN")
	if value(app.Environment, "TRACER_SIDEKICK_POLICIES") != "true" || token == "" || token != secretOf(containerOf(t, "sidekick"), "AUTH_TOKEN") {
		t.Errorf("policies do not come from the sidekick, or it need not prove itself: its token is %q", token)
	}
}

func secretOf(c types.ContainerDefinition, name string) string {
	for _, s := range c.Secrets {
		if *s.Name == name {
			return *s.ValueFrom
		}
	}
	return ""
}

func TestSidekickContainer(t *testing.T) {
	sidekick := containerOf(t, "sidekick")
	if h := sidekick.HealthCheck; h == nil || !slices.Equal(h.Command, []string{"CMD", "/sidekick", "healthcheck"}) {
		t.Errorf("health check %+v", h)
	}
	if sidekick.User == nil || *sidekick.User != "65532:65532" {
		t.Errorf("user %v, want the one that the image gives the queue's volume to", sidekick.User)
	}
	if value(sidekick.Environment, "AWS_CLOUDWATCHLOGS_LOGGROUP") == "" {
		t.Error("no log group")
	}
	if value(sidekick.Environment, "SLACK_WEBHOOKURL") != "" {
		t.Error("the Slack address is a secret and in plain text")
	}
	if !strings.HasPrefix(secretOf(sidekick, "SLACK_WEBHOOKURL"), "arn:aws:secretsmanager:") {
		t.Error("the Slack address does not come from Secrets Manager")
	}
	queue := value(sidekick.Environment, "QUEUE_DIR")
	if !slices.ContainsFunc(sidekick.MountPoints, func(m types.MountPoint) bool {
		return *m.ContainerPath == "/" || strings.HasPrefix(queue+"/", *m.ContainerPath+"/")
	}) {
		t.Errorf("queue directory %q is not on a volume", queue)
	}
}

// What the sidekick and ECS do by the roles must be in their policies, and the
// resources must be those of the task definition.
func TestRolePolicies(t *testing.T) {
	sidekick := containerOf(t, "sidekick")
	group := value(sidekick.Environment, "AWS_CLOUDWATCHLOGS_LOGGROUP")
	task := grants(t, "task-role-policy.json")
	for _, action := range []string{"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"} {
		if !slices.ContainsFunc(task[action], func(r string) bool { return strings.HasSuffix(r, ":log-group:"+group+":*") }) {
			t.Errorf("%s on %s is not granted: %v", action, group, task[action])
		}
	}
	parameter := value(sidekick.Environment, "POLICIES_SSM")
	if r := task["ssm:GetParameter"]; len(r) != 1 || !strings.HasSuffix(r[0], ":parameter"+parameter) || parameter == "" {
		t.Errorf("ssm:GetParameter on %s is not granted: %v", parameter, r)
	}
	execution := grants(t, "execution-role-policy.json")
	for _, c := range loadTask(t, "task-definition.json").ContainerDefinitions {
		for _, s := range c.Secrets {
			if !slices.ContainsFunc(execution["secretsmanager:GetSecretValue"], func(r string) bool { return strings.TrimSuffix(r, "*") == *s.ValueFrom }) {
				t.Errorf("%s is not granted: %v", *s.ValueFrom, execution)
			}
		}
	}
	// inject has ECS read the parameter instead.
	if len(execution["ssm:GetParameters"]) == 0 {
		t.Error("ssm:GetParameters is not granted")
	}
}

func grants(t *testing.T, path string) map[string][]string {
	t.Helper()
	var document struct {
		Version   string
		Statement []struct {
			Sid, Effect      string
			Action, Resource []string
		}
	}
	dec := json.NewDecoder(bytes.NewReader(readFile(t, path)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&document); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	granted := map[string][]string{}
	for _, s := range document.Statement {
		if s.Effect != "Allow" {
			t.Errorf("%s: %s: effect %q", path, s.Sid, s.Effect)
		}
		for _, a := range s.Action {
			granted[a] = append(granted[a], s.Resource...)
		}
	}
	return granted
}

func containerOf(t *testing.T, name string) types.ContainerDefinition {
	t.Helper()
	for _, c := range loadTask(t, "task-definition.json").ContainerDefinitions {
		if *c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %s", name)
	return types.ContainerDefinition{}
}

func value(env []types.KeyValuePair, name string) string {
	for _, e := range env {
		if *e.Name == name {
			return *e.Value
		}
	}
	return ""
}

// loadTask reads what `aws ecs register-task-definition --cli-input-json` takes.
func loadTask(t *testing.T, path string) *awsecs.RegisterTaskDefinitionInput {
	t.Helper()
	body := readFile(t, path)
	var raw any
	if err := json.Unmarshal(body, &raw); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var task awsecs.RegisterTaskDefinitionInput
	checkKeys(t, path, raw, reflect.TypeOf(task))
	if err := json.Unmarshal(body, &task); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	checkEnums(t, path, reflect.ValueOf(task))
	return &task
}

// checkKeys holds raw against the SDK's types. encoding/json would not do: it
// ignores case, and the service does not.
func checkKeys(t *testing.T, at string, raw any, typ reflect.Type) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch raw := raw.(type) {
	case []any:
		for _, v := range raw {
			checkKeys(t, at+"[]", v, typ.Elem())
		}
	case map[string]any:
		for key, v := range raw {
			if typ.Kind() == reflect.Map {
				checkKeys(t, at+"."+key, v, typ.Elem())
				continue
			}
			runes := []rune(key)
			field, ok := typ.FieldByName(string(unicode.ToUpper(runes[0])) + string(runes[1:]))
			if !ok || unicode.IsUpper(runes[0]) {
				t.Errorf("%s: unknown key %q", at, key)
				continue
			}
			checkKeys(t, at+"."+key, v, field.Type)
		}
	}
}

// checkEnums wants every value of an enumeration to be one that the SDK lists.
func checkEnums(t *testing.T, at string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			checkEnums(t, at, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			checkEnums(t, at, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				checkEnums(t, at+"."+f.Name, v.Field(i))
			}
		}
	case reflect.String:
		values := v.MethodByName("Values")
		if !values.IsValid() || v.Len() == 0 {
			return
		}
		known := values.Call(nil)[0]
		for i := range known.Len() {
			if known.Index(i).String() == v.String() {
				return
			}
		}
		t.Errorf("%s: %q is not a value of %s", at, v.String(), v.Type())
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
