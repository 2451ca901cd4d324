package rules

import (
	"strings"
	"testing"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// A policy's own postures come before those that hold else, and of several the strictest
// counts; one that only watches has them among those that watch.
func TestPosturesOfPolicies(t *testing.T) {
	const document = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata: {name: NAME, annotations: {kubearmor-policy: MODE, kubearmor-file-posture: FILE}}
spec: {file: {matchPaths: [{path: /allowed}]}, network: {matchProtocols: [{protocol: tcp}]}, action: Allow}
---
`
	const enabled, audited = spolicy.ModeEnabled, spolicy.ModeAudited
	for _, c := range []struct {
		postures, modes []string
		around          string
		want            Verdict // of a file that is not named
	}{
		{[]string{"block"}, []string{enabled}, PostureAudit, Verdict{Deny: true, Alert: true, Action: "Block"}},
		{[]string{"audit"}, []string{enabled}, PostureBlock, Verdict{Alert: true, Action: "Audit"}},
		{[]string{""}, []string{enabled}, PostureBlock, Verdict{Deny: true, Alert: true, Action: "Block"}},
		{[]string{"audit", "block"}, []string{enabled, enabled}, PostureAllow, Verdict{Deny: true, Alert: true, Action: "Block"}},
		{[]string{"block", "audit"}, []string{enabled, enabled}, PostureAllow, Verdict{Deny: true, Alert: true, Action: "Block"}},
		{[]string{"block"}, []string{audited}, PostureAudit, Verdict{Alert: true, Action: ActionWatched}},
		{[]string{"audit", "block"}, []string{enabled, audited}, PostureAudit, Verdict{Alert: true, Action: ActionWatched}},
	} {
		text := ""
		for i := range c.postures {
			text += strings.NewReplacer("NAME", string(rune('a'+i)), "MODE", c.modes[i], "FILE", `"`+c.postures[i]+`"`).Replace(document)
		}
		docs, err := spolicy.ParseStrict("p.yaml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		compiled, err := Compile(docs, spolicy.Target{}, Posture{File: c.around, Network: PostureAllow})
		if err != nil {
			t.Fatal(err)
		}
		v := compiled.Decide(&Access{Operation: FileRead, Path: "/other"})
		if v.Deny != c.want.Deny || v.Alert != c.want.Alert || v.Action != c.want.Action || v.PolicyName != "DefaultPosture" {
			t.Errorf("%v %v in %s: %+v", c.postures, c.modes, c.around, v)
		}
		if v := compiled.Decide(&Access{Operation: Network, Protocol: "UDP", SockType: "SOCK_DGRAM"}); v.Alert {
			t.Errorf("the posture of files counts for sockets: %+v", v)
		}
		if told := compiled.Permissive(func(Access, Verdict) {}).Decide(&Access{Operation: FileRead, Path: "/other"}); told.Deny || told.Alert {
			t.Errorf("permissive rules say %+v", told)
		}
	}
	if _, err := spolicy.Parse("p.yaml", strings.NewReader(strings.NewReplacer("MODE", enabled, "FILE", "blcok").Replace(document))); err == nil || !strings.Contains(err.Error(), "p.yaml:3:") || !strings.Contains(err.Error(), "must be audit or block") {
		t.Errorf("%v", err)
	}
}
