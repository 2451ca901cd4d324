package policystream

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/schema/policy"
)

func some(n int) Policy {
	return Policy{Text: policy.Text{File: "f", Line: n, Body: fmt.Sprintf("policy %d", n)}, Mode: policy.Mode(n % 3)}
}

// What is read at one end is what was said at the other, whatever changes.
func TestStream(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	var e Encoder
	var d Decoder
	for g := range uint64(300) {
		s := State{Instance: "i", Generation: g + 1, Sources: []Source{}}
		for n := range random.IntN(4) {
			source := Source{Name: fmt.Sprint("s", n), Pending: random.IntN(4) == 0}
			for range random.IntN(6) {
				source.Policies = append(source.Policies, some(random.IntN(10)))
			}
			if random.IntN(2) == 0 {
				source.Namespaces = map[string]policy.Settings{"n": {Mode: "audited"}}
			}
			s.Sources = append(s.Sources, source)
		}
		text, err := e.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(text)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("said\n%+v\nread\n%+v\n%v", s, got, err)
		}
	}
}

func TestAPolicyIsSentOnce(t *testing.T) {
	var e Encoder
	state := func(g uint64, policies ...Policy) State {
		return State{Instance: "i", Generation: g, Sources: []Source{{Name: "s", Policies: policies}}}
	}
	if text, err := e.Encode(state(1, some(1), some(2))); err != nil || strings.Count(string(text), "policy ") != 2 {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := e.Encode(state(2, some(2), some(3))); err != nil || strings.Count(string(text), "policy ") != 1 {
		t.Errorf("%s, %v", text, err)
	}
	if text, err := e.Encode(state(3, some(1))); err != nil || strings.Count(string(text), "policy ") != 1 {
		t.Errorf("what was taken away must be sent again: %s, %v", text, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "x",
		"no instance":     `{"generation":1}`,
		"no generation":   `{"instance":"i"}`,
		"an unknown one":  `{"instance":"i","generation":1,"sources":[{"name":"s","policies":["0"]}]}`,
		"another's shape": `{"instance":"i","generation":1,"sources":{}}`,
	} {
		if s, err := new(Decoder).Decode([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func FuzzDecode(f *testing.F) {
	var e Encoder
	text, err := e.Encode(State{Instance: "i", Generation: 1, Sources: []Source{{Name: "s", Policies: []Policy{some(1)}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := new(Decoder).Decode(text)
		if err != nil {
			return
		}
		again, err := new(Encoder).Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(Decoder).Decode(again); err != nil || len(got.Sources) != len(s.Sources) {
			t.Errorf("%+v becomes %+v, %v", s, got, err)
		}
	})
}

func TestProof(t *testing.T) {
	keys := []Key{KeyOf("a"), KeyOf("b")}
	nonce := NewNonce()
	if err := CheckNonce(nonce); err != nil {
		t.Error(err)
	}
	a := Answers(keys, nonce, "127.0.0.1:1")
	for token, want := range map[string]bool{"a": true, "b": true, "c": false, "": false} {
		if a.By(token, nonce) != want {
			t.Errorf("token %q: %v", token, !want)
		}
	}
	if a.By("a", NewNonce()) {
		t.Error("a proof is taken for another question")
	}
	moved := a
	moved.At = "127.0.0.1:2"
	if moved.By("a", nonce) {
		t.Error("a proof is taken for another address")
	}
	if NewNonce() == nonce {
		t.Error("the same nonce again")
	}
	for _, bad := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("x", 64), strings.Repeat("0", 66)} {
		if CheckNonce(bad) == nil {
			t.Errorf("nonce %q is taken", bad)
		}
	}
}
