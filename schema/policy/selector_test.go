package policy

import (
	"strings"
	"testing"
)

func TestSelects(t *testing.T) {
	web := Target{Namespace: "shop", Pod: "web-1", Container: "web", Labels: map[string]string{"app": "web", "tier": "front"}}
	ecs := Target{Container: "web", Labels: map[string]string{"app": "web"}} // no namespace, labels from the task
	bare := Target{Container: "web"}

	const ksp, csp = KindPolicy, KindClusterPolicy
	tests := []struct {
		name      string
		kind      string
		namespace string
		selector  string // flow YAML
		target    Target
		want      bool
	}{
		{"empty selector", ksp, "", `{}`, web, true},
		{"empty selector, nothing known", ksp, "", `{}`, bare, true},
		{"own namespace", ksp, "shop", `{}`, web, true},
		{"another namespace", ksp, "bank", `{}`, web, false},
		{"a namespace, the target's is unknown", ksp, "bank", `{}`, ecs, true},
		{"a cluster policy has no namespace of its own", csp, "bank", `{}`, web, true},

		{"label", ksp, "", `{matchLabels: {app: web}}`, web, true},
		{"label of another value", ksp, "", `{matchLabels: {app: db}}`, web, false},
		{"one label of two", ksp, "", `{matchLabels: {app: web, tier: back}}`, web, false},
		{"empty label that the target lacks", ksp, "", `{matchLabels: {zone: ""}}`, web, false},
		{"label on ECS", ksp, "", `{matchLabels: {app: web}}`, ecs, true},
		{"label, the target has none", ksp, "", `{matchLabels: {app: web}}`, bare, false},

		{"container list", ksp, "", `{matchLabels: {kubearmor.io/container.name: "[db, web]"}}`, web, true},
		{"container not in the list", ksp, "", `{matchLabels: {kubearmor.io/container.name: "[db, webhook]"}}`, web, false},
		{"container list with empty items", ksp, "", `{matchLabels: {kubearmor.io/container.name: "[ , web,]"}}`, web, true},
		{"empty container list", ksp, "", `{matchLabels: {kubearmor.io/container.name: "[]"}}`, web, true},
		{"empty container name", ksp, "", `{matchLabels: {kubearmor.io/container.name: ""}}`, web, true},
		{"container name", ksp, "", `{matchLabels: {kubearmor.io/container.name: web}}`, bare, true},
		{"part of the container name", ksp, "", `{matchLabels: {kubearmor.io/container.name: we}}`, bare, false},
		{"container pattern", ksp, "", `{matchLabels: {kubearmor.io/container.name: "w.*|db"}}`, bare, true},
		{"container and label", ksp, "", `{matchLabels: {kubearmor.io/container.name: web, app: db}}`, web, false},

		{"label in", ksp, "", `{matchExpressions: [{key: label, operator: In, values: [app=db, app=web]}]}`, web, true},
		{"label not in the list", ksp, "", `{matchExpressions: [{key: label, operator: In, values: [app=db]}]}`, web, false},
		{"label not in", ksp, "", `{matchExpressions: [{key: label, operator: NotIn, values: [app=db]}]}`, web, true},
		{"label that must not be there", ksp, "", `{matchExpressions: [{key: label, operator: NotIn, values: [tier=front, app=db]}]}`, web, false},
		{"in and not in, both hold", ksp, "", `{matchExpressions: [{key: label, operator: In, values: [app=web]}, {key: label, operator: NotIn, values: [tier=back]}]}`, web, true},
		{"in holds, not in does not", ksp, "", `{matchExpressions: [{key: label, operator: In, values: [app=web]}, {key: label, operator: NotIn, values: [tier=front]}]}`, web, false},
		{"not in, the target has no labels", ksp, "", `{matchExpressions: [{key: label, operator: NotIn, values: [app=web]}]}`, bare, true},
		{"value with an equals sign", ksp, "", `{matchExpressions: [{key: label, operator: In, values: [a=b=c]}]}`, Target{Labels: map[string]string{"a": "b=c"}}, true},

		{"namespace in", csp, "", `{matchExpressions: [{key: namespace, operator: In, values: [bank, shop]}]}`, web, true},
		{"namespace not in the list", csp, "", `{matchExpressions: [{key: namespace, operator: In, values: [bank]}]}`, web, false},
		{"namespace not in", csp, "", `{matchExpressions: [{key: namespace, operator: NotIn, values: [shop]}]}`, web, false},
		{"namespace in, unknown", csp, "", `{matchExpressions: [{key: namespace, operator: In, values: [bank]}]}`, ecs, true},
		{"namespace not in, unknown", csp, "", `{matchExpressions: [{key: namespace, operator: NotIn, values: [bank]}]}`, ecs, true},
		{"namespace holds, label does not", csp, "", `{matchExpressions: [{key: namespace, operator: In, values: [shop]}, {key: label, operator: In, values: [app=db]}]}`, web, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := "apiVersion: " + apiVersion + "\nkind: " + tt.kind + "\nmetadata: {name: p, namespace: " + tt.namespace + "}\nspec: {selector: " + tt.selector + "}\n"
			docs, err := Parse("p.yaml", strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := docs[0].Selects(tt.target); got != tt.want {
				t.Errorf("selects: %v, want %v", got, tt.want)
			}
		})
	}
}

