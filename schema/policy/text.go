package policy

import (
	"bytes"
	"io"
	"strings"
)

// Text is one policy as its author wrote it.
type Text struct {
	File string `json:"file"` // stands for where it is from in what is said of it
	Line int    `json:"line"` // of the file, from 1, where Body begins
	Body string `json:"body"` // YAML or JSON
}

// Parse reads the text, as the function Parse or ParseStrict: what is wrong is
// named by the line of the file. A list is wrong: a Text is one policy.
func (t Text) Parse(strict bool) ([]Document, error) {
	return parse(&reader{file: t.File, before: max(t.Line-1, 0), strict: strict, single: true}, strings.NewReader(t.Body))
}

// Split takes a file apart into its documents: what stands between separators,
// even if it is no policy. The error is of one that is too large or not UTF-8.
func Split(name string, in io.Reader) ([]Text, error) {
	r := &reader{file: name}
	data, err := r.text8(in)
	if err != nil {
		return nil, err
	}
	var all []Text
	begin, line, first := 0, 1, 1 // where a document begins, in bytes and lines
	cut := func(end, next int) {
		if part := data[begin:end]; !blank(part) {
			all = append(all, Text{File: name, Line: first, Body: string(part)})
		}
		begin, first = next, line
	}
	for at := 0; at < len(data); line++ {
		end := at + len(lineOfBytes(data[at:]))
		switch marker := data[at:end]; {
		case isMarker(marker, "---") && !onlyDirectives(data[begin:at]):
			cut(at, at)
		case isMarker(marker, "..."):
			line++
			cut(at, end)
			line--
		}
		at = end
	}
	cut(len(data), len(data))
	return all, nil
}

// lineOfBytes is the first line, with its end.
func lineOfBytes(data []byte) []byte {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return data[:i+1]
	}
	return data
}

// isMarker says whether a line begins with a marker of YAML: alone, or before a space.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// blank says whether there is nothing but spaces and comments.
func blank(part []byte) bool {
	if first := lineOfBytes(part); isMarker(first, "---") {
		part = part[len("---"):]
	}
	return only(part, "#")
}

// onlyDirectives says whether there are directives, which belong to the document
// behind the separator, and beside them nothing but spaces and comments.
func onlyDirectives(part []byte) bool {
	return only(part, "#%") && bytes.HasPrefix(bytes.TrimLeft(part, "\ufeff \t\r\n"), []byte("%"))
}

// only says whether every line is empty or begins with one of some characters.
func only(part []byte, characters string) bool {
	for line := range bytes.Lines(part) {
		text := bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
		if len(text) > 0 && strings.IndexByte(characters, text[0]) < 0 {
			return false
		}
	}
	return true
}
