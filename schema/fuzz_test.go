package schema

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func FuzzDecode(f *testing.F) {
	for _, dir := range []string{"pascal", "camel", "falco"} {
		for _, body := range samples(f, dir) {
			f.Add(body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		kind, classifyErr := Classify(body)
		e, err := Decode(body)
		var packer Packer
		for range 2 { // the second time it expects the keys
			packs(t, &packer, body, e, err)
		}
		if err != nil {
			var fe *FieldError
			if !errors.As(err, &fe) || fe.Reason == "" {
				t.Fatalf("error %#v", err)
			}
			return
		}
		if kind != e.Kind || classifyErr != nil {
			t.Fatalf("decoded as %s, classified as %q, %v", e.Kind, kind, classifyErr)
		}
		if !json.Valid(body) {
			t.Fatalf("took what is not JSON: %q", body)
		}
		normalise(&e)

		// By way of the store nothing is lost.
		text, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > MaxEnvelopeBytes {
			t.Fatalf("an envelope of %d bytes", len(text))
		}
		var stored Event
		if err := json.Unmarshal(text, &stored); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, stored, cmpopts.IgnoreUnexported(Event{})); diff != "" {
			t.Fatalf("changed in store:\n%s", diff)
		}

		// By way of the wire only the field that PascalCase does not have is.
		e.Record().OID = 0
		e.Clip()
		body, err = e.Body()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(body)
		if err != nil {
			t.Fatalf("refused its own %s: %v", body, err)
		}
		if diff := cmp.Diff(e, back, cmpopts.IgnoreUnexported(Event{})); diff != "" {
			t.Fatalf("changed on the wire:\n%s", diff)
		}
		e.ToFalco()
		e.Blocked()
	})
}

// packs sees that a Packer takes what Decode takes, with the same error, and that
// what it makes is read as the same event, before the store and after it.
func packs(t *testing.T, packer *Packer, body []byte, want Event, wantErr error) {
	t.Helper()
	p, err := packer.Pack(body)
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("packed with error %v, decoded with %v", err, wantErr)
	}
	if err != nil {
		return
	}
	direct, err := p.Event()
	if err != nil {
		t.Fatal(err)
	}
	normalise(&want)
	normalise(&direct)
	if diff := cmp.Diff(want, direct, cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Fatalf("changed by packing:\n%s", diff)
	}
	text, err := p.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > MaxEnvelopeBytes || !json.Valid(text) {
		t.Fatalf("an envelope of %d bytes: %.1000q", len(text), text)
	}
	var stored Event
	if err := stored.UnmarshalJSON(text); err != nil {
		t.Fatal(err)
	}
	normalise(&stored)
	if diff := cmp.Diff(want, stored, cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Fatalf("packed and changed in store:\n%s", diff)
	}
	action := ""
	if want.Alert != nil {
		action = want.Alert.Action
	}
	if p.Kind != want.Kind || p.Action != action || p.Operation != want.Record().Operation {
		t.Fatalf("packed as %+v", p)
	}
}

// normalise makes one of an empty list and none, which PascalCase omits alike.
func normalise(e *Event) {
	if e.Alert != nil && len(e.Alert.ATags) == 0 {
		e.Alert.ATags = nil
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, body := range samples(b, "pascal") {
		if name != "alert-process" && name != "log-process" {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	for name, body := range samples(b, "pascal") {
		if name != "alert-process" && name != "log-process" {
			continue
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			var p Packer
			for b.Loop() {
				if _, err := p.Pack(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	body := samples(b, "pascal")["alert-process"]
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Classify(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	e := decode(b, samples(b, "pascal")["alert-process"])
	b.Run("Body", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Body(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Envelope", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.MarshalJSON(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("FromEnvelope", func(b *testing.B) {
		text, err := json.Marshal(e)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			var back Event
			if err := back.UnmarshalJSON(text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Clip", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			e.Clip()
		}
	})
}

// Whoever decodes first and classifies what cannot be decoded gets the same.
func FuzzDecodeClassifies(f *testing.F) {
	for _, body := range []string{
		`{"Type":"MatchedPolicy","Operation":"File","PolicyName":"p","Action":"Block"}`,
		`{"type":"ContainerLog","operation":"Process"}`,
		`{"Type":"MatchedPolicy","Operation":"File","rule":"r"}`,
		`{"Type":"MatchedPolicy","Operation":"File","Rule":"r","OUTPUT_FIELDS":{}}`,
		`{"rule":"r","output_fields":{"Type":1}}`,
		`{"Type":"x","Operation":"y","Type":"z"}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		if err != nil {
			return
		}
		if kind, err := Classify(body); err != nil || kind != e.Kind {
			t.Errorf("%s is decoded as %s, but classified as %q, %v", body, e.Kind, kind, err)
		}
	})
}
