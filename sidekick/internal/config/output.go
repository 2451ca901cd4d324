package config

import (
	"fmt"
	"strconv"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
	"github.com/sidearmor/sidearmor/sidekick/internal/filter"
)

// output makes an output; nil when it is off or something is wrong with it.
func (l *loader) output(k outputs.Kind) *Output {
	enabler := l.get(k.Block + "." + k.Enabler)
	// A secret file that cannot be read was meant to turn the output on.
	if on, err := strconv.ParseBool(enabler.text); enabler.text == "" || (err == nil && !on) {
		l.noteOff(k, enabler.name)
		return nil
	}
	before := len(l.problems)
	values := &values{defaults: map[string]string{}, given: map[string]given{}}
	for _, s := range k.Settings {
		v := enabler
		if s.Key != k.Enabler {
			v = l.get(settingOf(k, s).path)
		}
		values.defaults[s.Key] = s.Default
		values.given[s.Key] = given{text: secret.New(v.text), name: v.name}
	}
	o := &Output{Name: l.name(k), Kind: k, Logs: l.boolean(k.Block + ".logs"), DigestWindow: l.digestWindowOf(k)}
	if v := l.get(k.Block + ".minimumpriority"); v.text != "" {
		p, err := schema.ParsePriority(v.text)
		if err != nil {
			l.problem("%s: %w", v.name, err)
		}
		o.MinimumPriority = p
	}
	if v := l.get(k.Block + ".filter"); v.text != "" {
		f, err := filter.Compile(v.text)
		if err != nil {
			l.problem("%s: %w", v.name, err)
		}
		o.Filter = f
	}
	o.MaxAttempts = l.number(k.Block + ".max_attempts")
	inFlight := l.concurrency(k)
	if len(l.problems) > before {
		return nil
	}
	for range inFlight {
		made, err := k.New(values)
		if err != nil {
			l.problems = append(l.problems, err)
			return nil
		}
		o.More = append(o.More, made)
	}
	o.Output, o.More = o.More[0], o.More[1:]
	return o
}

// noteOff warns of settings that wait for one that turns the output on.
func (l *loader) noteOff(k outputs.Kind, enabler string) {
	for _, s := range l.settingsOf(k) {
		if s.path == k.Block+"."+k.Enabler {
			continue
		}
		if v := l.peek(s.path); v != "" {
			l.off = append(l.off, fmt.Sprintf("%s has no effect: %s is off without %s", v, k.Name, enabler))
		}
	}
}

// settingsOf are the settings in a kind's own block.
func (l *loader) settingsOf(k outputs.Kind) []setting {
	var own []setting
	for _, s := range k.Settings {
		if s.Block == "" {
			own = append(own, settingOf(k, s))
		}
	}
	return append(own, commonSettings(k)...)
}

// peek gives the name under which something was given for s.
func (l *loader) peek(path string) string {
	name := variable(path)
	switch {
	case l.env[name] != "":
		return name
	case l.known[path].secret && l.env[name+"_FILE"] != "":
		return name + "_FILE"
	case l.yaml[path].text != "":
		return l.yaml[path].name
	}
	return ""
}

// values implements outputs.Values. All texts are kept as secrets, so that no
// print of a configuration shows one.
type values struct {
	defaults map[string]string
	given    map[string]given
}

type given struct {
	text secret.String
	name string
}

func (v *values) String(key string) string {
	if text := v.given[key].text.Reveal(); text != "" {
		return text
	}
	return v.defaults[key]
}

func (v *values) Name(key string) string { return v.given[key].name }
