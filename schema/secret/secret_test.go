package secret

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const hidden = "https://hooks.example.org/T000/B000/XXXX"

// holder has the secret in every place where formatting finds it by another way.
type holder struct {
	Exported   String
	unexported String
	pointer    *String
	list       []String
	byName     map[string]String
	byKey      map[String]int
	boxed      any
}

func newHolder() holder {
	s := New(hidden)
	return holder{
		Exported: s, unexported: s, pointer: &s, list: []String{s},
		byName: map[string]String{"a": s}, byKey: map[String]int{s: 1}, boxed: s,
	}
}

func check(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range []string{hidden, "hooks.example", fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("%v", []byte(hidden))} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestFmtHides(t *testing.T) {
	s, h := New(hidden), newHolder()
	for _, flags := range []string{"", "+", "#", " ", "0", "-", "200", ".100", "+#", "# ", "[1]"} {
		for verb := rune('A'); verb <= 'z'; verb++ {
			if verb > 'Z' && verb < 'a' {
				continue
			}
			format := "%" + flags + string(verb)
			for _, v := range []any{s, &s, h, &h, []String{s}, map[String]String{s: s}, [1]any{s}} {
				check(t, fmt.Sprintf("%s of %T", format, v), fmt.Sprintf(format, v))
			}
		}
	}
	if got := fmt.Sprintf("%v|%+v|%#v|%s|%q|%x|%d", s, s, s, s, s, s, s); got != strings.Repeat("***|", 6)+"***" {
		t.Errorf("formatted as %s", got)
	}
	check(t, "Errorf", fmt.Errorf("posting to %v: %w", s, errors.New("no route")).Error())
	check(t, "Sprint", fmt.Sprint(s, h)+fmt.Sprintln(&s, &h))
}

func TestEncodersHide(t *testing.T) {
	s := New(hidden)
	in := map[string]any{"value": s, "pointer": &s, "list": []String{s}}
	for name, encode := range map[string]func(any) ([]byte, error){"json": json.Marshal, "yaml": yaml.Marshal} {
		text, err := encode(in)
		if err != nil {
			t.Fatal(err)
		}
		check(t, name, string(text))
		if n := strings.Count(string(text), mask); n != 3 {
			t.Errorf("%s shows %d masks: %s", name, n, text)
		}
	}
	if text, err := json.Marshal(newHolder()); err != nil || string(text) != `{"Exported":"***"}` {
		t.Errorf("json of a struct: %s, %v", text, err)
	}
	if text, err := json.Marshal(map[String]int{s: 1}); err != nil || string(text) != `{"***":1}` {
		t.Errorf("json of a key: %s, %v", text, err)
	}
	text, err := xml.Marshal([]String{s})
	if err != nil {
		t.Fatal(err)
	}
	check(t, "xml", string(text))
}

func TestSlogHides(t *testing.T) {
	var out bytes.Buffer
	s, h := New(hidden), newHolder()
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).With("with", s).Info("m", "secret", s, "pointer", &s, "holder", h, slog.Group("g", "in", s), "list", []String{s})
	}
	check(t, "slog", out.String())
	if !strings.Contains(out.String(), "secret=***") || !strings.Contains(out.String(), `"secret":"***"`) {
		t.Errorf("logged as %s", out.String())
	}
}

func TestReveal(t *testing.T) {
	s := New(hidden)
	if s.Reveal() != hidden || s.IsZero() {
		t.Errorf("revealed %q, zero %v", s.Reveal(), s.IsZero())
	}
	for _, zero := range []String{{}, New("")} {
		if zero.Reveal() != "" || !zero.IsZero() || fmt.Sprint(zero) != "" {
			t.Errorf("zero: %q, %v, %q", zero.Reveal(), zero.IsZero(), fmt.Sprint(zero))
		}
	}
}
