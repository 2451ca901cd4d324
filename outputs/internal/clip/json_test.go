package clip_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
)

func TestJSON(t *testing.T) {
	long, quotes := strings.Repeat("é", 500), strings.Repeat(`\"`, 500)
	for _, tt := range []struct {
		name, body string
		limit      int
		want       string // "" for anything
	}{
		{"fits", `{"a":"b"}`, 64, `{"a":"b"}`},
		{"one long string", `{"a": 1.50, "b":"` + long + `"}`, 100, `{"a": 1.50, "b":"` + strings.Repeat("é", 23) + `…"}`},
		{"escapes", `{"b":"` + quotes + `","c":"d"}`, 200, ""},
		{"long key", `{"` + long + `":1}`, 100, `{"` + strings.Repeat("é", 23) + `…":1}`},
		{"many strings", `["` + strings.Repeat(`a","`, 100) + `"]`, 80, ""},
		{"many numbers", `[` + strings.Repeat("1,", 100) + `1]`, 64, ""},
		{"between others", `{"a":1,"b":"` + strings.Repeat("é", 3000) + `","c":"\u003cx"}`, 1000, `{"a":1,"b":"` + strings.Repeat("é", 248) + `…","c":"\u003cx"}`},
		{"quotes and slashes", `{"a":"` + strings.Repeat(`\"\\`, 3000) + `"}`, 1000, ""},
		{"longer key", `{"` + strings.Repeat("k", 5000) + `":2}`, 1000, ""},
		{"short pieces", `{"k":[` + strings.Repeat(`"é",`, 3000) + `"x"]}`, 1000, ""},
		{"not JSON", strings.Repeat("\xff<", 3000), 1000, ""},
	} {
		got := clip.JSON([]byte(tt.body), tt.limit)
		if len(got) > tt.limit || !json.Valid(got) {
			t.Errorf("%s: %d bytes: %s", tt.name, len(got), got)
		}
		if len(tt.body) > tt.limit && !strings.Contains(string(got), clip.Ellipsis) {
			t.Errorf("%s: the cut does not show: %s", tt.name, got)
		}
		if tt.want != "" && string(got) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"a":["b\"c",1,null,"`+strings.Repeat("x", 200)+`"]}`), uint16(64))
	f.Add([]byte(`"\ud800`), uint16(100))
	f.Add([]byte(`{"a":"b\"c","d":[1,"e"]}`), uint16(10))
	f.Add([]byte(`"\\"`), uint16(30))
	f.Fuzz(func(t *testing.T, body []byte, limit uint16) {
		at := max(int(limit), 40)
		got := clip.JSON(body, at)
		if len(got) > at {
			t.Errorf("%d bytes, limit %d", len(got), at)
		}
		if json.Valid(body) && !json.Valid(got) {
			t.Errorf("no JSON any more: %q", got)
		}
	})
}
