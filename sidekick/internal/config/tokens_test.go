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
		list, err := c.Listen.Tokens.Post.Load()
		var got []string
		for _, s := range list {
			got = append(got, s.Reveal())
		}
		if err != nil || strings.Join(got, " ") != in.want || c.Listen.Tokens.Post.File != in.file || c.Listen.Tokens.Post.Set() != (in.want != "") {
			t.Errorf("%s: %q of %q, %v", name, got, c.Listen.Tokens.Post.File, err)
		}
	}
}

func TestTokensRefused(t *testing.T) {
	for name, in := range map[string]struct {
		env  string
		want string
	}{
		"only commas":    {"AUTH_TOKEN=,,", "AUTH_TOKEN: holds no token"},
		"a space":        {"AUTH_TOKEN=a,canary canary", "AUTH_TOKEN: token 2 has a character"},
		"not ASCII":      {"AUTH_TOKEN=canaryé", "AUTH_TOKEN: token 1 has a character"},
		"no file":        {"AUTH_TOKEN_FILE=/nowhere/canary", "AUTH_TOKEN_FILE: open"},
		"empty file":     {"AUTH_TOKEN_FILE=" + write(t, "none", "\n"), "AUTH_TOKEN_FILE: "},
		"misspelt":       {"AUTH_TOKENS=canary", "AUTH_TOKENS: unknown variable, did you mean AUTH_TOKEN?"},
		"misspelt scope": {"AUTH_TOKEN_ADMN=canary", "AUTH_TOKEN_ADMN: unknown variable, did you mean AUTH_TOKEN_ADMIN?"},
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

// Each scope has tokens of its own: the same in two would make one what the other is.
func TestTokensOfScopes(t *testing.T) {
	path := write(t, "tokens", "x\nadmin\n")
	c, err := load(t, "auth: {token_read: r}", "AUTH_TOKEN=p", "AUTH_TOKEN_ADMIN_FILE="+path)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Listen.Tokens
	if !n.Post.Set() || !n.Read.Set() || !n.Admin.Set() || n.Admin.File != path {
		t.Errorf("%+v", n)
	}
	for _, env := range [][]string{
		{"AUTH_TOKEN=a,canary", "AUTH_TOKEN_ADMIN=canary"}, {"AUTH_TOKEN=canary", "AUTH_TOKEN_READ=b,canary"}, {"AUTH_TOKEN_READ=canary", "AUTH_TOKEN_ADMIN=canary"},
	} {
		_, err := load(t, "", env...)
		if err == nil || !strings.Contains(err.Error(), ": has a token of AUTH_TOKEN") || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", env, err)
		}
	}
	// They say nothing of who may post.
	if _, err := load(t, "", "LISTENADDRESS=0.0.0.0", "AUTH_TOKEN_READ=r", "AUTH_TOKEN_ADMIN=a"); err == nil || !strings.Contains(err.Error(), "anybody could post") {
		t.Error(err)
	}
	if c, err = load(t, "", "GRPC_LISTEN=:1", "AUTH_TOKEN_READ=r"); err != nil || c.GRPC.Open {
		t.Errorf("%+v, %v", c.GRPC, err)
	}
}
