package outputtest_test

import (
	"encoding/base64"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// A canary that is not recognised would make every test about secrets pass.
func TestShows(t *testing.T) {
	for _, text := range []string{
		"a" + outputtest.Canary + "b", "43346e34727953336372337454306b336e",
		base64.StdEncoding.EncodeToString([]byte(outputtest.Canary)),
		base64.StdEncoding.EncodeToString([]byte("user:" + outputtest.Canary)),
		base64.StdEncoding.EncodeToString([]byte("users:" + outputtest.Canary + "x")),
		base64.StdEncoding.EncodeToString([]byte("admins:" + outputtest.Canary + "xy")),
	} {
		if !outputtest.Shows(text) {
			t.Errorf("%s is not recognised", text)
		}
	}
	if outputtest.Shows("Basic dXNlcjpwYXNzd29yZA== C4n4ry") {
		t.Error("something else is taken for the canary")
	}
}
