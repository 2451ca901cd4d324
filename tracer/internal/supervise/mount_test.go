package supervise

import (
	"slices"
	"testing"
)

func TestOverlaid(t *testing.T) {
	for options, want := range map[string][]string{
		"":                                    nil,
		"ro,index=off":                        nil,
		"lowerdir=a:b":                        {"a", "b"},
		"lowerdir=a::b,upperdir=u":            {"a", "b", "u"},
		"upperdir=u,workdir=w,lowerdir=/l,ro": {"u", "w", "/l"},
		`lowerdir=a\:b:c\,d,upperdir=u`:       {"a:b", `a\:b`, "c,d", `c\,d`, "u"},
		`lowerdir=a\\:b`:                      {`a\`, `a\\`, "b"},
		`upperdir=a\`:                         {`a\`},
		"lowerdir+=a,datadir+=b":              {"a", "b"},
		"lowerdir":                            nil,
	} {
		if got := overlaid(options); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", options, got, want)
		}
	}
}

// Whatever the options are, each directory that stands in them without a backslash is found.
func FuzzOverlaid(f *testing.F) {
	f.Add(`lowerdir=a\:b:c\,d,upperdir=u`, "dir")
	f.Fuzz(func(t *testing.T, options, dir string) {
		if dir == "" || slices.ContainsFunc([]byte(dir), func(b byte) bool { return b == '\\' || b == ',' || b == ':' }) {
			return
		}
		overlaid(options)
		if !slices.Contains(overlaid("upperdir="+dir+","+options), dir) {
			t.Errorf("%q is not found before %q", dir, options)
		}
	})
}
