package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
)

var (
	errNoEvent       = errors.New("body has no event")
	errTooManyEvents = errors.New("body has too many events")
)

// split cuts a body into its events without looking into them: the elements of a
// JSON array, the lines of NDJSON, or all of it. Lines are told from one event
// that is written over several lines by the content type, or else by the first
// line: it is JSON by itself or not.
func split(contentType string, body []byte) ([][]byte, error) {
	if encoding := notUTF8(body); encoding != "" {
		return nil, fmt.Errorf("body is %s, it must be UTF-8", encoding)
	}
	// Some editors begin a file so (RFC 8259, §8.1: a parser may ignore it).
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	switch {
	case len(body) == 0:
		return nil, errNoEvent
	case isLines(contentType):
		return lines(body)
	case body[0] == '[':
		return elements(body)
	}
	if first, _, several := bytes.Cut(body, []byte("\n")); several && json.Valid(first) {
		return lines(body)
	}
	return [][]byte{body}, nil
}

// notUTF8 names the encoding of a body that says by its first bytes that it has
// another: by a byte order mark, or since JSON begins with two ASCII characters.
func notUTF8(body []byte) string {
	if len(body) < 2 {
		return ""
	}
	switch first, second := body[0], body[1]; {
	case first == 0xff && second == 0xfe, first == 0xfe && second == 0xff,
		first == 0 && second != 0, first != 0 && second == 0:
		return "UTF-16 or UTF-32"
	case first == 0 && len(body) >= 4 && body[2] == 0xfe && body[3] == 0xff:
		return "UTF-16 or UTF-32"
	}
	return ""
}

func isLines(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	switch strings.TrimPrefix(kind, "application/") {
	case "x-ndjson", "ndjson", "jsonl", "x-jsonl", "jsonlines", "x-jsonlines":
		return true
	}
	return false
}

func lines(body []byte) ([][]byte, error) {
	items := make([][]byte, 0, min(bytes.Count(body, []byte("\n"))+1, MaxEvents))
	for line := range bytes.SplitSeq(body, []byte("\n")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(items) == MaxEvents {
			return nil, errTooManyEvents
		}
		items = append(items, line)
	}
	return items, nil
}

// elements cuts an array. An error in its syntax concerns all of it: where the
// next element would begin is not to be known.
func elements(body []byte) ([][]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var items [][]byte
	var item json.RawMessage // one for all: only its length counts
	for dec.More() {
		if len(items) == MaxEvents {
			return nil, errTooManyEvents
		}
		if err := dec.Decode(&item); err != nil {
			return nil, itemError{at: len(items), err: err}
		}
		end := dec.InputOffset()
		items = append(items, body[end-int64(len(item)):end])
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(body[dec.InputOffset():]); len(rest) > 0 {
		return nil, errors.New("text after the array")
	}
	if len(items) == 0 {
		return nil, errNoEvent
	}
	return items, nil
}

// mostItems bounds the number of items without a look at the syntax.
func mostItems(contentType string, body []byte) int {
	separator := []byte("\n")
	if !isLines(contentType) && bytes.HasPrefix(bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff"))), []byte("[")) {
		separator = []byte(",")
	}
	return min(bytes.Count(body, separator)+1, MaxEvents)
}

// itemError is an error in the event with that index.
type itemError struct {
	at  int
	err error
}

func (e itemError) Error() string { return e.err.Error() }
func (e itemError) Unwrap() error { return e.err }
