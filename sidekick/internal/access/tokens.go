package access

import (
	"crypto/sha256"
	"crypto/subtle"
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

// Valid says whether r shows a token: "Authorization: Bearer TOKEN", once. How
// long it takes tells nothing about the tokens but their number.
func (t *Tokens) Valid(r *http.Request) bool {
	shown := r.Header["Authorization"]
	if len(shown) != 1 {
		return false
	}
	scheme, token, ok := strings.Cut(shown[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum, match := sha256.Sum256([]byte(strings.TrimSpace(token))), 0
	for _, known := range t.digests.get() {
		match |= subtle.ConstantTimeCompare(sum[:], known[:])
	}
	return match == 1
}
