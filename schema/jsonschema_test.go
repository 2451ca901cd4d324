package schema

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	validate "github.com/santhosh-tekuri/jsonschema/v6"
)

// The JSON Schema is made by this test and not by the package: programs that
// link the package need no generator.
//
//go:generate go test -run ^TestJSONSchemaIsCurrent$ -update .

const schemaFile = "event.schema.json"

var update = flag.Bool("update", false, "write "+schemaFile+" anew")

func TestJSONSchemaIsCurrent(t *testing.T) {
	got, err := json.MarshalIndent(jsonSchema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile(schemaFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("run go generate ./schema: the types make another schema (-file +types):\n%s", diff)
	}
}

// jsonSchema describes every event that the sidekick takes.
func jsonSchema() *jsonschema.Schema {
	names := map[reflect.Type]string{
		reflect.TypeFor[alertJSON]():      "Alert",
		reflect.TypeFor[logJSON]():        "Log",
		reflect.TypeFor[camelJSON]():      "StdoutEvent",
		reflect.TypeFor[FalcoEvent]():     "FalcoEvent",
		reflect.TypeFor[ownerJSON]():      "Owner",
		reflect.TypeFor[execEventJSON]():  "ExecEvent",
		reflect.TypeFor[camelOwnerJSON](): "StdoutOwner",
		reflect.TypeFor[camelExecJSON]():  "StdoutExecEvent",
	}
	r := jsonschema.Reflector{
		Anonymous:                  true,
		AllowAdditionalProperties:  true,
		RequiredFromJSONSchemaTags: true,
		Namer:                      func(t reflect.Type) string { return names[t] },
		Mapper:                     limitedType,
	}
	root := &jsonschema.Schema{
		Version:     jsonschema.Version,
		Title:       "SideArmor event",
		Description: "A KubeArmor alert or log, with the keys of its gRPC clients (Alert, Log) or of its daemon's output (StdoutEvent), or a Falco event. Unknown keys are ignored; a null stands for a key that is not given.",
		Definitions: jsonschema.Definitions{},
	}
	for _, form := range []any{alertJSON{}, logJSON{}, camelJSON{}, FalcoEvent{}} {
		s := r.Reflect(form)
		root.AnyOf = append(root.AnyOf, &jsonschema.Schema{Ref: s.Ref})
		for name, definition := range s.Definitions {
			root.Definitions[name] = definition
		}
	}
	// What a log does not have would else be an unknown key of any type.
	log := root.Definitions["Log"].Properties
	for f := range reflect.TypeFor[alertJSON]().Fields() {
		if _, known := log.Get(f.Name); !known {
			log.Set(f.Name, jsonschema.FalseSchema)
		}
	}
	return root
}

// limitedType adds to the schemas of plain types what Decode checks.
func limitedType(t reflect.Type) *jsonschema.Schema {
	if t == reflect.TypeFor[Priority]() {
		s := &jsonschema.Schema{Type: "string", Description: "in any case"}
		for p := PriorityDebug; p <= PriorityEmergency; p++ {
			s.Enum = append(s.Enum, p.String(), strings.ToLower(p.String()), strings.ToUpper(p.String()))
		}
		return s
	}
	text := func() *jsonschema.Schema {
		return &jsonschema.Schema{Type: "string", MaxLength: new(uint64(MaxStringBytes))}
	}
	switch t.Kind() {
	case reflect.String:
		return text()
	case reflect.Int32, reflect.Int64:
		smallest := int64(-1) << (t.Bits() - 1)
		return &jsonschema.Schema{
			Type:    "integer",
			Minimum: json.Number(strconv.FormatInt(smallest, 10)), Maximum: json.Number(strconv.FormatInt(-(smallest + 1), 10)),
		}
	case reflect.Slice:
		return &jsonschema.Schema{Type: "array", Items: text(), MaxItems: new(uint64(MaxEntries))}
	case reflect.Map:
		s := &jsonschema.Schema{Type: "object", MaxProperties: new(uint64(MaxEntries))}
		if t.Elem().Kind() == reflect.String {
			s.AdditionalProperties = text()
		}
		return s
	}
	return nil
}

// TestJSONSchemaValidates holds the schema file to Decode by way of a validator
// that knows nothing of this package.
func TestJSONSchemaValidates(t *testing.T) {
	schema := compile(t)
	for _, dir := range []string{"pascal", "camel", "falco"} {
		for name, body := range samples(t, dir) {
			if err := schema.Validate(instance(t, body)); err != nil {
				t.Errorf("%s/%s: %v", dir, name, err)
			}
		}
	}

	const ok = `"Type":"ContainerLog","Operation":"File"`
	bad := map[string]string{
		"list":               `[]`,
		"empty":              `{}`,
		"no operation":       `{"Type":"ContainerLog"}`,
		"empty type":         `{"Type":"","Operation":"File"}`,
		"number as type":     `{"Type":1,"Operation":"File"}`,
		"string as pid":      `{` + ok + `,"PID":"1"}`,
		"fraction as pid":    `{` + ok + `,"PID":1.5}`,
		"pid too large":      `{` + ok + `,"PID":2147483648}`,
		"list as tags":       `{` + ok + `,"Tags":["a"]}`,
		"string as atags":    `{` + ok + `,"ATags":"a"}`,
		"number in map":      `{` + ok + `,"EventData":{"Fd":3}}`,
		"owner as string":    `{` + ok + `,"Owner":"x"}`,
		"string as oid":      `{"type":"ContainerLog","operation":"File","oid":"1"}`,
		"number as owner":    `{"type":"ContainerLog","operation":"File","owner":{"ref":1}}`,
		"string too long":    `{` + ok + `,"Source":"` + strings.Repeat("x", MaxStringBytes+1) + `"}`,
		"Falco, no rule":     `{"priority":"Error","time":"2019-05-17T15:31:56Z","output_fields":{"a":1}}`,
		"Falco, no fields":   `{"rule":"r","priority":"Error","time":"2019-05-17T15:31:56Z"}`,
		"Falco, priority":    `{"rule":"r","priority":"Urgent","time":"2019-05-17T15:31:56Z","output_fields":{"a":1}}`,
		"Falco, no time":     `{"rule":"r","priority":"Error","output_fields":{"a":1}}`,
		"Falco, time":        `{"rule":"r","priority":"Error","time":"yesterday","output_fields":{"a":1}}`,
		"Falco, tags string": `{"rule":"r","priority":"Error","time":"2019-05-17T15:31:56Z","output_fields":{"a":1},"tags":"a"}`,
	}
	for name, body := range bad {
		if err := schema.Validate(instance(t, []byte(body))); err == nil {
			t.Errorf("%s: the schema takes %.100s", name, body)
		}
		if e, err := Decode([]byte(body)); err == nil {
			t.Errorf("%s: Decode takes it as %+v", name, e)
		}
	}
}

func compile(t *testing.T) *validate.Schema {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	c := validate.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(schemaFile, instance(t, text)); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func instance(t *testing.T, text []byte) any {
	t.Helper()
	v, err := validate.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}
