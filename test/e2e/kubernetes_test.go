package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sidearmor/sidearmor/test/kube"
)

// A policy is applied to the API server of a cluster, whose service account may what
// deploy/eks gives it.
func TestPolicyFromKubernetes(t *testing.T) {
	server := kube.Start(t)
	server.InstallCRDs(t)
	const namespace = "sidearmor-sample" // that of deploy/eks
	server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+"}\n")
	server.Apply(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: "+namespace+"}\n")
	annotate := func(annotations string) {
		t.Helper()
		server.Apply(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: web-0, namespace: "+namespace+", labels: {app: shop}, annotations: {"+annotations+"}}\nspec: {containers: [{name: web, image: web}]}\n")
	}
	annotate("")
	rbac, err := os.ReadFile("../../deploy/eks/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	server.Apply(t, string(rbac))

	file, slack, hook := secretFile(t), newChat(t, 200), newChat(t, 200)
	s := startSidekick(t, "SLACK_WEBHOOKURL="+slack.URL, "WEBHOOK_ADDRESS="+hook.URL, "WEBHOOK_LOGS=false", "DIGEST_WINDOW=0", "AUTH_TOKEN="+postToken, "POLICIES_KUBERNETES=true",
		"POLICIES_KUBECONFIG="+server.Kubeconfig(t, server.Token(t, namespace, "web")), "POD_NAMESPACE="+namespace, "POD_NAME=web-0")
	w := startOpener(t, s, "POD_NAMESPACE="+namespace, "POD_NAME=web-0")
	policy := strings.Replace(blockFile("block-secret", file), "metadata:\n", "metadata:\n  namespace: "+namespace+"\n", 1)
	checkLive(t, s, slack, w, file,
		func() { server.Apply(t, policy) }, server.Kill, func() { server.Run(t) }, func() { server.Delete(t, policy) })

	// Annotations of the running pod count as well.
	server.Apply(t, policy)
	w.until(file, false)
	annotate("kubearmor-policy: audited")
	w.until(file, true)
	eventually(t, func() (bool, string) { // Slack is told one a second
		got := hook.received()
		return slices.ContainsFunc(got, func(m string) bool { return contains(m, "block-secret", file, "Audit (Block)") }),
			fmt.Sprintf("none of the webhook's %d messages tells of it", len(got))
	})
	annotate("kubearmor-policy: disabled")
	w.until(file, true)
	annotate("")
	w.until(file, false)
	server.Delete(t, policy)
	w.until(file, true)
	server.Apply(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+", annotations: {kubearmor-file-posture: block}}\n")
	allows := strings.Replace(strings.Replace(policy, file, "/no/such/file", 1), "Block", "Allow", 1)
	server.Apply(t, allows) // an allow list, which does not name the file
	w.until(file, false)
	server.Delete(t, allows)
	w.until(file, true)
}
