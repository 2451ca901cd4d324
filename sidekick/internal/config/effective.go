package config

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mask stands for every secret.
const mask = "***"

// Setting is one that is in effect.
type Setting struct {
	Path  string // in YAML: slack.username
	Value string // masked if it is a secret
	From  string // variable, or key with file and line; "" for the default
	isMap bool   // Value is "key:value\n" lines
}

// note keeps what was found for a setting.
func (l *loader) note(path string, v value) {
	known := l.known[path]
	e := Setting{Path: path, Value: v.text, From: v.name, isMap: v.isMap}
	if v.text == "" {
		e.Value, e.From = known.byDefault, ""
	}
	switch {
	case e.Value == "":
		return
	case known.secret:
		e.Value, e.isMap = mask, false
	}
	// A password within an address that is not a secret as a whole.
	e.Value = regexp.MustCompile(`://[^/?#\s]*@`).ReplaceAllString(e.Value, "://"+mask+"@")
	i := slices.IndexFunc(l.effective, func(other Setting) bool { return other.Path == path })
	if i < 0 {
		l.effective = append(l.effective, e)
	}
}

// YAML writes all settings that are in effect, defaults included, as a
// configuration file, each with where it is from. Secrets are masked.
func (c Config) YAML() ([]byte, error) {
	top := &branch{}
	for _, s := range c.Settings {
		top.put(strings.Split(c.listed(s.Path), "."), s)
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(top.node()); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	return b.Bytes(), nil
}

// listed gives a path with the number of the output in the list of its kind instead
// of its key.
func (c Config) listed(path string) string {
	for block, keys := range c.instances {
		for i, key := range keys {
			if rest, ok := strings.CutPrefix(path, block+"."+key+"."); ok && key != "" {
				return block + "." + strconv.Itoa(i+1) + "." + rest
			}
		}
	}
	return path
}

// branch is a mapping of settings, in the order in which they were put.
type branch struct {
	keys     []string
	branches map[string]*branch
	leaves   map[string]Setting
}

func (b *branch) put(path []string, s Setting) {
	key := path[0]
	if b.branches == nil {
		b.branches, b.leaves = map[string]*branch{}, map[string]Setting{}
	}
	if !slices.Contains(b.keys, key) {
		b.keys = append(b.keys, key)
	}
	if len(path) == 1 {
		b.leaves[key] = s
		return
	}
	if b.branches[key] == nil {
		b.branches[key] = &branch{}
	}
	b.branches[key].put(path[1:], s)
}

// node is a list where the branch holds several outputs of a kind.
func (b *branch) node() *yaml.Node {
	first, list := &yaml.Node{Kind: yaml.MappingNode}, &yaml.Node{Kind: yaml.SequenceNode}
	for _, key := range b.keys {
		if _, err := strconv.Atoi(key); err == nil {
			continue
		}
		content, comment := b.content(key)
		first.Content = append(first.Content, text(key), content)
		content.LineComment = comment
	}
	if len(first.Content) > 0 {
		list.Content = append(list.Content, first)
	}
	for n := 2; n <= maxInstances; n++ {
		if further := b.branches[strconv.Itoa(n)]; further != nil {
			list.Content = append(list.Content, further.node())
		}
	}
	if len(list.Content) == 1 && len(first.Content) > 0 {
		return first
	}
	if len(list.Content) == 0 {
		return first
	}
	return list
}

func (b *branch) content(key string) (n *yaml.Node, comment string) {
	if below := b.branches[key]; below != nil {
		return below.node(), ""
	}
	s := b.leaves[key]
	if !s.isMap {
		return text(s.Value), s.From
	}
	entries := map[string]string{}
	for line := range strings.Lines(s.Value) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		entries[name] = value
	}
	n = &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		n.Content = append(n.Content, text(name), text(entries[name]))
	}
	return n, ""
}

var plain = regexp.MustCompile(`^(true|false|[1-9][0-9]*)$`)

func text(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Value: s}
	if !plain.MatchString(s) {
		n.Tag = "!!str"
	}
	if strings.Contains(s, "\n") {
		n.Style = yaml.LiteralStyle
	}
	return n
}
