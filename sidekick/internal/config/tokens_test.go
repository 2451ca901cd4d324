package config

import (
	"strings"
	"testing"
)

func TestTokens(t *testing.T) {
	path := write(t, "tokens", "canary1\n\ncanary2 ,canary3\r\n")
	for name, in := range map[string]struct {
		text string
		env  []string
		want string
		file string
	}{
		"none":        {},
		"variable":    {env: []string{"AUTH_TOKEN=a, b"}, want: "a b"},
		"file":        {env: []string{"AUTH_TOKEN_FILE=" + path}, want: "canary1 canary2 canary3", file: path},
		"YAML":        {text: "auth: {token: x}", want: "x"},
		"YAML file":   {text: "auth: {token_file: " + path + "}", want: "canary1 canary2 canary3", file: path},
		"over YAML":   {text: "auth: {token_file: /nowhere}", env: []string{"AUTH_TOKEN=a"}, want: "a"},
		"file over":   {text: "auth: {token: x}", env: []string{"AUTH_TOKEN_FILE=" + path}, want: "canary1 canary2 canary3", file: path},
		"empty is no": {env: []string{"AUTH_TOKEN="}},
	} {
		c, err := load(t, in.text, in.env...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		list, err := c.Listen.Tokens.Load()
		var got []string
		for _, s := range list {
			got = append(got, s.Reveal())
		}
		if err != nil || strings.Join(got, " ") != in.want || c.Listen.Tokens.File != in.file || c.Listen.Tokens.Required() != (in.want != "") {
			t.Errorf("%s: %q of %q, %v", name, got, c.Listen.Tokens.File, err)
		}
	}
}

func TestTokensRefused(t *testing.T) {
	for name, in := range map[string]struct {
		env  string
		want string
	}{
		"only commas": {"AUTH_TOKEN=,,", "AUTH_TOKEN: holds no token"},
		"a space":     {"AUTH_TOKEN=a,canary canary", "AUTH_TOKEN: token 2 has a character"},
		"not ASCII":   {"AUTH_TOKEN=canaryé", "AUTH_TOKEN: token 1 has a character"},
		"no file":     {"AUTH_TOKEN_FILE=/nowhere/canary", "AUTH_TOKEN_FILE: open"},
		"empty file":  {"AUTH_TOKEN_FILE=" + write(t, "none", "\n"), "AUTH_TOKEN_FILE: "},
		"misspelt":    {"AUTH_TOKENS=canary", "AUTH_TOKENS: unknown variable, did you mean AUTH_TOKEN?"},
	} {
		_, err := load(t, "", in.env)
		if err == nil || !strings.Contains(err.Error(), in.want) || name != "no file" && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load(t, "", "AUTH_TOKEN=a", "AUTH_TOKEN_FILE=/b"); err == nil || !strings.Contains(err.Error(), "both set") {
		t.Errorf("both: %v", err)
	}
}
