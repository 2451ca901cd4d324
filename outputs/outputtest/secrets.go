package outputtest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// Canary is a secret that must never be seen in an error. Settings puts it in
// every secret setting.
const Canary = "C4n4ryS3cr3tT0k3n"

// NoSecret fails the test when any form of v shows the canary.
func NoSecret(t testing.TB, v any) {
	t.Helper()
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(format, v); Shows(text) {
			t.Errorf("the secret shows in %s of a %T: %s", format, v, text)
		}
	}
}

// Shows says whether text holds the canary: as it is, in hexadecimal, or in Base64
// with other things before and after it, as in basic authentication.
func Shows(text string) bool {
	if strings.Contains(text, Canary) || strings.Contains(strings.ToLower(text), hex.EncodeToString([]byte(Canary))) {
		return true
	}
	for before := range 3 {
		coded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), Canary...))
		// The characters that hold bits of the canary alone.
		first, end := (before*8+5)/6, (before+len(Canary))*8/6
		if strings.Contains(text, coded[first:end]) {
			return true
		}
	}
	return false
}
