// Package markup runs Go templates of the user's for services that read markup:
// what an action prints is escaped, unless the template asks for it raw. It does
// not know any service's markup, and not what a template is about.
package markup

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"text/template"
)

// Raw is text that is printed as it is. The function raw makes it in a template.
type Raw string

// Names of the functions that are put into a template.
const (
	escaper   = "_escape_text"
	formatter = "_escape_arguments"
)

// Template is a template whose actions escape what they print.
type Template struct{ template *template.Template }

// Parse reads a template. Its text, its literal strings and the literal format of
// a printf are its author's and stay as they are; all else that an action prints
// is escaped. Within the template values are as they came, so that comparisons
// find what is in the event. missingkey is text/template's option.
func Parse(name, text, missingkey string) (*Template, error) {
	t, err := template.New(name).Option("missingkey=" + missingkey).Funcs(functions(unchanged)).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse template: %w", err)
	}
	for _, part := range t.Templates() {
		if part.Tree != nil {
			walk(part.Tree, part.Root)
		}
	}
	return &Template{template: t}, nil
}

// Execute runs the template over data. escape makes a text fit for the service.
func (t *Template) Execute(w io.Writer, data any, escape func(string) string) error {
	own, err := t.template.Clone() // functions belong to a template, and escape to a call
	if err != nil {
		return fmt.Errorf("copy template: %w", err)
	}
	// The error says that it is a template's, and where.
	return own.Funcs(functions(escape)).Execute(&bounded{to: w, left: maxBytes}, data)
}

// maxBytes bounds what a template prints: in a loop raw text could become any
// number of bytes, and no service takes as many as these.
const maxBytes = 1 << 20

var errTooLong = errors.New("the template prints more than 1 MiB")

type bounded struct {
	to   io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.left {
		return 0, errTooLong
	}
	b.left -= len(p)
	return b.to.Write(p)
}

func unchanged(s string) string { return s }

func functions(escape func(string) string) template.FuncMap {
	one := func(v any) Raw {
		if raw, ok := v.(Raw); ok {
			return raw
		}
		return Raw(escape(text(v)))
	}
	return template.FuncMap{
		"raw":   func(v any) Raw { return Raw(text(v)) },
		escaper: one,
		formatter: func(format string, arguments ...any) Raw {
			safe := make([]any, len(arguments))
			for i, v := range arguments {
				if safe[i] = v; !harmless(v) {
					safe[i] = string(one(v))
				}
			}
			return Raw(fmt.Sprintf(format, safe...))
		},
	}
}

// text is v as text/template prints it.
func text(v any) string {
	if v == nil {
		return "<no value>"
	}
	return fmt.Sprint(v)
}

// harmless says whether v is a number or a boolean, in which is no markup, and
// which a format may ask for as such.
func harmless(v any) bool {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8,
		reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Float32, reflect.Float64:
		return true
	}
	return false
}
