package rules

import (
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

func TestDecideMove(t *testing.T) {
	r := compile(t, "", files("p",
		fpath(block, "/srv/app/keys/private"),
		fdir(block, "/var/lib/secret/", true),
		fpath(block, "/opt/tool/conf", "/usr/bin/cat"),
		fpath(audit, "/home/user/watched"),
		spolicy.FileRule{Pattern: "/data/*/vault/**", Effect: effect(block)},
		spolicy.FileRule{Pattern: "/logs/*.gz", Effect: effect(block)},
		spolicy.FileRule{Pattern: "/**/*.key", Effect: effect(block)},
		spolicy.FileRule{Pattern: "/x/{a/b,c}/d", Effect: effect(block)},
	))
	for _, c := range []struct {
		dir, source string
		deny        bool
	}{
		{"/srv/app/keys", "/bin/mv", true},
		{"/srv/app", "/bin/mv", true},
		{"/srv", "/bin/mv", true},
		{"/", "/bin/mv", true},
		{"/srv/app/keys2", "/bin/mv", false},
		{"/srv/ap", "/bin/mv", false},
		{"/var/lib", "/bin/mv", true},
		{"/var/lib/secret", "/bin/mv", true},
		{"/var/lib/secret/deep/er", "/bin/mv", true},
		{"/var/lib/other", "/bin/mv", false},
		{"/opt/tool", "/bin/mv", false}, // it may read and write it
		{"/opt/tool", "/usr/bin/cat", true},
		{"/home/user", "/bin/mv", false},
		{"/data", "/bin/mv", true},
		{"/data/x", "/bin/mv", true},
		{"/data/x/vault", "/bin/mv", true},
		{"/data/x/y", "/bin/mv", false},
		{"/logs", "/bin/mv", true},
		{"/logs/app", "/bin/mv", false},
		{"/x", "/bin/mv", true},
		{"/x/a", "/bin/mv", true},
		{"/tmp", "/bin/mv", false},
		{"/tmp/a.key", "/bin/mv", true},
	} {
		v := r.DecideMove(&Access{Operation: FileWrite, Path: c.dir, Source: c.source})
		if v.Deny != c.deny || v.Deny && v.PolicyName != "p" {
			t.Errorf("%s by %s: %+v", c.dir, c.source, v)
		}
	}
}
