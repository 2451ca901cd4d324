package document

import (
	"encoding/json"
	"strings"
	"testing"
)

// edits are tried on every text: a new key, a new item, words at the beginning.
func edits(d *Document, at Path) error {
	if err := d.Set(at, "new", "value: # ${x} \"y\"\n"); err != nil {
		return err
	}
	if err := d.Set(at.Key("made", "deep"), "number", 7); err != nil {
		return err
	}
	if err := d.Append(at.Key("list"), Entries{{"name", "mine"}, {"ready", true}, {"words", Items{"a", "--", "no"}}}, Match{Key: "name", Value: "mine"}); err != nil {
		return err
	}
	if err := d.Append(at.Key("list"), Entries{{"name", "too"}}, Match{Key: "name", Value: "too"}); err != nil {
		return err
	}
	return d.Prepend(at.Key("command"), "/tracer", "run", "--")
}

var texts = []struct {
	name, text, want string
	parse            Parser
	at               Path
}{
	{"json", "{\n  \"a\": 1,\n  \"list\": [\n    {\"name\": \"x\"}\n  ],\n  \"command\": [\"c\"]\n}\n", `{
  "a": 1,
  "list": [
    {"name": "x"},
    { "name": "mine", "ready": true, "words": ["a", "--", "no"] },
    { "name": "too" }
  ],
  "command": ["/tracer", "run", "--", "c"],
  "new": "value: # ${x} \"y\"\n",
  "made": {
    "deep": {
      "number": 7
    }
  }
}
`, JSON, nil},
	{"json in a line", `{"list":[],"command":null,"made":{}}`, `{"list":[{ "name":"mine", "ready":true, "words":["a", "--", "no"] }, { "name":"too" }],"command":["/tracer", "run", "--"],"made":{ "deep":{ "number":7 } },"new":"value: # ${x} \"y\"\n"}`, JSON, nil},
	{"tabs and CRLF", "{\r\n\t\"list\": [\r\n\t\t{\r\n\t\t\t\"name\": \"x\"\r\n\t\t}\r\n\t]\r\n}", "{\r\n\t\"list\": [\r\n\t\t{\r\n\t\t\t\"name\": \"x\"\r\n\t\t},\r\n\t\t{\r\n\t\t\t\"name\": \"mine\",\r\n\t\t\t\"ready\": true,\r\n\t\t\t\"words\": [\"a\", \"--\", \"no\"]\r\n\t\t},\r\n\t\t{\r\n\t\t\t\"name\": \"too\"\r\n\t\t}\r\n\t],\r\n\t\"new\": \"value: # ${x} \\\"y\\\"\\n\",\r\n\t\"made\": {\r\n\t\t\"deep\": {\r\n\t\t\t\"number\": 7\r\n\t\t}\r\n\t},\r\n\t\"command\": [\"/tracer\", \"run\", \"--\"]\r\n}", JSON, nil},
	{"template", "{\"a\": ${a}, \"b\": \"${join(\",\", b)}\"}", `{"a": ${a}, "b": "${join(",", b)}", "new": "value: # $${x} \"y\"\n", "made": { "deep": { "number": 7 } }, "list": [{ "name": "mine", "ready": true, "words": ["a", "--", "no"] }, { "name": "too" }], "command": ["/tracer", "run", "--"]}`, JSON, nil},
	{"yaml", "# top\nspec: # here\n  list:\n  - name: x # not y\n    deep: {a: 1}\n\n  # about the command\n  command:\n    - \"c\"\n    - |\n      script\n# end\n", `# top
spec: # here
  list:
  - name: x # not y
    deep: {a: 1}
  - name: mine
    ready: true
    words: [a, "--", "no"]
  - name: too

  # about the command
  command:
    - /tracer
    - run
    - "--"
    - "c"
    - |
      script
  new: "value: # ${x} \"y\"\n"
  made:
    deep:
      number: 7
# end
`, YAML, Path{}.Item(0, "").Key("spec")},
	{"yaml without a last line break", "spec:\n  list:\n  command: [c] # flow\n  made: {}", `spec:
  list:
    - name: mine
      ready: true
      words: [a, "--", "no"]
    - name: too
  command: ["/tracer", "run", "--", c] # flow
  made:
    deep:
      number: 7
  new: "value: # ${x} \"y\"\n"`, YAML, Path{}.Item(0, "").Key("spec")},
	{"second document", "---\na: 1\n---\nspec:\n    command:\n    - c\n    keep: |+\n      text\n\n\n...\n", `---
a: 1
---
spec:
    command:
    - /tracer
    - run
    - "--"
    - c
    keep: |+
      text


    new: "value: # ${x} \"y\"\n"
    made:
      deep:
        number: 7
    list:
      - name: mine
        ready: true
        words: [a, "--", "no"]
      - name: too
...
`, YAML, Path{}.Item(1, "").Key("spec")},
	{"kyaml", "---\n{\n  spec: {\n    list: [{\n      name: \"x\",\n    }],\n  },\n}\n", `---
{
  spec: {
    list: [{
      name: "x",
    }, {
      name: "mine",
      ready: true,
      words: ["a", "--", "no"]
    }, {
      name: "too"
    }],
    new: "value: # ${x} \"y\"\n",
    made: {
      deep: {
        number: 7
      }
    },
    command: ["/tracer", "run", "--"],
  },
}
`, YAML, Path{}.Item(0, "").Key("spec")},
	{"terraform", "resource \"r\" \"x\" {\n  a = jsonencode({\n    b = var.b # b\n    command = [\"c\"]\n  })\n}\n", `resource "r" "x" {
  a = jsonencode({
    b = var.b # b
    command = ["/tracer", "run", "--", "c"]
    new = "value: # $${x} \"y\"\n"
    made = {
      deep = {
        number = 7
      }
    }
    list = [
      {
        name = "mine",
        ready = true,
        words = ["a", "--", "no"]
      },
      {
        name = "too"
      }
    ]
  })
}
`, Terraform(Attribute{"r", "a"}), Path{}.Key("x")},
	{"terraform template", "${jsonencode({\"b\": b})}\n", "${jsonencode({\"b\": b, \"new\": \"value: # $${x} \\\"y\\\"\\n\", \"made\": { \"deep\": { \"number\": 7 } }, \"list\": [{ \"name\": \"mine\", \"ready\": true, \"words\": [\"a\", \"--\", \"no\"] }, { \"name\": \"too\" }], \"command\": [\"/tracer\", \"run\", \"--\"]})}\n", TerraformTemplate, nil},
}

