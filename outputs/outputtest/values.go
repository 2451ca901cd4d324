package outputtest

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
)

// Settings are the settings of an output by key.
type Settings map[string]string

// With gives the settings of s, but for those that more has.
func (s Settings) With(more Settings) Settings {
	all := Settings{}
	maps.Copy(all, s)
	maps.Copy(all, more)
	return all
}

// Values gives settings to k.New as the sidekick would, with the defaults that
// k declares. An output that asks for a setting which it does not declare fails
// the test.
func Values(t testing.TB, k outputs.Kind, given Settings) outputs.Values {
	t.Helper()
	v := &values{t: t, kind: k, given: given}
	for key := range given {
		v.setting(key)
	}
	return v
}

type values struct {
	t     testing.TB
	kind  outputs.Kind
	given Settings
}

func (v *values) setting(key string) outputs.Setting {
	for _, s := range v.kind.Settings {
		if s.Key == key {
			return s
		}
	}
	v.t.Fatalf("output %s does not declare setting %q", v.kind.Name, key)
	return outputs.Setting{}
}

// String implements outputs.Values.
func (v *values) String(key string) string {
	s := v.setting(key)
	if given, ok := v.given[key]; ok {
		return given
	}
	return s.Default
}

// Name implements outputs.Values with the name of the variable.
func (v *values) Name(key string) string {
	return Variable(v.kind, v.setting(key))
}

// Variable is the environment variable of a setting.
func Variable(k outputs.Kind, s outputs.Setting) string {
	block := k.Block
	if s.Block != "" {
		block = s.Block
	}
	return strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("%s_%s", block, cmp.Or(s.Name, s.Key)), ".", "_"))
}

// New makes an output with the given settings.
func New(t testing.TB, k outputs.Kind, given Settings) outputs.Output {
	t.Helper()
	o, err := k.New(Values(t, k, given))
	if err != nil {
		t.Fatalf("make output %s: %v", k.Name, err)
	}
	return o
}

// Refused fails the test when an output can be made with the given settings, when
// the error does not contain want, and when it shows the canary.
func Refused(t testing.TB, k outputs.Kind, given Settings, want string) {
	t.Helper()
	_, err := k.New(Values(t, k, given))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %s", err, want)
	}
	NoSecret(t, err)
}
