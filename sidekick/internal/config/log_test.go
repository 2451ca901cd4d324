package config

import (
	"log/slog"
	"strings"
	"testing"
)

func TestLog(t *testing.T) {
	for _, c := range []struct {
		text, env string
		want      Log
		warning   string
		shown     string
	}{
		{"", "", Log{}, "", "debug: false\nlog:\n  level: info\n  format: json\n"},
		{"", "LOG_LEVEL=debug", Log{Level: slog.LevelDebug}, "", "level: debug # LOG_LEVEL"},
		{"", "LOG_LEVEL=WARN LOG_FORMAT=Text", Log{Level: slog.LevelWarn, Text: true}, "", "format: Text # LOG_FORMAT"},
		{"", "LOG_LEVEL=info LOG_FORMAT=json", Log{}, "", ""},
		{"log: {level: error, format: text}", "", Log{Level: slog.LevelError, Text: true}, "", "level: error # log.level ("},
		{"log: {level: error, format: text}", "LOG_LEVEL=info LOG_FORMAT=json", Log{}, "", ""},
		{"", "DEBUG=true", Log{Level: slog.LevelDebug}, "", "level: debug # DEBUG"},
		{"", "DEBUG=true LOG_LEVEL=debug", Log{Level: slog.LevelDebug}, "", ""},
		{"", "DEBUG=true LOG_LEVEL=error", Log{Level: slog.LevelDebug}, "LOG_LEVEL has no effect: DEBUG is true", "level: debug # DEBUG"},
		{"", "DEBUG=false LOG_LEVEL=error", Log{Level: slog.LevelError}, "", ""},
		// Programs of the Node world are debugged by a DEBUG of their own.
		{"", "DEBUG=express:*", Log{}, `DEBUG has no effect: "express:*" is neither true nor false`, "debug: false\n"},
		{"debug: true", "DEBUG=express:*", Log{Level: slog.LevelDebug}, `DEBUG has no effect: "express:*"`, "debug: true # debug ("},
		{"", "LOG_LEVELS=x", Log{}, "LOG_LEVELS has no effect: unknown variable, did you mean LOG_LEVEL?", ""},
		{"", "LOG_FILE=/x LOG_FORMATTER=y LOG_LEVEL_ROOT=z LOG_PATH=/l", Log{}, "", ""},
	} {
		in := Input{Environ: strings.Fields(c.env), Kinds: kinds()}
		if c.text != "" {
			in.File = write(t, "conf.yaml", c.text)
		}
		got, err := Load(in)
		said := strings.Join(got.Warnings, "; ")
		if err != nil || got.Log != c.want || Logging(in) != c.want || !strings.Contains(said, c.warning) || (said == "") != (c.warning == "") {
			t.Errorf("%s %s: %+v, %+v, %q, %v", c.text, c.env, got.Log, Logging(in), said, err)
		}
		if shown, err := got.YAML(); err != nil || !strings.Contains(string(shown), c.shown) {
			t.Errorf("%s %s: %s, %v", c.text, c.env, shown, err)
		}
	}
}

func TestLogRefused(t *testing.T) {
	for _, c := range []struct{ text, env, want string }{
		{"", "LOG_LEVEL=trace", `LOG_LEVEL: "trace" is not possible, use debug, info, warn or error`},
		{"", "LOG_FORMAT=logfmt", `LOG_FORMAT: "logfmt" is not possible, use json or text`},
		{"log: {level: 5}", "", `conf.yaml:1): "5" is not possible`},
		{"log: {lvel: info}", "", "unknown key log.lvel, did you mean log.level?"},
	} {
		if _, err := load(t, c.text, strings.Fields(c.env)...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v", c.text, c.env, err)
		}
	}
}

// What is wrong with settings is logged in the form that is asked for.
func TestLoggingOfWhatIsWrong(t *testing.T) {
	text := Log{Text: true}
	for name, in := range map[string]Input{
		"another setting": {Environ: []string{"LOG_FORMAT=text", "LISTENPORT=x"}},
		"the level":       {Environ: []string{"LOG_FORMAT=text", "LOG_LEVEL=x"}},
		"no file":         {Environ: []string{"LOG_FORMAT=text"}, File: "/nowhere"},
		"no YAML":         {Environ: []string{"LOG_FORMAT=text"}, File: write(t, "conf.yaml", "a: b: c")},
	} {
		if got := Logging(in); got != text {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
