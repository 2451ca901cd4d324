package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
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
	body = bytes.TrimSpace(body)
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
	var items [][]byte
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
	for dec.More() {
		if len(items) == MaxEvents {
			return nil, errTooManyEvents
		}
		var item json.RawMessage
		if err := dec.Decode(&item); err != nil {
			return nil, itemError{at: len(items), err: err}
		}
		items = append(items, item)
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

// itemError is an error in the event with that index.
type itemError struct {
	at  int
	err error
}

func (e itemError) Error() string { return e.err.Error() }
func (e itemError) Unwrap() error { return e.err }
