package main

import (
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// A variable that begins like one of an output that is here, and is none, is
// refused, whatever FalcoSidekick has besides.
func TestMisspeltVariables(t *testing.T) {
	load := func(name string) (warnings, problem string) {
		c, err := config.Load(config.Input{Environ: []string{name + "=x"}, Kinds: catalog.Kinds()})
		if err != nil {
			problem = err.Error()
		}
		return strings.Join(c.Warnings, "; "), problem
	}
	for _, k := range catalog.Kinds() {
		enabler := strings.ToUpper(strings.ReplaceAll(k.Block+"_"+k.Enabler, ".", "_"))
		misspelt := enabler[:len(enabler)-1]
		if warnings, problem := load(misspelt); !strings.Contains(problem, misspelt+": unknown variable, did you mean "+enabler) {
			t.Errorf("%s: %q, warnings %q", misspelt, problem, warnings)
		}
	}
	for name, warns := range map[string]bool{
		"ELASTICSEARCH_FLATTENFIELDS": true, "ELASTICSEARCH_BATCHING_ENABLED": true, "KAFKA_ASYNC": true, "KAFKAREST_ADDRESS": true,
		"OTLP_TRACES_ENDPOINT": true, "OTLP_METRICS_ENDPOINT": true, "AWS_SQS_URL": true, "LOKI_MAXCONCURRENTREQUESTS": true,
		"AWS_S3_USE_ARN_REGION": false, "AWS_REGION": false, "MAX_LENGTH": false,
	} {
		if warnings, problem := load(name); problem != "" || warns != strings.Contains(warnings, name) {
			t.Errorf("%s: %q, warnings %q", name, problem, warnings)
		}
	}
	if _, problem := load("MUTUALTLSCLIENT_CERTFIL"); !strings.Contains(problem, "did you mean MUTUALTLSCLIENT_CERTFILE?") {
		t.Error(problem)
	}
}
