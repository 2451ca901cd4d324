package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/outputs"
)

// Section is a group of settings that belong together, to be explained.
type Section struct {
	Title    string
	Output   string // whose settings these are; "" for no single one
	Settings []Explained
}

// Explained is a setting as it is declared, with nothing that was given.
type Explained struct {
	Variable, Path string // SLACK_WEBHOOKURL, slack.webhookurl
	Type           string
	Default        string
	Secret         bool   // can be in a file too, by Variable_FILE
	Usage          string // for a terminal
	Doc            string // for the documents, in Markdown
}

// Explain gives all settings there are, from the declarations by which they are read.
func Explain(kinds []outputs.Kind) []Section {
	all := []Section{{Title: "Settings of the sidekick", Settings: explained(generalSettings())}}
	common := commonSettings(outputs.Kind{Block: "<output>", Digests: true})
	for i := range common {
		if common[i].path == "<output>.logs" {
			common[i].byDefault = "" // which differs
		}
	}
	all = append(all, Section{Title: "Settings that every output has", Settings: explained(common)})
	var shared []setting
	var each []Section
	for _, k := range kinds {
		var own []setting
		for _, s := range k.Settings {
			described := settingOf(k, s)
			switch {
			case s.Block == "":
				own = append(own, described)
			case !slices.ContainsFunc(shared, func(other setting) bool { return other.path == described.path }):
				shared = append(shared, described)
			}
		}
		title := k.Name + ", on with " + variable(k.Block+"."+k.Enabler)
		if k.Logs {
			title += ", gets KubeArmor logs"
		}
		each = append(each, Section{Title: title, Output: k.Name, Settings: explained(own)})
	}
	all = append(all, Section{Title: "Settings that outputs share", Settings: explained(shared)})
	return append(all, each...)
}

func explained(settings []setting) []Explained {
	list := make([]Explained, 0, len(settings))
	for _, s := range settings {
		list = append(list, Explained{
			Variable: variable(s.path), Path: s.path, Type: s.as.String(), Default: s.byDefault, Secret: s.secret,
			Usage: s.usage, Doc: cmp.Or(s.doc, sentence(s.usage)),
		})
	}
	return list
}

// sentence makes one of a usage.
func sentence(usage string) string {
	if usage == "" {
		return ""
	}
	return strings.ToUpper(usage[:1]) + usage[1:] + "."
}
