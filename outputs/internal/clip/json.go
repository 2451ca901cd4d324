package clip

import (
	"bytes"
	"encoding/json"
)

// leastString is the shortest that JSON cuts strings to, in bytes.
const leastString = 32

// JSON cuts a JSON text to at most limit bytes and keeps it JSON: its long
// strings are cut, the longest first, keys as well; the rest stays as it is, byte
// for byte. A text that is long without long strings becomes {"truncated": the
// beginning of it}. limit is at least 40.
func JSON(body []byte, limit int) []byte {
	if len(body) <= limit {
		return body
	}
	for longest := limit / 2; longest >= leastString; longest /= 2 {
		// What is cut once is cut further, so that only the first round is long.
		short, ok := shorten(body, longest)
		if !ok {
			break
		}
		if body = short; len(body) <= limit {
			return body
		}
	}
	const head, tail = `{"truncated":`, `}`
	for keep := limit - len(head) - len(tail); ; keep = keep * 2 / 3 {
		text, err := json.Marshal(Bytes(string(body[:min(len(body), keep)])+Ellipsis, keep))
		if err == nil && len(head)+len(text)+len(tail) <= limit {
			return append(append([]byte(head), text...), tail...)
		}
	}
}

// shorten copies JSON and cuts the strings in it whose literals are longer than
// longest bytes. Not ok: body is no JSON.
func shorten(body []byte, longest int) (short []byte, ok bool) {
	var out bytes.Buffer
	for i := 0; i < len(body); {
		quote := bytes.IndexByte(body[i:], '"')
		if quote < 0 {
			out.Write(body[i:])
			break
		}
		out.Write(body[i : i+quote])
		i += quote
		end := stringEnd(body, i)
		literal := body[i:end]
		i = end
		if len(literal) > longest {
			var s string
			if json.Unmarshal(literal, &s) != nil {
				return nil, false
			}
			cut, err := json.Marshal(Bytes(s, longest))
			if err != nil {
				return nil, false
			}
			literal = cut
		}
		out.Write(literal)
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
