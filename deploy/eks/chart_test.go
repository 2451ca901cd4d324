package eks

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"sigs.k8s.io/yaml"

	"github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/test/kube"
)

// render makes what `helm install sidearmor deploy/eks/chart --namespace security` does, in the
// order of names; notes are not part of it.
func render(t *testing.T, values map[string]any) (string, error) {
	t.Helper()
	c, err := loader.Load("chart")
	if err != nil {
		t.Fatal(err)
	}
	caps := chartutil.DefaultCapabilities.Copy()
	caps.KubeVersion = chartutil.KubeVersion{Version: "v1.34.4", Major: "1", Minor: "34"}
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "sidearmor", Namespace: "security", IsInstall: true}, caps)
	if err != nil {
		return "", err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(files[name]), "---")); strings.HasSuffix(name, ".yaml") && text != "" {
			out.WriteString("---\n" + text + "\n")
		}
	}
	return out.String(), nil
}

func values(t *testing.T, text string) map[string]any {
	t.Helper()
	v := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// chartValues are the sets of values that the chart is tried with.
func chartValues(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/chart/*.values.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func TestChart(t *testing.T) {
	for _, file := range chartValues(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			v := values(t, content(t, file))
			for _, m := range lint.All("chart", v, "security", true).Messages {
				if m.Severity > support.InfoSev {
					t.Error(m)
				}
			}
			text, err := render(t, v)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".values.yaml")+".want", text)
			for _, o := range kube.Objects(t, text) {
				if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
					t.Errorf("no object: %v", o.Object)
				}
			}
		})
	}
}

// What is wrong in values is said with its name.
func TestChartRefuses(t *testing.T) {
	for _, c := range []struct{ values, says string }{
		{"nameSpaces: [a]", "nameSpaces"},
		{"replicaCount: 0", "replicaCount"},
		{"webhook: {failurePolicy: Maybe}", "failurePolicy"},
		{"webhook: {failurepolicy: Fail}", "failurepolicy"},
		{"image: {tag: 1.5}", "tag"},
		{"tokenSecret: 1234", "tokenSecret"},
		{"tokenSecret: https://hooks.slack.com/x", "tokenSecret"},
		{"config: {slack: {webhookurl: x}}", "namespaces is empty"},
		{"{namespaces: [a], config: {existingSecret: b, slack: {webhookurl: x}}}", "existingSecret"},
		{"{namespaces: [a], config: {slack: {webhookurl: [x]}}}", "SLACK_WEBHOOKURL is a list"},
		{"config: {extraEnv: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]}", "config.extraEnv: A"},
		{"policies: {a.yaml: b}", "namespaces is empty"},
		{"{namespaces: [a], existingPolicies: b, policies: {a.yaml: b}}", "existingPolicies"},
		{"{namespaces: [a], policies: {a: b}}", "does not end in .yaml"},
		{"clusterPolicies: {enabled: true}", "namespaces is empty"},
		{"tls: {selfManaged: false}", "selfManaged"},
		{"serviceAccount: {create: false}", "serviceAccount.name"},
	} {
		if _, err := render(t, values(t, c.values)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.values, err)
		}
	}
}

// The chart has what webhook.yaml has: values aside, the same is said to the API server.
func TestChartIsTheManifest(t *testing.T) {
	text, err := render(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer("namespace: security", "namespace: sidearmor")
	chart := specs(t, names.Replace(text))
	for key, want := range specs(t, content(t, "webhook.yaml")+"\n---\n"+content(t, "networkpolicy.yaml")) {
		if got := chart[key]; key != "Namespace/sidearmor" && key != "Deployment/sidearmor-webhook" && !cmp.Equal(want, got) {
			t.Errorf("%s of the chart differs from that of the manifest:\n%s", key, cmp.Diff(want, got))
		}
	}
	if len(chart) < 8 {
		t.Errorf("only %d objects", len(chart))
	}
}

// specs are objects without what names and labels them.
func specs(t *testing.T, text string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, o := range kube.Objects(t, text) {
		key := o.GetKind() + "/" + o.GetName()
		delete(o.Object, "metadata")
		all[key] = unlabelled(o.Object)
	}
	return all
}

// unlabelled leaves out the labels by which the webhook's pods are known.
func unlabelled(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, is := range v {
			v[key] = unlabelled(is)
		}
		for _, key := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance"} {
			delete(v, key)
		}
	case []any:
		for i := range v {
			v[i] = unlabelled(v[i])
		}
	}
	return v
}

// What the Prometheus operator reads.
func TestChartMonitoring(t *testing.T) {
	text, err := render(t, values(t, content(t, "testdata/chart/full.values.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	var monitor monitoringv1.PodMonitor
	var rule monitoringv1.PrometheusRule
	into := map[string]any{"PodMonitor": &monitor, "PrometheusRule": &rule}
	for _, o := range kube.Objects(t, text) {
		if target := into[o.GetKind()]; target != nil {
			body, err := yaml.Marshal(o.Object)
			if err == nil {
				err = yaml.UnmarshalStrict(body, target)
			}
			if err != nil {
				t.Errorf("%s: %v", o.GetKind(), err)
			}
		}
	}
	var rules struct{ Groups []monitoringv1.RuleGroup }
	readYAML(t, "../../docs/observability/rules.yml", &rules)
	if len(monitor.Spec.PodMetricsEndpoints) != 1 || len(rule.Spec.Groups) != len(rules.Groups)+1 || len(rule.Spec.Groups[0].Rules) != len(rules.Groups[0].Rules) {
		t.Errorf("%+v, %d groups", monitor.Spec, len(rule.Spec.Groups))
	}
}

// An API server takes all that the chart makes, by server-side apply, and the service accounts of
// the namespaces may what their sidekicks need. What others define (the Prometheus operator, cert-manager) it does not know.
func TestChartOnAnAPIServer(t *testing.T) {
	server := kube.Start(t)
	for _, name := range []string{"security", "shop", "payments"} {
		server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name+"\n  labels: {pod-security.kubernetes.io/enforce: restricted}\n")
	}
	applied := 0
	for _, file := range chartValues(t) {
		text, err := render(t, values(t, content(t, file)))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range kube.Objects(t, text) {
			group := o.GroupVersionKind().Group
			if group == "monitoring.coreos.com" || group == "cert-manager.io" {
				continue
			}
			body, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			server.Apply(t, string(body))
			applied++
		}
	}
	if applied < 30 {
		t.Errorf("only %d objects were applied", applied)
	}
	server.Apply(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: shop}\n")
	may := reviewer(t, server, server.Token(t, "shop", "web"))
	for _, c := range []struct {
		verb, resource, namespace string
		want                      bool
	}{
		{"watch", "security.kubearmor.com/kubearmorpolicies", "shop", true},
		{"watch", "security.kubearmor.com/kubearmorclusterpolicies", "", true},
		{"list", "/pods", "shop", true},
		{"create", "/events", "default", true},
		{"list", "/pods", "payments", false},
		{"get", "/secrets", "shop", false},
	} {
		if may(c.verb, c.resource, c.namespace) != c.want {
			t.Errorf("%s %s in %q: not %v", c.verb, c.resource, c.namespace, c.want)
		}
	}
}

// Policies of the chart are the same text that the tracer reads from a ConfigMap.
func TestChartPolicies(t *testing.T) {
	text, err := render(t, values(t, content(t, "testdata/chart/full.values.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, o := range kube.Objects(t, text) {
		data, _ := o.Object["data"].(map[string]any)
		if o.GetName() != "sidearmor-policies" {
			continue
		}
		for name, body := range data {
			if _, err := policy.ParseStrict(name, strings.NewReader(fmt.Sprint(body))); err != nil {
				t.Error(err)
			}
			found++
		}
	}
	if found != 4 {
		t.Errorf("%d policies in two namespaces, not 4", found)
	}
}

// The chart carries what docs/observability has: a packed chart reaches no file outside of it.
func TestChartFiles(t *testing.T) {
	for _, name := range []string{"rules.yml", "dashboard.json"} {
		golden(t, "chart/files/"+name, content(t, "../../docs/observability/"+name))
	}
}

// The schema knows the values of values.yaml, and no others.
func TestChartValues(t *testing.T) {
	v := values(t, content(t, "chart/values.yaml"))
	var schema struct{ Properties map[string]any }
	body, err := os.ReadFile("chart/values.schema.json")
	if err == nil {
		err = yaml.Unmarshal(body, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	delete(schema.Properties, "global")
	if a, b := slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(schema.Properties)); !slices.Equal(a, b) {
		t.Errorf("values %v\nschema %v", a, b)
	}
}
