package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth ends the look into what is ignored: an alias may contain itself.
const maxDepth = 8

// readYAML reads the file into l.yaml. An error means that the file cannot be
// used at all; what is wrong within it is noted.
func (l *loader) readYAML() error {
	l.yaml = map[string]value{}
	if l.file == "" {
		return nil
	}
	text, err := os.ReadFile(l.file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // empty
		}
		return fmt.Errorf("read configuration %s: %w", l.file, err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read configuration %s: more than one document", l.file)
	}
	if len(doc.Content) > 0 {
		l.walk("", doc.Content[0])
	}
	return nil
}

// walk takes in the keys of a mapping, path being that of the mapping.
func (l *loader) walk(path string, n *yaml.Node) {
	n = resolve(n)
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		l.problem("%s: %s must be a mapping of settings", l.at(n), orTop(path))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, content := n.Content[i], resolve(n.Content[i+1])
		at := strings.ToLower(key.Value)
		if path != "" {
			at = path + "." + at
		}
		if seen[at] {
			l.problem("%s: %s is given twice", l.at(key), at)
			continue
		}
		seen[at] = true
		l.entry(at, key, content)
	}
}

func (l *loader) entry(path string, key, content *yaml.Node) {
	s, known := l.known[path]
	if !known {
		if base, ok := strings.CutSuffix(path, "_file"); ok && l.known[base].secret {
			s, known = setting{path: path}, true
		}
	}
	k, isKind := l.kindAt(path)
	switch {
	case known:
		l.scalar(s, key, content)
	case isKind && content.Kind == yaml.SequenceNode:
		l.list(k, key, content)
	case l.isBlock(path) && !l.isInstance(path):
		l.walk(path, content)
	case isUpstreamKey(path):
		if !isEmpty(content, maxDepth) {
			l.foreign = append(l.foreign, fmt.Sprintf("%s (%s)", path, l.at(key)))
		}
	default:
		l.problem("%s: unknown key %s%s", l.at(key), path, suggest(path, l.paths()))
	}
}

func (l *loader) scalar(s setting, key, content *yaml.Node) {
	v := value{name: fmt.Sprintf("%s (%s)", s.path, l.at(key))}
	switch {
	case isNull(content):
	case content.Kind == yaml.ScalarNode:
		v.text = trimmed(s.path, content.Value)
	case s.as == asMapping && content.Kind == yaml.MappingNode:
		v.isMap = true
		v.text = l.lines(s.path, content)
	case s.as == asList && content.Kind == yaml.SequenceNode:
		v.text = l.commas(s.path, content)
	default:
		l.problem("%s: %s must be a single value", l.at(key), s.path)
		return
	}
	l.yaml[s.path] = v
}

// lines writes a mapping as one "key:value" line for each entry.
func (l *loader) lines(path string, n *yaml.Node) string {
	var b strings.Builder
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, content := n.Content[i], resolve(n.Content[i+1])
		if content.Kind != yaml.ScalarNode || strings.ContainsAny(key.Value+content.Value, "\n") || strings.Contains(key.Value, ":") {
			l.problem("%s: %s.%s must be a single line, and its name without a colon", l.at(key), path, key.Value)
			continue
		}
		fmt.Fprintf(&b, "%s:%s\n", key.Value, content.Value)
	}
	return b.String()
}

// commas writes a list as a variable would have it.
func (l *loader) commas(path string, n *yaml.Node) string {
	items := make([]string, 0, len(n.Content))
	for _, item := range n.Content {
		if item = resolve(item); item.Kind != yaml.ScalarNode {
			l.problem("%s: %s must be a list of single values", l.at(item), path)
			continue
		}
		items = append(items, item.Value)
	}
	return strings.Join(items, ",")
}

// isBlock says whether settings are below path.
func (l *loader) isBlock(path string) bool {
	for known := range l.known {
		if strings.HasPrefix(known, path+".") {
			return true
		}
	}
	return false
}

func (l *loader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", l.file, n.Line) }

func orTop(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// isEmpty says whether nothing is set in n: FalcoSidekick's sample file lists all
// of its settings with empty values.
func isEmpty(n *yaml.Node, depth int) bool {
	if depth == 0 {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		return n.Value == "" || n.Tag == "!!null" || n.Value == "false"
	}
	for i, c := range n.Content {
		isKey := n.Kind == yaml.MappingNode && i%2 == 0
		if c = resolve(c); !isKey && !isEmpty(c, depth-1) {
			return false
		}
	}
	return true
}
