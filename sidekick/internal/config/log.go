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
	// Levels have the names of log/slog.
	if err := n.Level.UnmarshalText([]byte(l.choice("log.level"))); err != nil || debug {
		n.Level = slog.LevelDebug
	}
	n.Text = l.choice("log.format") == "text"
	return n
}

// debugWins shows the level that DEBUG sets, and warns of another one that is given.
func (l *loader) debugWins() {
	name := l.peek("debug")
	l.note("log.level", value{text: "debug", name: name})
	if v := l.lookup("log.level"); v.text != "" && !strings.EqualFold(v.text, "debug") {
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
	return l.boolean("debug")
}

// logStranger warns of a variable that is nearly one about the log. It refuses none:
// many programs have variables that begin with LOG_, and no event is lost by it.
func (l *loader) logStranger(name string, known map[string]string) {
	if guess := nearest(name, "LOG_", known); guess != "" {
		l.off = append(l.off, fmt.Sprintf("%s has no effect: unknown variable, did you mean %s?", name, guess))
	}
}