func parseOne(t *testing.T, kind, namespace, selector string) Document {
	t.Helper()
	text := "apiVersion: " + apiVersion + "\nkind: " + kind + "\nmetadata: {name: p, namespace: " + namespace + "}\nspec: {selector: " + selector + "}\n"
	docs, err := Parse("p.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs[0]
}

func TestMisses(t *testing.T) {
	web := Target{
		Namespace: "shop", Container: "web", Labels: map[string]string{"app": "web"},
		From: Sources{Namespace: "NAMESPACE", Container: "CONTAINER_NAME", Labels: "POD_LABELS"},
	}
	const ksp, csp = KindPolicy, KindClusterPolicy
	for _, c := range []struct {
		kind, namespace, selector string
		target                    Target
		want                      []string
	}{
		{ksp, "shop", `{matchLabels: {app: web}}`, web, nil},
		{ksp, "bank", `{}`, web, []string{`its namespace is "bank", this container's is "shop" (from NAMESPACE)`}},
		{ksp, "", `{matchLabels: {app: db, tier: x}}`, web, []string{
			`it selects the label app="db", this container's is "web" (from POD_LABELS)`,
			`it selects the label tier="x", which this container does not have (from POD_LABELS)`,
		}},
		{ksp, "", `{matchLabels: {app: db}}`, Target{}, []string{`it selects the label app="db", and this container has no labels`}},
		{ksp, "", `{matchLabels: {kubearmor.io/container.name: "[a, b]"}}`, web, []string{`it selects the container name [a, b], this container's is "web" (from CONTAINER_NAME)`}},
		{ksp, "", `{matchLabels: {kubearmor.io/container.name: "d.*"}}`, web, []string{`it selects the container name d.*, this container's is "web" (from CONTAINER_NAME)`}},
		{ksp, "", `{matchExpressions: [{key: label, operator: In, values: [app=a, app=b]}]}`, web, []string{`its matchExpressions select the labels app=a, app=b, none of which is this container's (from POD_LABELS)`}},
		{ksp, "", `{matchExpressions: [{key: label, operator: NotIn, values: [app=a, app=web]}]}`, web, []string{`its matchExpressions exclude the label app=web, which is this container's (from POD_LABELS)`}},
		{csp, "", `{matchExpressions: [{key: namespace, operator: In, values: [bank]}]}`, web, []string{`its matchExpressions select the namespaces bank, none of which is this container's (from NAMESPACE)`}},
		{csp, "", `{matchExpressions: [{key: namespace, operator: NotIn, values: [shop]}]}`, web, []string{`its matchExpressions exclude the namespace shop, which is this container's (from NAMESPACE)`}},
	} {
		d := parseOne(t, c.kind, c.namespace, c.selector)
		if got := d.Misses(c.target); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: got\n%s\nwant\n%s", c.selector, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		if d.Selects(c.target) != (c.want == nil) {
			t.Errorf("%s: selects and misses", c.selector)
		}
	}
}

// Whether a policy selects a container is open while it asks for something that
// is not known, and nothing that is known speaks against it.
func TestAwaits(t *testing.T) {
	ecs := Target{Namespace: "shop", Container: "host", Pending: FactContainer | FactLabels}
	for _, c := range []struct {
		namespace, selector string
		want                Facts
	}{
		{"", `{}`, 0},
		{"shop", `{}`, 0},
		{"", `{matchLabels: {app: web}}`, FactLabels},
		{"", `{matchLabels: {kubearmor.io/container.name: host}}`, FactContainer},
		{"", `{matchLabels: {kubearmor.io/container.name: web, app: web}}`, FactContainer | FactLabels},
		{"", `{matchExpressions: [{key: label, operator: NotIn, values: [app=web]}]}`, FactLabels},
		{"shop", `{matchLabels: {app: web}}`, FactLabels},
		{"bank", `{matchLabels: {app: web}}`, 0},
	} {
		d := parseOne(t, KindPolicy, c.namespace, c.selector)
		if got := d.Awaits(ecs); got != c.want {
			t.Errorf("namespace %q, %s: awaits %q, want %q", c.namespace, c.selector, got, c.want)
		}
		if c.want != 0 && d.Misses(ecs) != nil {
			t.Errorf("%s: misses %v, which nobody knows", c.selector, d.Misses(ecs))
		}
	}
}
