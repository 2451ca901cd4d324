package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

// Tokens are the secrets of those who come, by what they may do. The zero value asks
// for none.
type Tokens struct {
	Post  TokenList // AUTH_TOKEN
	Read  TokenList // AUTH_TOKEN_READ
	Admin TokenList // AUTH_TOKEN_ADMIN: may do all
}

// TokenList is the tokens of one setting.
type TokenList struct {
	File string // where they are, to be read again when it changes; "" when they cannot change
	list []secret.String
	name string // of the setting
}

// Set says whether there are any.
func (t TokenList) Set() bool { return len(t.list) > 0 }

// Load gives the tokens, from the file if they are in one. Errors name the
// setting and hold no token.
func (t TokenList) Load() ([]secret.String, error) {
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
	t := Tokens{Post: l.tokenList("auth.token"), Read: l.tokenList("auth.token_read"), Admin: l.tokenList("auth.token_admin")}
	for _, pair := range [][2]TokenList{{t.Post, t.Read}, {t.Post, t.Admin}, {t.Read, t.Admin}} {
		for _, token := range pair[0].list {
			if slices.ContainsFunc(pair[1].list, func(s secret.String) bool { return s.Reveal() == token.Reveal() }) {
				l.problem("%s: has a token of %s, which then could do more than that: use another", pair[1].name, pair[0].name)
				break
			}
		}
	}
	return t
}

func (l *loader) tokenList(path string) TokenList {
	before := len(l.problems)
	v := l.get(path)
	if v.text == "" || len(l.problems) > before {
		return TokenList{}
	}
	t, name := TokenList{name: v.name}, variable(path)
	switch {
	case l.env[name+"_FILE"] != "":
		t.File = l.env[name+"_FILE"]
	case l.env[name] == "" && l.yaml[path].text == "":
		t.File = l.yaml[path+"_file"].text
	}
	list, err := parseTokens(v.name, v.text)
	if err != nil {
		l.problems = append(l.problems, err)
		return TokenList{}
	}
	t.list = list
	return t
}
