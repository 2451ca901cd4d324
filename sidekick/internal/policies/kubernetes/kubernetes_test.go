package kubernetes

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies/policiestest"
	"github.com/sidearmor/sidearmor/test/kube"
)

// All tests share one API server, which they have one after the other.
func TestKubernetes(t *testing.T) {
	server := kube.Start(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *kube.Server)
	}{
		{"definitions that come later", testDefinitionsThatComeLater}, // first: it installs them
		{"policies come, change and go", testPoliciesComeChangeAndGo},
		{"only what concerns the pod", testOnlyWhatConcernsThePod},
		{"annotations", testAnnotations},
		{"an Event tells what is not honoured", testEvents},
		{"a service account without rights", testWithoutRights},
		{"the server is away and comes back", testServerAwayAndBack},
		{"definitions that are removed", testDefinitionsThatAreRemoved}, // last
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, server) })
	}
}

// follow starts a hub with a source for the pod web of a namespace.
func follow(t *testing.T, kubeconfig, namespace string) *policiestest.Following {
	t.Helper()
	return policiestest.Follow(t, func(log *slog.Logger) policies.Source {
		s, err := New(Options{Kubeconfig: kubeconfig, Namespace: namespace, Pod: "web", Log: log})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// block is a policy that blocks a file.
func block(namespace, name, path string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\n  namespace: %s\nspec:\n  file:\n    matchPaths:\n    - path: %s\n  action: Block\n", name, namespace, path)
}

// blockEverywhere is a cluster's policy for namespaces.
func blockEverywhere(name, operator, namespace string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorClusterPolicy\nmetadata:\n  name: %s\nspec:\n  selector:\n    matchExpressions:\n    - key: namespace\n      operator: %s\n      values: [%s]\n  file:\n    matchPaths:\n    - path: /%s\n  action: Block\n", name, operator, namespace, name)
}

func namespace(name string, annotations ...string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n  annotations: {%s}\n", name, strings.Join(annotations, ", "))
}

func pod(namespace, labels string, annotations ...string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: %s\n  labels: {%s}\n  annotations: {%s}\nspec:\n  containers:\n  - name: web\n    image: web\n", namespace, labels, strings.Join(annotations, ", "))
}

func testDefinitionsThatComeLater(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("early"))
	f := follow(t, s.Kubeconfig(t, ""), "early")
	f.Becomes("") // known to be none: the start does not wait for what nobody installed
	f.Says("is not installed")
	s.InstallCRDs(t)
	s.Apply(t, block("early", "first", "/a"))
	f.Becomes("first=/a")
}

func testPoliciesComeChangeAndGo(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("busy"))
	s.Apply(t, pod("busy", "app: web"))
	s.Apply(t, block("busy", "there-before", "/a"))
	f := follow(t, s.Kubeconfig(t, ""), "busy")
	f.Becomes("there-before=/a")
	s.Apply(t, block("busy", "later", "/b"))
	f.Becomes("later=/b there-before=/a")
	s.Apply(t, block("busy", "there-before", "/c"))
	f.Becomes("later=/b there-before=/c")
	s.Delete(t, block("busy", "there-before", "/c"))
	f.Becomes("later=/b")
	s.Delete(t, block("busy", "later", "/b"))
	f.Becomes("")

	// The server's validation does not know regular expressions: what is wrong there
	// leaves the version before in force.
	s.Apply(t, block("busy", "mended", "/a"))
	f.Becomes("mended=/a")
	wrong := strings.Replace(block("busy", "mended", "/b"), "spec:", "spec:\n  selector:\n    matchLabels:\n      kubearmor.io/container.name: '('", 1)
	s.Apply(t, wrong)
	f.Says(`place="KubeArmorPolicy busy/mended"`)
	f.Becomes("mended=/a")
	s.Delete(t, wrong)
	f.Becomes("")
}

func testOnlyWhatConcernsThePod(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("mine")+"---\n"+namespace("theirs"))
	s.Apply(t, pod("mine", "app: web, tier: front"))
	selecting := func(name, labels string) string {
		return strings.Replace(block("mine", name, "/"+name), "spec:", "spec:\n  selector:\n    matchLabels: {"+labels+"}", 1)
	}
	f := follow(t, s.Kubeconfig(t, ""), "mine")
	all := []string{
		block("theirs", "not-mine", "/x"),
		selecting("both", "app: web, tier: front"), selecting("other", "app: db"),
		selecting("container", "kubearmor.io/container.name: elsewhere"), // the tracer's to know
		blockEverywhere("here", "In", "mine"), blockEverywhere("there", "In", "theirs"),
		blockEverywhere("except-here", "NotIn", "mine"), blockEverywhere("except-there", "NotIn", "theirs"),
	}
	s.Apply(t, strings.Join(all, "---\n"))
	f.Becomes("both=/both container=/container except-there=/except-there here=/here")
	s.Apply(t, pod("mine", "app: db, tier: front")) // a label changes
	f.Becomes("container=/container except-there=/except-there here=/here other=/other")
	s.Delete(t, strings.Join(all, "---\n"))
	f.Becomes("")
}

