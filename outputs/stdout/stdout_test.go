package stdout

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, Kind()) }

func write(t *testing.T, format string, batch ...schema.Event) string {
	t.Helper()
	var b bytes.Buffer
	o := outputtest.New(t, kind(&b, nil), outputtest.Settings{"enabled": "true", "format": format})
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"text", "kubearmor", "camel", "ocsf"} {
		t.Run(format, func(t *testing.T) {
			var all []schema.Event
			for _, c := range outputtest.Cases() {
				all = append(all, c.Event)
			}
			outputtest.Golden(t, format+".txt", []byte(write(t, format, all...)))
		})
	}
}

// TestOneLineEach: whatever an event holds, it is one line, and the line has
// no control characters. The event itself stays as it is.
func TestOneLineEach(t *testing.T) {
	twins := append(outputtest.Cases(), outputtest.Oversized()...)
	for i, c := range append(outputtest.Cases(), outputtest.Oversized()...) {
		for _, format := range []string{"text", "json", "camel", "ocsf"} {
			t.Run(format+"/"+c.Name, func(t *testing.T) {
				got := write(t, format, c.Event)
				if body, ended := strings.CutSuffix(got, "\n"); !ended || strings.ContainsAny(body, "\n\r\x00\x1b") {
					t.Errorf("not one clean line: %.300q", got)
				}
				if format == "text" && len(got) > 10000 {
					t.Errorf("a line of %d bytes", len(got))
				}
				if !reflect.DeepEqual(c.Event, twins[i].Event) {
					t.Error("the event was changed")
				}
			})
		}
	}
}

func TestSeveralFormats(t *testing.T) {
	var b bytes.Buffer
	k := kind(&b, []Format{{"loud", "in capitals", func(e *schema.Event) ([]byte, error) { return []byte("EVENT " + e.ID), nil }}})
	o := outputtest.New(t, k, outputtest.Settings{"enabled": "1", "format": "loud, json"})
	if err := o.Deliver(t.Context(), []schema.Event{outputtest.Log(), outputtest.Falco()}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if len(lines) != 5 || lines[0] != "EVENT l-1" || lines[2] != "EVENT f-1" || !strings.HasPrefix(lines[1], "{") {
		t.Errorf("got %q", b.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestFailures(t *testing.T) {
	batch := []schema.Event{outputtest.Log(), outputtest.Falco(), outputtest.Log()}
	on := outputtest.Settings{"enabled": "true"}
	err := outputtest.New(t, kind(brokenWriter{}, nil), on).Deliver(t.Context(), batch)
	if e, ok := errors.AsType[*outputs.Error](err); !ok || e.Class != outputs.Transient {
		t.Errorf("broken writer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	err = outputtest.New(t, kind(&b, nil), on).Deliver(ctx, batch)
	if !errors.Is(err, context.Canceled) || b.Len() != 0 {
		t.Errorf("cancelled: %v, %d bytes", err, b.Len())
	}
	picky := Format{"picky", "no Falco", func(e *schema.Event) ([]byte, error) {
		if e.Falco != nil {
			return nil, errors.New("no")
		}
		return []byte("ok"), nil
	}}
	err = outputtest.New(t, kind(&b, []Format{picky}), outputtest.Settings{"enabled": "true", "format": "picky"}).Deliver(t.Context(), batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent || !reflect.DeepEqual(e.Failed, []int{1}) || b.String() != "ok\nok\n" {
		t.Errorf("one refused: %#v, wrote %q", err, b.String())
	}
}

func TestRefusedSettings(t *testing.T) {
	for want, settings := range map[string]outputtest.Settings{
		"STDOUT_ENABLED": {"enabled": "yes please"},
		"STDOUT_FORMAT":  {"enabled": "true", "format": "json,xml"},
	} {
		k := Kind()
		if _, err := k.New(outputtest.Values(t, k, settings)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error that names %s", err, want)
		}
	}
}
