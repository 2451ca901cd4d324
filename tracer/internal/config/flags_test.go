package config

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/pflag"
)

// asPflag reads a command line as pflag does.
func asPflag(args []string, known map[string]bool) (given map[string]string, rest []string, err error) {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.SetInterspersed(false)
	flags.Usage = func() {}
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(ourSpelling(name))
	})
	for name := range known {
		flags.String(name, "", "")
	}
	if err := flags.Parse(args); err != nil {
		return nil, nil, err
	}
	given = map[string]string{}
	flags.Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	return given, flags.Args(), nil
}

func FuzzFlagsAreReadAsPflagReadsThem(f *testing.F) {
	for _, line := range []string{
		"", "cmd", "-- cmd -x", "--a=1 cmd", "--a 1 -- cmd --b=2", "--a --b", "--a -- cmd", "--a= -- cmd", "--a=b=c", "--a",
		"--a=1 --a=2 cmd", "--defaultFilePosture=block cmd", "--default-file-posture block cmd", "--defaultFilePosture", "--c=1",
		"-x", "-h", "-hx", "-xh", "--help", "--help=1", "---a", "--=", "--=a", "- cmd", "--a - --b x", "-a=1", "-é",
	} {
		f.Add(line)
	}
	known := map[string]bool{"a": true, "b": true, "default-file-posture": true}
	f.Fuzz(func(t *testing.T, line string) {
		if strings.Contains(line, "-test.") {
			return // pflag lets the flags of "go test" pass
		}
		args := strings.Split(line, " ")
		given, rest, err := readFlags(args, known)
		wantGiven, wantRest, wantErr := asPflag(args, known)
		if errors.Is(wantErr, pflag.ErrHelp) {
			wantErr = errHelp
		}
		same := func() bool { // of other letters pflag takes the first byte for one
			return err.Error() == wantErr.Error() || strings.ContainsFunc(line, func(r rune) bool { return r >= utf8.RuneSelf })
		}
		if (err == nil) != (wantErr == nil) || err != nil && !same() {
			t.Fatalf("%q: error %v, want %v", args, err, wantErr)
		}
		if !maps.Equal(given, wantGiven) || !slices.Equal(rest, wantRest) {
			t.Errorf("%q: %v and %q, want %v and %q", args, given, rest, wantGiven, wantRest)
		}
	})
}
