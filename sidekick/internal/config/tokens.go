package config

import (
	"fmt"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

// Tokens are the secrets of those who may post. The zero value asks for none.
type Tokens struct {
	File string // where they are, to be read again when it changes; "" when they cannot change
	list []secret.String
	name string // of the setting
}

// Required says whether a token must be shown.
func (t Tokens) Required() bool { return len(t.list) > 0 }

// Load gives the tokens, from the file if they are in one. Errors name the
// setting and hold no token.
func (t Tokens) Load() ([]secret.String, error) {
	if t.File == "" {
		return t.list, nil
	}
	text, err := readSecret(t.File)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.name, err)
	}
	return parseTokens(t.name, text)
}

// parseTokens takes tokens apart that are separated by commas or line ends: there
// are several while one replaces another.
func parseTokens(name, text string) ([]secret.String, error) {
	var list []secret.String
	separates := func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }
	for token := range strings.FieldsFuncSeq(text, separates) {
		if token = strings.Trim(token, " \t"); token == "" {
			continue
		}
		if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("%s: token %d has a character that is no visible ASCII", name, len(list)+1)
		}
		list = append(list, secret.New(token))
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: holds no token", name)
	}
	return list, nil
}

func (l *loader) tokens() Tokens {
	s := setting{path: "auth.token", secret: true}
	before := len(l.problems)
	v := l.get(s)
	if v.text == "" || len(l.problems) > before {
		return Tokens{}
	}
	t := Tokens{name: v.name}
	switch {
	case l.env["AUTH_TOKEN_FILE"] != "":
		t.File = l.env["AUTH_TOKEN_FILE"]
	case l.env["AUTH_TOKEN"] == "" && l.yaml[s.path].text == "":
		t.File = l.yaml[s.path+"_file"].text
	}
	list, err := parseTokens(v.name, v.text)
	if err != nil {
		l.problems = append(l.problems, err)
		return Tokens{}
	}
	t.list = list
	return t
}
