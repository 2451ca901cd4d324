package cloudwatch

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

func TestSplitByCount(t *testing.T) {
	entries := make([]entry, 2*maxRequestEvents+1)
	requests := split(entries)
	if len(requests) != 3 || len(requests[0]) != maxRequestEvents || len(requests[2]) != 1 {
		t.Errorf("%d requests", len(requests))
	}
	if len(split(nil)) != 0 {
		t.Error("nothing becomes a request")
	}
}

// TestSplitToTheByte: a request may be as long as the limit, not one byte more.
func TestSplitToTheByte(t *testing.T) {
	half := strings.Repeat("x", maxRequestBytes/2-eventOverhead)
	if n := len(split([]entry{{message: half}, {message: half}})); n != 1 {
		t.Errorf("%d requests for exactly the limit", n)
	}
	if n := len(split([]entry{{message: half}, {message: half + "x"}})); n != 2 {
		t.Errorf("%d requests for one byte more", n)
	}
	if n := len(split([]entry{{message: strings.Repeat("x", maxMessage)}})); n != 1 {
		t.Errorf("%d requests for the largest event", n)
	}
}

func TestShrink(t *testing.T) {
	many := `{"k":[` + strings.Repeat(`"é",`, 3000) + `"x"]}`
	for name, tt := range map[string]struct{ in, want string }{
		"short":                {`{"a":"b"}`, `{"a":"b"}`},
		"long string":          {`{"a":1,"b":"` + strings.Repeat("é", 3000) + `","c":"\u003cx"}`, `{"a":1,"b":"` + strings.Repeat("é", 254) + `…","c":"\u003cx"}`},
		"quotes and slashes":   {`{"a":"` + strings.Repeat(`\"\\`, 3000) + `"}`, ""},
		"long key":             {`{"` + strings.Repeat("k", 5000) + `":2}`, ""},
		"long in short pieces": {many, ""},
		"not JSON":             {strings.Repeat("\xff<", 3000), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := shrink([]byte(tt.in), 1000)
			if len(got) > 1000 || !json.Valid(got) {
				t.Errorf("%d bytes: %s", len(got), got)
			}
			if tt.want != "" && string(got) != tt.want {
				t.Errorf("got %s", got)
			}
			if len(tt.in) > 1000 && !bytes.Contains(got, []byte("…")) {
				t.Errorf("the cut does not show: %s", got)
			}
		})
	}
}

func FuzzShrink(f *testing.F) {
	f.Add([]byte(`{"a":"b\"c","d":[1,"e"]}`), 10)
	f.Add([]byte(`"\\"`), 30)
	f.Fuzz(func(t *testing.T, body []byte, limit int) {
		if limit < 40 || limit > 4000 {
			t.Skip()
		}
		got := shrink(body, limit)
		if len(got) > limit {
			t.Fatalf("%d bytes, the limit is %d", len(got), limit)
		}
		if json.Valid(body) && !json.Valid(got) {
			t.Fatalf("not JSON any more: %q", got)
		}
	})
}
