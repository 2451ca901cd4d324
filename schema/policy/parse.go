package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const apiVersion = "security.kubearmor.com/v1"

// otherKinds are the documents of KubeArmor that cannot apply inside a container.
var otherKinds = map[string]string{
	"KubeArmorHostPolicy":    "it protects a host, and this workload owns none: write the rules as a " + KindPolicy,
	"KubeArmorNetworkPolicy": "it is made of firewall rules of a host, and this workload owns none",
}

// listKinds are the kinds of what kubectl get writes.
var listKinds = []string{"List", KindPolicy + "List", KindClusterPolicy + "List"}

// Parse reads the policies of one YAML or JSON file; name stands for the file in
// errors and warnings. A file may hold several documents, lists of them as kubectl get
// writes, and may be empty. It is
// taken whole or not at all: the error joins an *Error for everything that is
// wrong, at most 20.
//
// What the validation of KubeArmor's CRD accepts is taken, and what it passes over,
// such as keys that it does not know, is passed over. Document.Warnings tells of it,
// and of what was put right.
func Parse(name string, in io.Reader) ([]Document, error) {
	return parse(&reader{file: name}, in)
}

// ParseStrict is Parse where all that would be passed over is an error.
func ParseStrict(name string, in io.Reader) ([]Document, error) {
	return parse(&reader{file: name, strict: true}, in)
}

func parse(r *reader, in io.Reader) ([]Document, error) {
	data, err := r.text8(in)
	if err != nil {
		return nil, err
	}
	docs := r.documents(data)
	if len(r.errs) > 0 {
		return nil, r.err()
	}
	return docs, nil
}

// text8 reads a whole file.
func (r *reader) text8(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading policy file %s: %w", r.file, err)
	}
	switch {
	case len(data) > maxFileBytes:
		r.errorAt(1, "the file is larger than %d bytes", maxFileBytes)
	case !utf8.Valid(data):
		r.errorAt(firstInvalidLine(data), "the file is not UTF-8")
	}
	return data, r.err()
}

func firstInvalidLine(data []byte) int {
	line := 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size == 1 {
			break
		}
		if c == '\n' {
			line++
		}
		data = data[size:]
	}
	return line
}

func (r *reader) documents(data []byte) []Document {
	var docs []Document
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			r.syntaxError(err)
			return nil
		}
		if len(root.Content) == 0 || isNull(root.Content[0]) {
			continue // only comments between two separators
		}
		for _, item := range r.items(root.Content[0]) {
			r.warnings, r.root = nil, item
			d := r.document(item)
			d.Warnings = r.warnings
			docs = append(docs, d)
		}
	}
}

// items gives the documents of a list; what is none is itself the only one.
func (r *reader) items(root *yaml.Node) []*yaml.Node {
	kind, items := member(root, "kind"), member(root, "items")
	if kind == nil || !slices.Contains(listKinds, kind.Value) {
		return []*yaml.Node{root}
	}
	r.root = root
	switch {
	case r.single:
		r.errorf(kind, "a list is not taken here: write its items as documents of their own, separated by ---")
	case items == nil || items.Kind != yaml.SequenceNode:
		r.errorf(root, "the %s lacks items", kind.Value)
	default:
		return items.Content
	}
	return nil
}

