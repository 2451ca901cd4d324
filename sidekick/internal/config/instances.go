package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sidearmor/sidearmor/outputs"
)

// maxInstances is how many outputs of one kind there can be.
const maxInstances = 99

// Several outputs of a kind are told by a key: the settings of the first are in the
// kind's block, as if it were alone, those of another are below its key, a number
// or, for variables, its name: slack.2.webhookurl, SLACK_2_WEBHOOKURL,
// SLACK_ONCALL_WEBHOOKURL. No setting is called by a number, and a name is one only
// where the setting that turns such an output on is given below it. In YAML they
// are the items of a list. The key only says which settings belong together; what
// an output is called, and so its position in the queue, is by its name.

// instanceKey is a name as a part of a variable.
var instanceKey = regexp.MustCompile(`^[A-Z][A-Z0-9]{0,19}(_[A-Z0-9]{1,20})?$`)

// instanceName is also part of a queue's subject and of a metric's label.
var instanceName = regexp.MustCompile(`^[a-z0-9]{1,20}(-[a-z0-9]{1,20})?$`)

// addInstance makes the settings of an output of a kind known.
func (l *loader) addInstance(k outputs.Kind, key string) {
	if slices.Contains(l.instances[k.Block], key) {
		return
	}
	l.instances[k.Block] = append(l.instances[k.Block], key)
	slices.SortFunc(l.instances[k.Block], byNumber)
	at := instance(k, key)
	for _, s := range k.Settings {
		own := settingOf(at, s)
		l.known[own.path] = own
	}
	for _, s := range commonSettings(at) {
		l.known[s.path] = s
	}
}

// instancesOf gives a kind once for each of its outputs, with the block that its
// settings are in.
func (l *loader) instancesOf(k outputs.Kind) []outputs.Kind {
	var all []outputs.Kind
	for _, key := range l.instances[k.Block] {
		all = append(all, instance(k, key))
	}
	return all
}

func instance(k outputs.Kind, key string) outputs.Kind {
	if key != "" {
		k.Block += "." + key
	}
	return k
}

// byNumber orders keys: the first output, numbers, names.
func byNumber(a, b string) int {
	m, notA := strconv.Atoi(a)
	n, notB := strconv.Atoi(b)
	switch {
	case a == "" || b == "" || notA != nil && notB != nil:
		return strings.Compare(a, b)
	case notA != nil:
		return 1
	case notB != nil:
		return -1
	}
	return m - n
}

// addVariables looks for numbers and names in the names of variables.
func (l *loader) addVariables(k outputs.Kind) {
	for name := range l.env {
		rest, ok := strings.CutPrefix(name, variable(k.Block)+"_")
		if _, familiar := familiarVariables()[name]; !ok || familiar {
			continue
		}
		number, _, _ := strings.Cut(rest, "_")
		// Only as Itoa writes it: 02 would be another name for 2.
		if n, err := strconv.Atoi(number); err == nil && n > 1 && n <= maxInstances && strconv.Itoa(n) == number {
			l.addInstance(k, number)
			continue
		}
		if key, ok := strings.CutSuffix(strings.TrimSuffix(rest, "_FILE"), "_"+variable(k.Enabler)); ok && instanceKey.MatchString(key) {
			l.addInstance(k, strings.ToLower(key))
		}
	}
}

// list takes in the outputs of one kind.
func (l *loader) list(k outputs.Kind, key, content *yaml.Node) {
	if len(content.Content) > maxInstances {
		l.problem("%s: %s has more than %d items", l.at(key), k.Block, maxInstances)
		return
	}
	for i, item := range content.Content {
		var key string
		if i > 0 {
			key = strconv.Itoa(i + 1)
		}
		l.addInstance(k, key)
		l.walk(instance(k, key).Block, item)
	}
}

// kindAt gives the kind whose block path is.
func (l *loader) kindAt(path string) (outputs.Kind, bool) {
	i := slices.IndexFunc(l.kinds, func(k outputs.Kind) bool { return k.Block == path })
	if i < 0 {
		return outputs.Kind{}, false
	}
	return l.kinds[i], true
}

// isInstance says whether path is the block of a second or later output.
func (l *loader) isInstance(path string) bool {
	block, key := cutLast(path)
	return key != "" && slices.Contains(l.instances[block], key)
}

// cutLast takes the last key off a path; "" for a path of one.
func cutLast(path string) (block, key string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return path, ""
}

// name gives what an output is called.
func (l *loader) name(k outputs.Kind) string {
	v := l.get(k.Block + ".name")
	if _, key := cutLast(k.Block); v.text == "" && l.isInstance(k.Block) && instanceKey.MatchString(strings.ToUpper(key)) {
		v.text = strings.ReplaceAll(key, "_", "-")
		l.note(k.Block+".name", value{text: v.text})
	}
	switch {
	case v.text == "" && l.isInstance(k.Block):
		l.problem("%s: missing, every %s but the first needs a name (in a list in YAML: a name in each item)", v.name, k.Name)
	case v.text == "":
		return k.Name
	case !instanceName.MatchString(v.text):
		l.problem("%s: %q is not a name, use one or two words of at most 20 small letters and digits, joined by a hyphen", v.name, v.text)
	}
	return k.Name + "-" + v.text
}

// uniqueNames refuses two outputs of one name: they would share a position.
func (l *loader) uniqueNames(configured []Output) {
	seen := map[string]string{}
	for _, o := range configured {
		at := variable(o.Kind.Block + ".name")
		if first, twice := seen[o.Name]; twice {
			l.problems = append(l.problems, fmt.Errorf("%s: there is an output %s already, by %s", at, o.Name, first))
		}
		seen[o.Name] = at
	}
}