// Changes look like the text around them, and are undone to the byte.
func TestEdits(t *testing.T) {
	for _, c := range texts {
		d, err := New(c.text, c.parse)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if err := edits(d, c.at); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if d.Text() != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, d.Text(), c.want)
		}
		stored, err := json.Marshal(d.Log())
		if err != nil {
			t.Fatal(err)
		}
		var log []Undo
		if err := json.Unmarshal(stored, &log); err != nil {
			t.Fatal(err)
		}
		again, err := New(d.Text(), c.parse)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if err := again.Revert(log); err != nil || again.Text() != c.text {
			t.Errorf("%s: undone: %v\n%q\nwant\n%q", c.name, err, again.Text(), c.text)
		}
	}
}

func TestDrop(t *testing.T) {
	const text = "{\n  \"a\": 1,\n  \"b\": [\n    2\n  ],\n  \"c\": 3\n}"
	for _, keys := range []string{"a", "b", "c", "a b", "b a", "b c", "c b", "a c", "a b c", "c a b"} {
		d, err := New(text, JSON)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range strings.Fields(keys) {
			if err := d.Drop(nil, key); err != nil {
				t.Fatalf("%s: %v", keys, err)
			}
			if d.Root.Has(key) {
				t.Errorf("%s: %s is there: %s", keys, key, d.Text())
			}
		}
		if keys == "a b c" || keys == "c a b" {
			continue // nothing is left to find the place by; the last one comes back alone
		}
		if err := d.Revert(d.Log()); err != nil || d.Text() != text {
			t.Errorf("%s: %v %s", keys, err, d.Text())
		}
	}
}

func TestRefusesToEdit(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"list: !If [a, [], []]\n", "line 1: [0].list is not written out, but !If [a, [], []]"},
		{"x: &x [a]\nlist: *x\n", "line 2: [0].list is not written out, but *x"},
		{"list: text\n", "line 1: [0].list is no list"},
	} {
		d, err := New(c.text, YAML)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Append(Path{}.Item(0, "").Key("list"), "v", Match{Value: "v"}); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.text, err)
		}
		if d.Text() != c.text {
			t.Errorf("changed: %q", d.Text())
		}
	}
}

func TestRefusesToRead(t *testing.T) {
	for text, parse := range map[string]Parser{
		"{\"a\": 1, \"a\": 2}": JSON, "{\"a\": ${b}": JSON, "[1,]": JSON, "{} {}": JSON, `"${`: JSON,
		"a: 1\na: 2\n": YAML, "a: [": YAML, "? [a]\n: b\n": YAML, "a: {{ .Values.x }}\n": YAML,
		"${x}": TerraformTemplate, "${jsonencode(": TerraformTemplate, "x": TerraformTemplate, "resource {": Terraform(Attribute{"r", "a"}),
	} {
		if _, err := New(text, parse); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

// Whatever is read, positions are in the text, and a change can be undone. In YAML
// there are texts where it cannot, such as {a:\n}: who edits has to look.
func FuzzYAML(f *testing.F) { fuzz(f, YAML, false) }

func FuzzJSON(f *testing.F) { fuzz(f, JSON, true) }

func FuzzTerraform(f *testing.F) { fuzz(f, Terraform(Attribute{"r", "a"}), true) }

func fuzz(f *testing.F, parse Parser, exact bool) {
	for _, c := range texts {
		f.Add(c.text)
	}
	f.Add("a: !x\nb: &a\n- ? x\n")
	f.Add("a: 'it''s'\nb: \"\\\"\"\nc: >-\n  folded\n\n  text\nd: plain\n  more\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		d, err := New(text, parse)
		if err != nil {
			return
		}
		var paths []Path
		walk(t, d, d.Root, nil, &paths)
		for _, p := range paths {
			d, err := New(text, parse)
			if err != nil {
				t.Fatal(err)
			}
			if edits(d, p) != nil {
				continue
			}
			if err := d.Revert(d.Log()); err == nil && d.Text() != text && exact {
				t.Errorf("%s: undone to %q from %q", p, d.Text(), text)
			}
		}
	})
}

func walk(t *testing.T, d *Document, n *Node, at Path, paths *[]Path) {
	if n.Start < 0 || n.Start > n.End || n.End > len(d.text) {
		t.Fatalf("%s: %d to %d of %d", at, n.Start, n.End, len(d.text))
	}
	d.Line(n)
	if n.Kind == Map && len(*paths) < 8 {
		*paths = append(*paths, at)
	}
	for _, m := range n.Members {
		if m.Slot < m.End {
			t.Fatalf("%s.%s: the value's place %d is before the key's end %d", at, m.Key, m.Slot, m.End)
		}
		walk(t, d, m.Value, at.Key(m.Key), paths)
	}
	for i, it := range n.Items {
		walk(t, d, it, at.Item(i, ""), paths)
	}
}
