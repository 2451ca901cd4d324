package access

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sidearmor/sidearmor/schema/secret"
)

// Tokens checks who posts. It keeps digests, not tokens.
type Tokens struct {
	digests *fromFiles[[][sha256.Size]byte]
}

// NewTokens takes the tokens that load gives, and again whenever file changes; ""
// is no file. Its error is load's.
func NewTokens(file string, load func() ([]secret.String, error), log *slog.Logger) (*Tokens, error) {
	var paths []string
	if file != "" {
		paths = []string{file}
	}
	digests, err := newFromFiles(paths, func() ([][sha256.Size]byte, error) {
		list, err := load()
		if err != nil {
			return nil, err
		}
		sums := make([][sha256.Size]byte, len(list))
		for i, token := range list {
			sums[i] = sha256.Sum256([]byte(token.Reveal()))
		}
		return sums, nil
	}, log)
	if err != nil {
		return nil, err
	}
	return &Tokens{digests: digests}, nil
}

// Valid says whether r shows a token, in one Authorization header. How long it takes
// tells nothing about the tokens but their number.
func (t *Tokens) Valid(r *http.Request) bool {
	shown := r.Header["Authorization"]
	if len(shown) != 1 {
		return false
	}
	token, ok := tokenIn(shown[0])
	if !ok {
		return false
	}
	sum, match := sha256.Sum256([]byte(token)), 0
	for _, known := range t.digests.get() {
		match |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	return match == 1
}

// Digests gives the SHA-256 of each token.
func (t *Tokens) Digests() [][sha256.Size]byte { return t.digests.get() }

// tokenIn takes the token out of "Bearer TOKEN", or out of "Basic …", which is what
// becomes of a user and a password in an address: Falco's http_output has nothing
// else to say who it is. The token is the password, whatever the user is called, or
// the user where there is no password.
func tokenIn(header string) (token string, ok bool) {
	scheme, rest, ok := strings.Cut(header, " ")
	rest = strings.TrimSpace(rest)
	switch {
	case !ok:
		return "", false
	case strings.EqualFold(scheme, "Bearer"):
		return rest, true
	case !strings.EqualFold(scheme, "Basic"):
		return "", false
	}
	plain, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return "", false
	}
	user, password, ok := strings.Cut(string(plain), ":")
	return cmp.Or(password, user), ok
}
