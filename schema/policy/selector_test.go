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
