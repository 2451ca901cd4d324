package slack

import "github.com/sidearmor/sidearmor/outputs/internal/clip"

// entity escapes Slack's three control characters, so that foreign text cannot
// mention or link (https://docs.slack.dev/messaging/formatting-message-text).
func entity(r rune) string {
	switch r {
	case '&':
		return "&amp;"
	case '<':
		return "&lt;"
	case '>':
		return "&gt;"
	}
	return string(r)
}

// inCode is entity for text between backticks, which it must not end.
func inCode(r rune) string {
	if r == '`' {
		return "ˋ"
	}
	return entity(r)
}

func line(s string, limit int) string  { return clip.Line(s, limit, entity) }
func lines(s string, limit int) string { return clip.Lines(s, limit, entity) }

// code shows s between backticks, in at most limit characters.
func code(s string, limit int) string {
	if s == "" {
		return ""
	}
	return "`" + clip.Line(s, limit-2, inCode) + "`"
}
