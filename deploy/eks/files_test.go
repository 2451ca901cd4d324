package eks

import (
	"os"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The policy is about the webhook's pods and its port.
func TestNetworkPolicy(t *testing.T) {
	var p networkingv1.NetworkPolicy
	readYAML(t, "networkpolicy.yaml", &p)
	webhook, err := os.ReadFile("webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	label := "app.kubernetes.io/name: " + p.Spec.PodSelector.MatchLabels["app.kubernetes.io/name"]
	if !strings.Contains(string(webhook), "      labels:\n        "+label+"\n") || !strings.Contains(string(webhook), "namespace: "+p.Namespace) {
		t.Errorf("webhook.yaml has no pods with %s in %s", label, p.Namespace)
	}
	port := p.Spec.Ingress[0].Ports[0].Port.String()
	if len(p.Spec.Ingress) != 1 || !strings.Contains(string(webhook), "containerPort: "+port) {
		t.Errorf("the webhook does not listen at %s", port)
	}
}

func TestKustomization(t *testing.T) {
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Resources  []string `json:"resources"`
	}
	readYAML(t, "kustomization.yaml", &k)
	if len(k.Resources) != 2 {
		t.Errorf("%+v", k)
	}
	for _, name := range k.Resources {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestFargateProfile(t *testing.T) {
	var c struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Metadata   map[string]string `json:"metadata"`
		Profiles   []struct {
			Name      string              `json:"name"`
			Selectors []map[string]string `json:"selectors"`
		} `json:"fargateProfiles"`
	}
	readYAML(t, "eksctl.yaml", &c)
	if c.APIVersion != "eksctl.io/v1alpha5" || len(c.Profiles) != 1 || len(c.Profiles[0].Selectors) == 0 {
		t.Errorf("%+v", c)
	}
}
