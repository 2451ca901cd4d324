package kube

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"github.com/kubearmor/KubeArmor/pkg/KubeArmorController/crd"
)

// Apply makes or changes the objects of a YAML text, as `kubectl apply --server-side`
// does.
func (s *Server) Apply(t testing.TB, text string) {
	t.Helper()
	for _, o := range Objects(t, text) {
		eventually(t, func() string {
			_, err := s.resource(t, o).Apply(t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "kubectl", Force: true})
			switch {
			case err == nil:
				return ""
			case errors.IsServiceUnavailable(err), errors.IsTooManyRequests(err), errors.IsNotFound(err): // it has just started
				return err.Error()
			}
			t.Fatalf("apply %s %s: %v", o.GetKind(), o.GetName(), err)
			return ""
		})
	}
}

// Delete removes the objects of a YAML text, as `kubectl delete` does, and waits
// until they are gone.
func (s *Server) Delete(t testing.TB, text string) {
	t.Helper()
	for _, o := range Objects(t, text) {
		err := s.resource(t, o).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{})
		if err != nil {
			t.Fatalf("delete %s %s: %v", o.GetKind(), o.GetName(), err)
		}
		eventually(t, func() string {
			_, err := s.resource(t, o).Get(t.Context(), o.GetName(), metav1.GetOptions{})
			if errors.IsNotFound(err) {
				return ""
			}
			return fmt.Sprintf("%s %s is still there: %v", o.GetKind(), o.GetName(), err)
		})
	}
}

// List gives the objects of a resource in a namespace, "" for all.
func (s *Server) List(t testing.TB, resource schema.GroupVersionResource, namespace string) []unstructured.Unstructured {
	t.Helper()
	list, err := s.client(t).Resource(resource).Namespace(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// InstallCRDs installs KubeArmor's definitions of the policies that concern a pod, and
// waits until they can be used.
func (s *Server) InstallCRDs(t testing.TB) {
	t.Helper()
	s.Apply(t, CRDs(t))
	for _, resource := range []string{"kubearmorpolicies", "kubearmorclusterpolicies"} {
		eventually(t, func() string {
			_, err := s.client(t).Resource(schema.GroupVersionResource{Group: "security.kubearmor.com", Version: "v1", Resource: resource}).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				return err.Error()
			}
			return ""
		})
	}
}

// CRDs are KubeArmor's own definitions, as YAML.
func CRDs(t testing.TB) string {
	t.Helper()
	var all strings.Builder
	for _, definition := range []any{crd.GetKspCRD(), crd.GetCspCRD()} {
		text, err := yaml.Marshal(definition)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := yaml.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		delete(object, "status") // the server's
		if text, err = yaml.Marshal(object); err != nil {
			t.Fatal(err)
		}
		all.WriteString("---\n" + string(text))
	}
	return all.String()
}

// Token gives a token of a service account, as a pod of it has.
func (s *Server) Token(t testing.TB, namespace, account string) string {
	t.Helper()
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": account}, "spec": map[string]any{},
	}}
	accounts := s.client(t).Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	answer, err := accounts.Create(t.Context(), request, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	return token
}

// Kubeconfig writes a configuration for whoever has a token; "" is an administrator's.
func (s *Server) Kubeconfig(t testing.TB, token string) (path string) {
	t.Helper()
	return s.KubeconfigBy(t, s.URL, s.CAFile(), token)
}

// KubeconfigBy is Kubeconfig for those who come by way of another server.
func (s *Server) KubeconfigBy(t testing.TB, url, caFile, token string) (path string) {
	t.Helper()
	if token == "" {
		token = adminToken
	}
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: url, CertificateAuthority: caFile}
	c.AuthInfos["test"] = &clientcmdapi.AuthInfo{Token: token}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	c.CurrentContext = "test"
	path = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *Server) client(t testing.TB) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (s *Server) resource(t testing.TB, o *unstructured.Unstructured) dynamic.ResourceInterface {
	t.Helper()
	resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	return s.client(t).Resource(resource).Namespace(o.GetNamespace())
}

// Objects are those of a YAML text with many documents.
func Objects(t testing.TB, text string) (all []*unstructured.Unstructured) {
	t.Helper()
	for part := range strings.SplitSeq("\n"+text, "\n---") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(part), &o.Object); err != nil {
			t.Fatalf("%v:\n%s", err, part)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
	return all
}

func eventually(t testing.TB, ready func() (missing string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		missing := ready()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) || t.Context().Err() != nil {
			t.Fatal(missing)
		}
	}
}
