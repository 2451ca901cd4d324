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

// Several outputs of a kind are told by a number: the settings of the first are in
// the kind's block, as if it were alone, those of the second are below its number:
// slack.2.webhookurl, SLACK_2_WEBHOOKURL. No setting is called by a number, so
// neither can be taken for the other. In YAML they are the items of a list. The
// number only says which settings belong together; what an output is called, and
// so its position in the queue, is by its name.

// instanceName is also part of a queue's subject and of a metric's label.
var instanceName = regexp.MustCompile(`^[a-z0-9]{1,20}(-[a-z0-9]{1,20})?$`)

// addInstance makes the settings of the nth output of a kind known.
func (l *loader) addInstance(k outputs.Kind, n int) {
	if slices.Contains(l.numbers[k.Block], n) {
		return
	}
	l.numbers[k.Block] = append(l.numbers[k.Block], n)
	slices.Sort(l.numbers[k.Block])
	at := numbered(k, n)
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
	for _, n := range l.numbers[k.Block] {
		all = append(all, numbered(k, n))
	}
	return all
}

func numbered(k outputs.Kind, n int) outputs.Kind {
	if n > 1 {
		k.Block += "." + strconv.Itoa(n)
	}
	return k
}

// addVariables looks for numbers in the names of variables.
func (l *loader) addVariables(k outputs.Kind) {
	for name := range l.env {
		rest, ok := strings.CutPrefix(name, variable(k.Block)+"_")
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "_")
		// Only as Itoa writes it: 02 would be another name for 2.
		if n, err := strconv.Atoi(number); err == nil && n > 1 && n <= maxInstances && strconv.Itoa(n) == number {
			l.addInstance(k, n)
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
		l.addInstance(k, i+1)
		l.walk(numbered(k, i+1).Block, item)
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

// isNumbered says whether path is the block of a second or later output.
func (l *loader) isNumbered(path string) bool {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return false
	}
	_, isKind := l.kindAt(path[:i])
	_, err := strconv.Atoi(path[i+1:])
	return isKind && err == nil
}

// name gives what an output is called.
func (l *loader) name(k outputs.Kind) string {
	v := l.get(setting{path: k.Block + ".name"})
	switch {
	case v.text == "" && l.isNumbered(k.Block):
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
