package catalog_test

import (
	"testing"

	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
)

// TestKinds: every kind is well declared, and no two of them share a name or a
// variable, but for settings that are shared on purpose.
func TestKinds(t *testing.T) {
	names, variables := map[string]bool{}, map[string]bool{}
	for _, k := range catalog.Kinds() {
		outputtest.Declaration(t, k)
		if names[k.Name] {
			t.Errorf("two kinds are called %s", k.Name)
		}
		names[k.Name] = true
		for _, s := range k.Settings {
			name := outputtest.Variable(k, s)
			if s.Block == "" && variables[name] {
				t.Errorf("two settings are read from %s", name)
			}
			variables[name] = true
		}
	}
	for _, want := range []string{
		"SLACK_WEBHOOKURL", "SLACK_OUTPUTFORMAT", "SLACK_MESSAGEFORMAT", "DISCORD_WEBHOOKURL", "DISCORD_ICON",
		"AWS_REGION", "AWS_ACCESSKEYID", "AWS_SECRETACCESSKEY", "AWS_ROLEARN", "AWS_EXTERNALID",
		"AWS_CLOUDWATCHLOGS_LOGGROUP", "AWS_CLOUDWATCHLOGS_LOGSTREAM",
		"WEBHOOK_ADDRESS", "WEBHOOK_METHOD", "WEBHOOK_CUSTOMHEADERS",
	} {
		if !variables[want] {
			t.Errorf("FalcoSidekick's %s is missing", want)
		}
	}
}
