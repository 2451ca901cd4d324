package schema

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// form fills the struct of a JSON form from the fields of the same names.
func form(into any, from reflect.Value) any {
	v := reflect.ValueOf(into).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		f.Set(from.FieldByName(v.Type().Field(i).Name).Convert(f.Type()))
	}
	return into
}

// text makes strings of all that JSON has an opinion about, and often the same.
func randomText(r *rand.Rand) string {
	parts := []string{"", "", "/usr/bin/cat", "a b", "\"", "\\", "<&>", "\x00\n\x7f", "é", "\u2028", "\xff", "\xed\xa0\x80", "😀", "x=y"}
	s := parts[r.IntN(len(parts))]
	for r.IntN(4) == 0 {
		s += parts[r.IntN(len(parts))]
	}
	return s
}

func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.IntN(3)*r.IntN(1<<20) - r.IntN(2)))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(r, v.Field(i))
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		for range r.IntN(4) {
			v.Set(reflect.Append(v, reflect.ValueOf(randomText(r))))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(12) {
			v.SetMapIndex(reflect.ValueOf(randomText(r)), reflect.ValueOf(randomText(r)))
		}
	default:
		panic(v.Kind())
	}
}

// TestEncoder holds the encoder to what encoding/json writes, for one encoder
// that remembers the events before and for one that remembers nothing.
func TestEncoder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that repeats itself
	var remembers Encoder
	var a Alert
	for i := range 3000 {
		v := reflect.ValueOf(&a).Elem()
		if i%3 == 0 {
			a = Alert{}
			fill(r, v)
		} else { // little changes
			fill(r, v.FieldByName([]string{"Cwd", "Resource", "Source", "PodName", "EventData", "UID", "ExecEvent", "Tags"}[r.IntN(8)]))
		}
		for _, c := range []struct {
			ev   Event
			form any
		}{
			{Event{Kind: KindAlert, Alert: &a}, form(new(alertJSON), v)},
			{Event{Kind: KindLog, Log: &Log{a.Record}}, form(new(logJSON), v)},
		} {
			want, err := json.Marshal(c.form)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range []*Encoder{nil, &remembers} {
				got, err := e.Append([]byte("before "), &c.ev)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff("before "+string(want), string(got)); diff != "" {
					t.Fatalf("%s differs (-want +got):\n%s", c.ev.Kind, diff)
				}
			}
		}
	}
	if _, err := remembers.Append(nil, &Event{Kind: KindLog}); err == nil {
		t.Error("an event without its content was encoded")
	}
}

func BenchmarkEncoder(b *testing.B) {
	for _, name := range []string{"alert-process", "log-process"} {
		ev := decode(b, samples(b, "pascal")[name])
		b.Run(name, func(b *testing.B) {
			var e Encoder
			var text []byte
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ev.Record().Resource = fmt.Sprint("/usr/lib/", i%1000)
				text, _ = e.Append(text[:0], &ev)
			}
		})
	}
}
