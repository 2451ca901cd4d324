// Package enrich adds to events what FalcoSidekick adds to them: custom and templated
// fields, tags, and another form of the output. It reads no events and counts none.
package enrich

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"

	"github.com/google/uuid"

	"github.com/sidearmor/sidearmor/schema"
)

// testRule is FalcoSidekick's name of the event that /test makes.
const testRule = "Test rule"

// maxFieldBytes bounds what a template makes. Nothing else in an event is longer.
const maxFieldBytes = 256 << 10

// Options are FalcoSidekick's settings of these names. The zero value adds nothing.
type Options struct {
	CustomFields      map[string]string
	CustomTags        []string
	TemplatedFields   map[string]string // Go templates over the output fields
	BracketReplacer   string            // in names of output fields stands for [; ] goes; "" leaves both
	OutputFieldFormat string            // "" leaves outputs as they are
}

// Enricher adds to events. It is safe for concurrent use; nil adds only what every
// event gets.
type Enricher struct {
	options   Options
	templates []templated // by name
	custom    string      // for <custom_fields>
}

type templated struct {
	name string
	text *template.Template
}

// New checks the templates. Its error names the field.
func New(o Options) (*Enricher, error) {
	e := &Enricher{options: o, custom: pairs(o.CustomFields)}
	for _, name := range slices.Sorted(maps.Keys(o.TemplatedFields)) {
		t, err := template.New(name).Parse(o.TemplatedFields[name])
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", name, err)
		}
		e.templates = append(e.templates, templated{name, t})
	}
	return e, nil
}

// CustomFields are those that a Falco event must get before it is checked.
func (e *Enricher) CustomFields() map[string]string {
	if e == nil {
		return nil
	}
	return e.options.CustomFields
}

// KubeArmor says whether an event of KubeArmor's gets anything.
func (e *Enricher) KubeArmor() bool {
	return e != nil && len(e.options.CustomFields)+len(e.options.CustomTags) > 0
}

// Apply adds to an event; a Falco event has the custom fields already. An error is
// about templates that cannot be evaluated; the event is complete but for them.
func (e *Enricher) Apply(ev *schema.Event) error {
	if ev.Falco != nil {
		return e.falco(ev.Falco)
	}
	if e == nil {
		return nil
	}
	e.kubeArmor(ev)
	return nil
}

// falco follows FalcoSidekick's order (handlers.go, newFalcoPayload).
func (e *Enricher) falco(f *schema.FalcoEvent) error {
	if f.Rule == testRule {
		f.Source = "internal"
	}
	if f.Source == "" {
		f.Source = "syscalls"
	}
	f.UUID = uuid.NewString()
	if e == nil {
		slices.Sort(f.Tags)
		return nil
	}
	f.Tags = slices.Concat(f.Tags, e.options.CustomTags)
	slices.Sort(f.Tags)
	made, err := e.template(f)
	if with := e.options.BracketReplacer; with != "" {
		for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
			if strings.Contains(key, "[") {
				value := f.OutputFields[key]
				delete(f.OutputFields, key)
				f.OutputFields[strings.NewReplacer("]", "", "[", with).Replace(key)] = value
			}
		}
	}
	if e.options.OutputFieldFormat != "" {
		f.Output = e.format(f, made)
	}
	return err
}

// template adds the templated fields, and gives them for <templated_fields>. A later
// one sees those before it.
func (e *Enricher) template(f *schema.FalcoEvent) (made string, err error) {
	fields := make(map[string]string, len(e.templates))
	for _, t := range e.templates {
		var b bounded
		if failed := t.text.Execute(&b, f.OutputFields); failed != nil {
			err = errors.Join(err, fmt.Errorf("templated field %s: %w", t.name, failed))
		}
		fields[t.name] = strings.ToValidUTF8(b.String(), "")
		f.OutputFields[t.name] = fields[t.name]
	}
	return pairs(fields), err
}

// kubeArmor puts custom fields into EventData, the one place that takes any key.
// Logs have no tags.
func (e *Enricher) kubeArmor(ev *schema.Event) {
	if r := ev.Record(); r != nil && len(e.options.CustomFields) > 0 {
		if r.EventData == nil {
			r.EventData = make(map[string]string, len(e.options.CustomFields))
		}
		maps.Copy(r.EventData, e.options.CustomFields)
	}
	if a := ev.Alert; a != nil && len(e.options.CustomTags) > 0 {
		if len(a.ATags) == 0 && a.Tags != "" {
			a.ATags = strings.Split(a.Tags, ",")
		}
		a.ATags = slices.Concat(a.ATags, e.options.CustomTags)
		a.Tags = strings.Join(a.ATags, ",")
	}
}

// pairs writes fields as FalcoSidekick does, "key=value key=value", though always in
// the same order.
func pairs(fields map[string]string) string {
	list := make([]string, 0, len(fields))
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		list = append(list, key+"="+fields[key])
	}
	return strings.Join(list, " ")
}

// bounded is a text that takes no more than maxFieldBytes.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxFieldBytes {
		return 0, fmt.Errorf("makes more than %d bytes", maxFieldBytes)
	}
	return b.Builder.Write(p)
}
