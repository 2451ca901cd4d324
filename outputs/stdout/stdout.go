// Package stdout writes events to the program's standard output, for demos,
// pipes and container log drivers. It does not rotate or buffer.
package stdout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/schema"
)

// Format renders one event, without a final line end.
type Format struct {
	Name   string
	Usage  string
	Render func(e *schema.Event) ([]byte, error)
}

// Kind is the stdout output. It knows the formats text, kubearmor, json (the
// same as kubearmor), camel and ocsf; more can be given, such as the rendering of
// another output.
func Kind(more ...Format) outputs.Kind { return kind(os.Stdout, more) }

func kind(w io.Writer, more []Format) outputs.Kind {
	formats := append([]Format{
		{"text", "one readable line", line},
		{"json", "KubeArmor's JSON, one object a line", (*schema.Event).Body},
		{"kubearmor", "the same as json", (*schema.Event).Body},
		{"camel", "the JSON of KubeArmor's own log file", camel},
		{"ocsf", "a Detection Finding of OCSF, one object a line", ocsf.Encode},
	}, more...)
	var usage []string
	for _, f := range formats {
		usage = append(usage, f.Name+" ("+f.Usage+")")
	}
	return outputs.Kind{
		Name:    "stdout",
		Block:   "stdout",
		Enabler: "enabled",
		Logs:    true,
		Serial:  true,
		Settings: []outputs.Setting{
			{Key: "enabled", Usage: "true writes events to the standard output"},
			{Key: "format", Default: "text", Usage: "one or more of " + strings.Join(usage, ", ") + ", separated by commas"},
		},
		Limits: outputs.Limits{BatchEvents: 100, BatchDelay: 50 * time.Millisecond, Timeout: 10 * time.Second},
		New:    func(v outputs.Values) (outputs.Output, error) { return newOutput(w, formats, v) },
	}
}

type output struct {
	w       io.Writer
	formats []Format
}

func newOutput(w io.Writer, known []Format, v outputs.Values) (outputs.Output, error) {
	if on, err := strconv.ParseBool(v.String("enabled")); err != nil || !on {
		return nil, fmt.Errorf("%s: %q is not true", v.Name("enabled"), v.String("enabled"))
	}
	o := &output{w: w}
	for name := range strings.SplitSeq(v.String("format"), ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(known, func(f Format) bool { return f.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("%s: unknown format %q", v.Name("format"), name)
		}
		o.formats = append(o.formats, known[i])
	}
	return o, nil
}

// Deliver implements outputs.Output. All of a batch goes out in one write, so
// that lines of other writers do not fall in between.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	if err := ctx.Err(); err != nil {
		return &outputs.Error{Class: outputs.Transient, Err: fmt.Errorf("write events: %w", err)}
	}
	var b bytes.Buffer
	var refused []int
	var cause error
	for i := range batch {
		if err := o.render(&b, &batch[i]); err != nil {
			refused, cause = append(refused, i), err
		}
	}
	// A write cannot be called off; a reader that stands still holds it up.
	if _, err := o.w.Write(b.Bytes()); err != nil {
		return &outputs.Error{Class: outputs.Transient, Err: fmt.Errorf("write events: %w", err)}
	}
	if cause != nil {
		return &outputs.Error{Class: outputs.Permanent, Failed: refused, Err: fmt.Errorf("render event: %w", cause)}
	}
	return nil
}

func (o *output) render(b *bytes.Buffer, e *schema.Event) error {
	var errs []error
	for _, f := range o.formats {
		text, err := f.Render(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("as %s: %w", f.Name, err))
			continue
		}
		b.Write(text)
		b.WriteByte('\n')
	}
	return errors.Join(errs...)
}

// camel writes a Falco event, which has one spelling only, as Falco does.
func camel(e *schema.Event) ([]byte, error) {
	switch {
	case e.Alert != nil:
		return e.Alert.CamelJSON()
	case e.Log != nil:
		return e.Log.CamelJSON()
	}
	return e.Body()
}
