package eks

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/sidearmor/sidearmor/test/kube"
)

// An API server takes all files as README.md has them applied, and its service account
// may what it needs and nothing else.
func TestOnAnAPIServer(t *testing.T) {
	server := kube.Start(t)
	server.InstallCRDs(t)
	m := load(t)
	namespace, rest, _ := strings.Cut(content(t, "sidearmor.yaml"), "\n---\n")
	server.Apply(t, namespace) // whatever is in it comes later
	server.Apply(t, rest)
	server.Apply(t, content(t, "rbac.yaml"))
	server.Apply(t, content(t, "policies.yaml"))

	may := reviewer(t, server, server.Token(t, m.namespace.Name, m.account.Name))
	own := m.namespace.Name
	for _, needed := range [][3]string{
		{"list", "security.kubearmor.com/kubearmorpolicies", own},
		{"watch", "security.kubearmor.com/kubearmorpolicies", own},
		{"list", "security.kubearmor.com/kubearmorclusterpolicies", ""},
		{"watch", "security.kubearmor.com/kubearmorclusterpolicies", ""},
		{"list", "/namespaces", ""},
		{"watch", "/namespaces", ""},
		{"list", "/pods", own},
		{"watch", "/pods", own},
		{"create", "/events", own},
		{"create", "/events", "default"},
	} {
		if !may(needed[0], needed[1], needed[2]) {
			t.Errorf("may not %v", needed)
		}
	}
	for _, refused := range [][3]string{
		{"list", "security.kubearmor.com/kubearmorpolicies", "default"},
		{"list", "security.kubearmor.com/kubearmorpolicies", ""},
		{"create", "security.kubearmor.com/kubearmorpolicies", own},
		{"update", "security.kubearmor.com/kubearmorpolicies", own},
		{"delete", "security.kubearmor.com/kubearmorpolicies", own},
		{"update", "security.kubearmor.com/kubearmorclusterpolicies", ""},
		{"get", "/secrets", own},
		{"list", "/secrets", own},
		{"list", "/configmaps", own},
		{"list", "/pods", "default"},
		{"list", "/pods", ""},
		{"update", "/pods", own},
		{"update", "/namespaces", ""},
		{"list", "/events", own},
		{"delete", "/events", own},
		{"create", "/events", "kube-system"},
		{"create", "/pods/exec", own},
		{"get", "/nodes", ""},
	} {
		if may(refused[0], refused[1], refused[2]) {
			t.Errorf("may %v", refused)
		}
	}
}

// reviewer asks the API server what whoever has a token may.
func reviewer(t *testing.T, server *kube.Server, token string) func(verb, resource, namespace string) bool {
	t.Helper()
	config := rest.CopyConfig(server.Admin)
	config.BearerToken = token
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	reviews := client.Resource(schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "selfsubjectaccessreviews"})
	return func(verb, resource, namespace string) bool {
		t.Helper()
		group, name, _ := strings.Cut(resource, "/")
		name, sub, _ := strings.Cut(name, "/")
		answer, err := reviews.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{"resourceAttributes": map[string]any{
				"verb": verb, "group": group, "resource": name, "subresource": sub, "namespace": namespace,
			}},
		}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		allowed, _, _ := unstructured.NestedBool(answer.Object, "status", "allowed")
		return allowed
	}
}
