package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What follows reads a setting as its row of the table says. What is wrong with a
// value is noted, and the default stands for it.

// given gives the value of a setting, or its default.
func (l *loader) given(path string) (value, setting) {
	v, s := l.get(path), l.known[path]
	if v.text == "" {
		v.text = s.byDefault
	}
	return v, s
}

func (l *loader) text(path string) string {
	v, _ := l.given(path)
	return v.text
}

func (l *loader) boolean(path string) bool {
	v, _ := l.given(path)
	b, err := strconv.ParseBool(v.text)
	if err != nil {
		l.problem("%s: %q is neither true nor false", v.name, v.text)
	}
	return b
}

func (l *loader) number(path string) int {
	v, s := l.given(path)
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || n < s.least || n > s.most {
		l.problem("%s: %q is not a number from %d to %d", v.name, v.text, s.least, s.most)
		n, _ = strconv.ParseInt(s.byDefault, 10, 64)
	}
	return int(n)
}

func (l *loader) port(path string) int {
	v, _ := l.given(path)
	port, err := strconv.ParseUint(v.text, 10, 16)
	if err != nil {
		l.problem("%s: %q is not a port, use 0 (any free one) to 65535", v.name, v.text)
	}
	return int(port)
}

// choice gives one of the choices, in the case that these have.
func (l *loader) choice(path string) string {
	v, s := l.given(path)
	i := slices.IndexFunc(s.choices, func(c string) bool { return strings.EqualFold(c, v.text) })
	if i < 0 {
		last := len(s.choices) - 1
		l.problem("%s: %q is not possible, use %s or %s", v.name, v.text, strings.Join(s.choices[:last], ", "), s.choices[last])
		return s.byDefault
	}
	return s.choices[i]
}

func (l *loader) duration(path string) time.Duration {
	v, s := l.given(path)
	least, most := time.Duration(s.least), time.Duration(s.most)
	d, err := time.ParseDuration(v.text)
	switch {
	case err != nil:
		l.problem("%s: %q is not a duration, such as 90s or 12h", v.name, v.text)
	case s.orZero && d == 0:
	case d < least || d > most:
		limits := fmt.Sprintf("%v and %v", least, most)
		if s.orZero {
			limits += ", or 0"
		}
		l.problem("%s: %q is not within %s", v.name, v.text, limits)
	}
	return d
}

// size reads a number of bytes.
func (l *loader) size(path string) int64 {
	v, s := l.given(path)
	number, shift := v.text, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if n, ok := strings.CutSuffix(v.text, unit); ok {
			number, shift = strings.TrimSpace(n), 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil:
		l.problem("%s: %q is not a number of bytes, such as 500000000 or 512MiB", v.name, v.text)
	case s.orZero && n == 0:
	case n > s.most>>shift || n<<shift < s.least:
		limits := fmt.Sprintf("%dMiB and %dGiB", s.least>>20, s.most>>30)
		if s.orZero {
			limits += ", or 0"
		}
		l.problem("%s: %q is not within %s", v.name, v.text, limits)
	}
	return n << shift
}
