// Package secret holds a string that never prints: a token, a webhook's URL. It
// does not encrypt, and does not clear memory.
package secret

import (
	"fmt"
	"log/slog"
)

const mask = "***"

// String is a secret. Its zero value is no secret. Whatever formats it, even as
// an unexported field of something else, shows a mask or an address: the text is
// behind a pointer, because fmt reads unexported fields without asking their
// methods, but follows no pointer inside of them.
type String struct{ text *string }

// New makes a secret of text; "" gives the zero value.
func New(text string) String {
	if text == "" {
		return String{}
	}
	return String{text: &text}
}

// Reveal gives the text, for the one place that needs it.
func (s String) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether there is no secret.
func (s String) IsZero() bool { return s.text == nil }

// Format writes the mask for every verb, or nothing for the zero value.
func (s String) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String gives the mask, or "" for the zero value.
func (s String) String() string {
	if s.text == nil {
		return ""
	}
	return mask
}

// GoString gives what String gives.
func (s String) GoString() string { return s.String() }

// LogValue gives what String gives.
func (s String) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText gives what String gives, to JSON, XML and map keys too.
func (s String) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML gives what String gives.
func (s String) MarshalYAML() (any, error) { return s.String(), nil }
