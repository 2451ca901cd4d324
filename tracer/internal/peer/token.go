package peer

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

const maxTokenBytes = 4 << 10

// token is what is shown to the sidekick.
type token struct {
	text secret.String
	file string // instead; "" for none
}

// read gives the token, "" for none. Errors hold no part of the token.
func (t token) read() (string, error) {
	text := t.text.Reveal()
	if t.file != "" {
		f, err := os.Open(t.file)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		defer f.Close()
		all, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+1))
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		text = strings.TrimSpace(string(all))
		switch {
		case text == "":
			return "", errors.New("reading the token: " + t.file + " is empty")
		case len(all) > maxTokenBytes, strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }):
			return "", errors.New("reading the token: " + t.file + " must hold one token of visible ASCII without commas")
		}
	}
	return text, nil
}