// member is the value of a key, nil if there is none.
func member(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// syntaxError takes the line out of the text of the error: the library gives it
// in no other way.
func (r *reader) syntaxError(err error) {
	m := regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`).FindStringSubmatch(err.Error())
	if m == nil {
		r.errorAt(1, "not YAML: %v", err)
		return
	}
	line, _ := strconv.Atoi(m[1]) // 0 when there is none
	r.errorAt(line, "not YAML: %s", m[2])
}

func (r *reader) document(root *yaml.Node) Document {
	d := Document{Origin: fmt.Sprintf("%s:%d", r.file, r.before+root.Line)}
	// The kind says what the spec may hold, wherever it stands in the document.
	var version string
	var spec *yaml.Node
	r.mapping(root, "the policy", fields{
		"apiVersion": func(n *yaml.Node) { version = r.version(n) },
		"kind":       func(n *yaml.Node) { d.Kind = r.kind(n) },
		"metadata":   func(n *yaml.Node) { r.metadata(n, &d) },
		"spec":       func(n *yaml.Node) { spec = n },
		"status":     func(*yaml.Node) {}, // written by Kubernetes
	})
	if root.Kind != yaml.MappingNode {
		return d
	}
	for _, missing := range []struct {
		is   bool
		what string
	}{
		{version == "", "apiVersion: " + apiVersion},
		{d.Kind == "", "kind: " + KindPolicy},
		{d.Name == "", "metadata.name"},
		{spec == nil, "spec"},
	} {
		if missing.is && !r.failed(root) {
			r.errorf(root, "the policy lacks %s", missing.what)
		}
	}
	if spec != nil && (d.Kind == KindPolicy || d.Kind == KindClusterPolicy) {
		r.spec(spec, &d)
	}
	return d
}

// failed says whether something from this document on was wrong: what is
// missing is then often what was misspelt.
func (r *reader) failed(root *yaml.Node) bool {
	return len(r.errs) > 0 && lineOf(r.errs[len(r.errs)-1]) >= r.before+root.Line
}

func (r *reader) version(n *yaml.Node) string {
	v := r.text(n, "apiVersion")
	if v != "" && v != apiVersion {
		r.errorf(n, "apiVersion %s is not known: it must be %s", quote(v), apiVersion)
	}
	return v
}

func (r *reader) kind(n *yaml.Node) string {
	kind := r.text(n, "kind")
	if kind == "" || kind == KindPolicy || kind == KindClusterPolicy {
		return kind
	}
	if why, ok := otherKinds[kind]; ok {
		r.errorf(n, "kind %s does not apply here: %s", kind, why)
		return kind
	}
	if hint := closest(kind, []string{KindPolicy, KindClusterPolicy}); hint != "" {
		r.errorf(n, "kind %s is not known: did you mean %s?", quote(kind), hint)
		return kind
	}
	r.errorf(n, "kind %s is not a policy: it must be %s or %s", quote(kind), KindPolicy, KindClusterPolicy)
	return kind
}

// metadata takes name and namespace. The rest of Kubernetes' metadata is many
// keys that grow with its versions and mean nothing here.
func (r *reader) metadata(n *yaml.Node, d *Document) {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "metadata must be a mapping, not %s", kindName(n))
		return
	}
	f := fields{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		f[n.Content[i].Value] = func(*yaml.Node) {}
	}
	f["name"] = func(n *yaml.Node) { d.Name = r.objectName(n, "metadata.name", 253) }
	f["namespace"] = func(n *yaml.Node) { d.Namespace = r.objectName(n, "metadata.namespace", 63) }
	f["annotations"] = func(n *yaml.Node) { r.annotations(n, d) }
	r.mapping(n, "metadata", f)
}

// annotations takes those that say what the policy does, and how its allow lists are
// meant; the rest are others'.
func (r *reader) annotations(n *yaml.Node, d *Document) {
	if n.Kind != yaml.MappingNode {
		r.errorf(n, "metadata.annotations must be a mapping, not %s", kindName(n))
		return
	}
	postures := map[string]*string{
		FilePostureAnnotation: &d.FilePosture, NetworkPostureAnnotation: &d.NetworkPosture,
		CapabilitiesPostureAnnotation: &d.CapabilitiesPosture,
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := r.node(n.Content[i]), r.node(n.Content[i+1])
		if key == nil || value == nil {
			return
		}
		if posture := postures[key.Value]; posture != nil {
			*posture = r.oneOf(value, "the annotation "+key.Value, []string{PostureAudit, PostureBlock})
		}
		if key.Value != ModeAnnotation {
			continue
		}
		mode, err := ParseMode(value.Value)
		if err != nil || value.Kind != yaml.ScalarNode {
			r.errorf(value, "the annotation %s is %s: it must be %s, %s or %s", ModeAnnotation, kindName(value), ModeEnabled, ModeAudited, ModeDisabled)
		}
		d.Mode = mode
	}
}

// objectName checks only what alerts and logs rely on: no spaces, no control
// characters, no more than Kubernetes allows.
func (r *reader) objectName(n *yaml.Node, what string, limit int) string {
	name := r.text(n, what)
	if len(name) > limit {
		r.errorf(n, "%s has %d bytes: at most %d are allowed", what, len(name), limit)
		return ""
	}
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		r.errorf(n, "%s %s has a space or control character", what, quote(name))
		return ""
	}
	return name
}
