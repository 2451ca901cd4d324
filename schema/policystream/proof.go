package policystream

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// The proof is for connections without TLS. A tracer asks the sidekick for it at each
// new connection, before it sends the token or takes anything: the workload may stand
// at the sidekick's port. The proof is an HMAC over what only this tracer has chosen
// just now, and over the address that the sidekick was reached at: whoever carries
// the question on to a sidekick elsewhere gets a proof for an address that is not his.

// nonceBytes is the length of what a tracer chooses.
const nonceBytes = 32

// NewNonce chooses a question.
func NewNonce() string {
	var b [nonceBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// CheckNonce says what is wrong with a question.
func CheckNonce(nonce string) error {
	if b, err := hex.DecodeString(nonce); err != nil || len(b) != nonceBytes {
		return fmt.Errorf("nonce must be %d bytes in hexadecimal", nonceBytes)
	}
	return nil
}

// Key is what is kept of a token to prove that one knows it.
type Key [sha256.Size]byte

// KeyOf gives the key of a token.
func KeyOf(token string) Key { return sha256.Sum256([]byte(token)) }

// Answer is what the sidekick answers.
type Answer struct {
	At     string   `json:"at"`     // its own address on this connection
	Proofs []string `json:"proofs"` // one for each token that it takes
}

// Answers makes the answer of a sidekick that takes tokens with these keys.
func Answers(keys []Key, nonce, at string) Answer {
	a := Answer{At: at, Proofs: make([]string, 0, len(keys))}
	for _, k := range keys {
		a.Proofs = append(a.Proofs, hex.EncodeToString(k.proof(nonce, at)))
	}
	return a
}

// By says whether whoever answered knows the token.
func (a Answer) By(token, nonce string) bool {
	want := KeyOf(token).proof(nonce, a.At)
	for _, p := range a.Proofs {
		if got, err := hex.DecodeString(p); err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}

func (k Key) proof(nonce, at string) []byte {
	h := hmac.New(sha256.New, k[:])
	fmt.Fprintf(h, "sidearmor policies 1\n%s\n%s", nonce, at)
	return h.Sum(nil)
}