func testAnnotations(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("noted", "kubearmor-file-posture: block", "kubearmor-network-posture: nonsense", "kubearmor-visibility: 'process,file'"))
	f := follow(t, s.Kubeconfig(t, ""), "noted")
	has := func(namespace, pod string) {
		t.Helper()
		f.Until(func() string {
			m := f.Snapshot().Sources[0]
			n, p := fmt.Sprintf("%+v", m.Namespaces["noted"]), fmt.Sprintf("%+v", m.Pods["noted/web"])
			if strings.Contains(n, namespace) && strings.Contains(p, pod) && len(m.Namespaces) == 1 {
				return ""
			}
			return fmt.Sprintf("the namespace has %s, the pod %s", n, p)
		})
	}
	has("FilePosture:block NetworkPosture: CapabilitiesPosture: Visibility:process,file", "Mode: ")
	f.Says("nonsense")
	s.Apply(t, pod("noted", "", "kubearmor-policy: audited"))
	has("Mode: ", "Mode:audited")
	s.Apply(t, pod("noted", "", "kubearmor-policy: disabled", "kubearmor-visibility: none"))
	has("Mode: ", "Mode:disabled")
	has("", "Visibility:none")
	s.Apply(t, pod("noted", ""))
	s.Apply(t, namespace("noted", "kubearmor-policy: audited"))
	has("Mode:audited FilePosture: ", "Mode: ")
}

