package cloudwatch

import (
	"bytes"
	"encoding/json"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
)

// shrink makes a JSON text no longer than limit bytes and keeps it JSON, since
// CloudWatch Logs finds fields only in JSON. Long strings are cut first, the
// rest stays as it is; a text that is long without long strings is cut as a
// whole and becomes a string itself.
func shrink(body []byte, limit int) []byte {
	if len(body) <= limit {
		return body
	}
	for _, longest := range []int{512 << 10, 128 << 10, 32 << 10, 8 << 10, 2 << 10, 512} {
		if short, ok := shorten(body, longest); ok && len(short) <= limit {
			return short
		}
	}
	const head = `{"truncated":`
	for keep := limit - len(head) - 1; ; keep = keep * 2 / 3 {
		text, err := json.Marshal(clip.Bytes(string(body[:min(keep, len(body))])+clip.Ellipsis, keep))
		if err == nil && len(head)+len(text)+1 <= limit {
			return append(append([]byte(head), text...), '}')
		}
	}
}

// shorten copies JSON and cuts the strings in it that are longer than longest
// bytes; keys as well. Everything else is copied byte for byte.
func shorten(body []byte, longest int) ([]byte, bool) {
	var out bytes.Buffer
	for i := 0; i < len(body); {
		if body[i] != '"' {
			out.WriteByte(body[i])
			i++
			continue
		}
		end := stringEnd(body, i)
		literal := body[i:end]
		i = end
		if len(literal) <= longest {
			out.Write(literal)
			continue
		}
		var s string
		if json.Unmarshal(literal, &s) != nil {
			return nil, false
		}
		short, err := json.Marshal(clip.Bytes(s, longest))
		if err != nil {
			return nil, false
		}
		out.Write(short)
	}
	return out.Bytes(), true
}

// stringEnd is the index behind the string literal that begins at start.
func stringEnd(body []byte, start int) int {
	for i := start + 1; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(body)
}
