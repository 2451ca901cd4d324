package config

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPoliciesOfACluster(t *testing.T) {
	c, err := load(t, "", "POLICIES_KUBERNETES=true", "POD_NAMESPACE=shop", "POD_NAME=web-0", "POD_NODE=n1", "POLICIES_KUBECONFIG=/k")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Policies.Kubernetes, (KubernetesPolicies{Follow: true, Kubeconfig: "/k", Namespace: "shop", Pod: "web-0"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	c, err = load(t, "", "POD_NAMESPACE=shop", "POLICIES_KUBECONFIG=/k")
	if err != nil || c.Policies.Kubernetes.Follow || !strings.Contains(strings.Join(c.Warnings, "\n"), "POLICIES_KUBECONFIG has no effect") {
		t.Errorf("%+v, %v", c.Policies.Kubernetes, err)
	}
}

func TestPoliciesOnAWS(t *testing.T) {
	c, err := load(t, "policies:\n  ssm: [/a/policies, /b/]\n  interval: 5m\naws:\n  region: eu-central-1\n", "POLICIES_S3=s3://fleet/p.yaml, s3://fleet/more/")
	if err != nil {
		t.Fatal(err)
	}
	a := c.Policies.AWS
	if !slices.Equal(a.Parameters, []string{"/a/policies", "/b/"}) || !slices.Equal(a.Objects, []string{"s3://fleet/p.yaml", "s3://fleet/more/"}) || a.Interval != 5*time.Minute {
		t.Errorf("%+v", a)
	}
	if got := a.Access.String("region"); got != "eu-central-1" {
		t.Errorf("region %q", got)
	}
	c, err = load(t, "", "POLICIES_INTERVAL=1m")
	if err != nil || c.Policies.AWS.Access != nil || !strings.Contains(strings.Join(c.Warnings, "\n"), "POLICIES_INTERVAL has no effect") {
		t.Errorf("%+v, %v", c.Policies.AWS, err)
	}
}

func TestPolicyPlacesRefused(t *testing.T) {
	for env, want := range map[string]string{
		"POLICIES_KUBERNETES=yes please":              "neither true nor false",
		"POLICIES_KUBERNETES=1 POLICIES_KUBECONFIG=k": `POLICIES_KUBECONFIG: "k" is not an absolute path`,
		"POLICIES_SSM=/a//b":                          `POLICIES_SSM: "/a//b" is not a name of a parameter`,
		"POLICIES_SSM=/a,/b,/a":                       `POLICIES_SSM: "/a" is given twice`,
		"POLICIES_SSM=a,b,c,d,e,f,g,h,i,j,k":          "has 11 places, at most 10 are possible",
		"POLICIES_S3=fleet/p.yaml":                    "is not s3://bucket/key",
		"POLICIES_S3=s3://fleet":                      "is not s3://bucket/key",
		"POLICIES_SSM=/a POLICIES_INTERVAL=100ms":     "is not within 1s and 1h0m0s",
		"POLICIES_SSM=/a POLICIES_INTERVAL=seldom":    `"seldom" is not a duration`,
		"POLICIES_KUBERNETS=true":                     "POLICIES_KUBERNETES",
	} {
		_, err := load(t, "", splitEnv(env)...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}

// splitEnv takes variables apart, of which only the first may have blanks.
func splitEnv(text string) []string {
	if i := strings.LastIndex(text, " POLICIES_"); i > 0 {
		return []string{text[:i], text[i+1:]}
	}
	return []string{text}
}
