package config

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

const (
	defaultLogLevel  = "info"
	defaultLogFormat = "json"
)

// Log says what is logged, and how.
type Log struct {
	Level slog.Level
	Text  bool // key=value for people, not JSON
}

func logSettings() []setting {
	return []setting{
		{path: "debug", byDefault: "false", usage: "true is the same as LOG_LEVEL=debug"},
		{path: "log.level", byDefault: defaultLogLevel, usage: "debug, info, warn or error"},
		{path: "log.format", byDefault: defaultLogFormat, usage: "json or text"},
	}
}

// Logging gives how to log before all else is known: what is wrong with the settings
// is itself logged. What is wrong here counts as not given, since Load says it.
func Logging(in Input) Log {
	l, err := newLoader(in)
	if err != nil {
		in.File = ""
		if l, err = newLoader(in); err != nil {
			return Log{}
		}
	}
	return l.log()
}

func (l *loader) log() Log {
	var n Log
	debug := l.debug()
	if debug {
		l.debugWins()
	}
	level := l.get(setting{path: "log.level"})
	switch strings.ToLower(level.text) {
	case "", "info":
	case "debug":
		n.Level = slog.LevelDebug
	case "warn":
		n.Level = slog.LevelWarn
	case "error":
		n.Level = slog.LevelError
	default:
		l.problem("%s: %q is not a level, use debug, info, warn or error", level.name, level.text)
	}
	if debug {
		n.Level = slog.LevelDebug
	}
	format := l.get(setting{path: "log.format"})
	switch strings.ToLower(format.text) {
	case "", "json":
	case "text":
		n.Text = true
	default:
		l.problem("%s: %q is not a format, use json or text", format.name, format.text)
	}
	return n
}

// debugWins shows the level that DEBUG sets, and warns of another one that is given.
func (l *loader) debugWins() {
	name := l.peek(setting{path: "debug"})
	l.note(setting{path: "log.level"}, value{text: "debug", name: name})
	level := setting{path: "log.level"}
	if v := l.lookup(level); v.text != "" && !strings.EqualFold(v.text, "debug") {
		l.off = append(l.off, fmt.Sprintf("%s has no effect: %s is true", v.name, name))
	}
}

// debug reads DEBUG, which other programs have too (DEBUG=express:* of Node's): a
// value of theirs is only warned of.
func (l *loader) debug() bool {
	if text := l.env["DEBUG"]; text != "" {
		if _, err := strconv.ParseBool(text); err != nil {
			delete(l.env, "DEBUG")
			l.off = append(l.off, fmt.Sprintf("DEBUG has no effect: %q is neither true nor false", text))
		}
	}
	return l.boolean("debug", false)
}

// logStranger warns of a variable that is nearly one about the log. It refuses none:
// many programs have variables that begin with LOG_, and no event is lost by it.
func (l *loader) logStranger(name string, known map[string]string) {
	if guess := nearest(name, "LOG_", known); guess != "" {
		l.off = append(l.off, fmt.Sprintf("%s has no effect: unknown variable, did you mean %s?", name, guess))
	}
}