func testEvents(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("told"))
	s.Apply(t, pod("told", ""))
	partly := "apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata: {name: partly, namespace: told}\nspec:\n  apparmor: 'deny /x r,'\n  file: {matchPaths: [{path: /a}]}\n  action: Block\n"
	wrong := strings.Replace(block("told", "wrong", "/b"), "spec:", "spec:\n  selector:\n    matchLabels:\n      kubearmor.io/container.name: '('", 1)
	everywhere := strings.Replace(blockEverywhere("partly-everywhere", "In", "told"), "spec:", "spec:\n  apparmor: 'deny /x r,'", 1)
	s.Apply(t, partly+"---\n"+wrong+"---\n"+everywhere)
	// Two sidekicks say the same once.
	one, two := follow(t, s.Kubeconfig(t, ""), "told"), follow(t, s.Kubeconfig(t, ""), "told")
	one.Becomes("partly-everywhere=/partly-everywhere partly=/a")
	two.Becomes("partly-everywhere=/partly-everywhere partly=/a")
	events := func(namespace string) (all []string) {
		for _, e := range s.List(t, eventResource, namespace) {
			kind, _, _ := unstructured.NestedString(e.Object, "involvedObject", "kind")
			name, _, _ := unstructured.NestedString(e.Object, "involvedObject", "name")
			reason, _, _ := unstructured.NestedString(e.Object, "reason")
			message, _, _ := unstructured.NestedString(e.Object, "message")
			if strings.HasPrefix(kind, "KubeArmor") {
				all = append(all, fmt.Sprintf("%s %s: %s: %s", kind, name, reason, message))
			}
		}
		slices.Sort(all)
		return all
	}
	want := map[string][]string{
		"told": {
			"KubeArmorPolicy partly: " + reasonDoubt + ": KubeArmorPolicy told/partly:",
			"KubeArmorPolicy partly: " + reasonLess + ": apparmor: ",
			"KubeArmorPolicy wrong: " + reasonWrong + ": KubeArmorPolicy told/wrong:",
		},
		"default": {
			"KubeArmorClusterPolicy partly-everywhere: " + reasonDoubt + ": KubeArmorClusterPolicy partly-everywhere:",
			"KubeArmorClusterPolicy partly-everywhere: " + reasonLess + ": apparmor: ",
		},
	}
	for namespace, want := range want {
		one.Until(func() string {
			got := events(namespace)
			same := slices.EqualFunc(got, want, strings.HasPrefix)
			if same {
				return ""
			}
			return fmt.Sprintf("the Events of %s are\n%s\nwant\n%s", namespace, strings.Join(got, "\n"), strings.Join(want, "\n"))
		})
	}
	s.Delete(t, everywhere)
}

func testWithoutRights(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("strict"))
	s.Apply(t, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: strict}\n")
	s.Apply(t, block("strict", "p", "/a"))
	f := follow(t, s.Kubeconfig(t, s.Token(t, "strict", "web")), "strict")
	f.Says("must not read policies")
	f.Says("done without")
	if got := f.Shown(); got != "pending" {
		t.Errorf("without rights %q is known", got)
	}
	for _, right := range []string{"kubearmorpolicies", "kubearmorclusterpolicies"} {
		s.Apply(t, fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: strict-%[1]s}
rules: [{apiGroups: [security.kubearmor.com], resources: [%[1]s], verbs: [list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: strict-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: strict-%[1]s}
subjects: [{kind: ServiceAccount, name: web, namespace: strict}]
`, right))
	}
	f.Becomes("p=/a")
}

func testServerAwayAndBack(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("away"))
	s.Apply(t, block("away", "before", "/a"))
	way := newWay(t, s)
	f := follow(t, s.KubeconfigBy(t, way.url, way.caFile, ""), "away")
	f.Becomes("before=/a")

	// Killed, and started anew while the source cannot reach it: what it saw last is
	// then too old to watch on from.
	s.Kill()
	f.Says("the API server cannot be asked")
	way.shut()
	s.Run(t)
	s.Apply(t, block("away", "meanwhile", "/b"))
	s.Delete(t, block("away", "before", "/a"))
	if got := f.Shown(); got != "before=/a" {
		t.Errorf("while the server is away %q is known", got)
	}
	way.open()
	f.Becomes("meanwhile=/b")
	f.Says("followed again")

	// A watch that the server ends as expired, and one whose connection breaks.
	for i, fault := range []fault{expired, broken} {
		way.next(fault)
		s.Apply(t, block("away", "after", fmt.Sprintf("/%d", i)))
		f.Becomes(fmt.Sprintf("after=/%d meanwhile=/b", i))
		if !way.happened(fault) {
			t.Errorf("fault %d did not happen", fault)
		}
	}
	s.Delete(t, block("away", "after", "/"))
	f.Becomes("meanwhile=/b")
}

func testDefinitionsThatAreRemoved(t *testing.T, s *kube.Server) {
	s.Apply(t, namespace("late"))
	s.Apply(t, block("late", "p", "/a"))
	f := follow(t, s.Kubeconfig(t, ""), "late")
	f.Becomes("p=/a")
	s.Delete(t, kube.CRDs(t))
	f.Becomes("") // with its definition a policy is deleted
}
