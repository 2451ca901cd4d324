package eks

import (
	"bufio"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/sidearmor/sidearmor/schema/policy"
)

// manifest is what sidearmor.yaml creates.
type manifest struct {
	namespace  corev1.Namespace
	account    corev1.ServiceAccount
	secret     corev1.Secret
	deployment appsv1.Deployment
}

func (m *manifest) pod() *corev1.PodSpec { return &m.deployment.Spec.Template.Spec }

func TestManifestFitsTogether(t *testing.T) {
	m := load(t)
	for kind, namespace := range map[string]string{
		"service account": m.account.Namespace, "secret": m.secret.Namespace, "deployment": m.deployment.Namespace,
	} {
		if namespace != m.namespace.Name {
			t.Errorf("%s is in namespace %q, not %q", kind, namespace, m.namespace.Name)
		}
	}
	pod := m.pod()
	if pod.ServiceAccountName != m.account.Name || m.account.Annotations["eks.amazonaws.com/role-arn"] == "" {
		t.Errorf("pod runs as %q, service account %+v", pod.ServiceAccountName, m.account.ObjectMeta)
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.HostPath != nil {
			t.Errorf("volume %s: Fargate has no host paths", v.Name)
		}
	}
	for _, c := range containers(pod) {
		for _, v := range c.VolumeMounts {
			if !volumes[v.Name] {
				t.Errorf("%s mounts volume %s, which the pod does not have", c.Name, v.Name)
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom == nil || e.ValueFrom.SecretKeyRef == nil {
				continue
			}
			ref := e.ValueFrom.SecretKeyRef
			if _, ok := m.secret.StringData[ref.Key]; !ok || ref.Name != m.secret.Name {
				t.Errorf("%s: %s: no key %s in Secret %s", c.Name, e.Name, ref.Key, ref.Name)
			}
		}
	}
}

// EKS Fargate schedules no pod that adds a capability or wants the host.
func TestPodIsUnprivileged(t *testing.T) {
	pod := load(t).pod()
	if pod.HostNetwork || pod.HostPID || pod.HostIPC || pod.ShareProcessNamespace != nil {
		t.Error("the pod shares namespaces that it must not share")
	}
	if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("pod security context %+v", pod.SecurityContext)
	}
	for _, c := range containers(pod) {
		s := c.SecurityContext
		if s == nil || s.Capabilities == nil {
			t.Errorf("%s: no security context", c.Name)
			continue
		}
		if len(s.Capabilities.Add) != 0 || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s: capabilities %+v, want none added and ALL dropped", c.Name, s.Capabilities)
		}
		if s.RunAsUser == nil || *s.RunAsUser == 0 || s.Privileged != nil {
			t.Errorf("%s: user %v, privileged %v", c.Name, s.RunAsUser, s.Privileged)
		}
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: may escalate %v, read-only root %v", c.Name, s.AllowPrivilegeEscalation, s.ReadOnlyRootFilesystem)
		}
	}
}

func TestInstallAndSidekick(t *testing.T) {
	pod := load(t).pod()
	if len(pod.InitContainers) != 2 || pod.InitContainers[0].Name != "install" || pod.InitContainers[1].Name != "sidekick" {
		t.Fatalf("init containers %+v", pod.InitContainers)
	}
	install, sidekick := pod.InitContainers[0], pod.InitContainers[1]
	if !slices.Equal(install.Args, []string{"install", "/sidearmor"}) || install.Command != nil || install.RestartPolicy != nil {
		t.Errorf("install runs %q %q, restart policy %v", install.Command, install.Args, install.RestartPolicy)
	}
	if sidekick.RestartPolicy == nil || *sidekick.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("sidekick is no sidecar: restart policy %v", sidekick.RestartPolicy)
	}
	for what, probe := range map[string]*corev1.Probe{"startup": sidekick.StartupProbe, "liveness": sidekick.LivenessProbe} {
		if probe == nil || probe.Exec == nil || !slices.Equal(probe.Exec.Command, []string{"/sidekick", "healthcheck"}) {
			t.Errorf("%s probe %+v", what, probe)
		}
	}
	if env(sidekick, "POLICIES_KUBERNETES").Value != "true" || env(sidekick, "AUTH_TOKEN").ValueFrom == nil {
		t.Error("the sidekick does not follow the cluster, or knows no token")
	}
	for name, field := range map[string]string{"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"} {
		if e := env(sidekick, name); e.ValueFrom == nil || e.ValueFrom.FieldRef == nil || e.ValueFrom.FieldRef.FieldPath != field {
			t.Errorf("%s of the sidekick does not come from %s", name, field)
		}
	}
	queue := env(sidekick, "QUEUE_DIR").Value
	if !slices.ContainsFunc(sidekick.VolumeMounts, func(v corev1.VolumeMount) bool { return strings.HasPrefix(queue, v.MountPath+"/") }) {
		t.Errorf("queue directory %q is not on a volume", queue)
	}
	if env(sidekick, "SLACK_WEBHOOKURL").ValueFrom == nil {
		t.Error("the Slack address is in plain text")
	}
}

func TestApplicationContainer(t *testing.T) {
	app := load(t).pod().Containers[0]
	if want := []string{"/sidearmor/tracer", "run", "--"}; !slices.Equal(app.Command, want) || len(app.Args) == 0 {
		t.Errorf("command %q args %q, want %q and the image's own command line", app.Command, app.Args, want)
	}
	for name, field := range map[string]string{
		"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "NODE_NAME": "spec.nodeName",
	} {
		if e := env(app, name); e.ValueFrom == nil || e.ValueFrom.FieldRef == nil || e.ValueFrom.FieldRef.FieldPath != field {
			t.Errorf("%s does not come from %s", name, field)
		}
	}
	if got := env(app, "CONTAINER_NAME").Value; got != app.Name {
		t.Errorf("CONTAINER_NAME is %q, the container %q", got, app.Name)
	}
	mounted := map[string]corev1.VolumeMount{}
	for _, v := range app.VolumeMounts {
		mounted[v.Name] = v
	}
	if v := mounted["sidearmor"]; v.MountPath != "/sidearmor" || !v.ReadOnly {
		t.Errorf("the tracer is mounted as %+v", v)
	}
	if env(app, "TRACER_SIDEKICK_POLICIES").Value != "true" || env(app, "SIDEKICK_TOKEN").ValueFrom == nil {
		t.Error("policies do not come from the sidekick, or it need not prove itself")
	}
	if _, ok := mounted["kubernetes"]; ok {
		t.Error("the application has the service account's token")
	}
	if v := mounted["podinfo"]; v.MountPath+"/labels" != env(app, "LABELS_FILE").Value {
		t.Errorf("labels are mounted as %+v and read from %q", v, env(app, "LABELS_FILE").Value)
	}
}

// The policies must be valid and apply to the very pod that they come with.
func TestPolicies(t *testing.T) {
	m := load(t)
	target := policy.Target{
		Namespace: m.deployment.Namespace,
		Pod:       "web-0",
		Container: m.pod().Containers[0].Name,
		Labels:    labels.Set(m.deployment.Spec.Template.Labels),
	}
	documents, err := policy.ParseStrict("policies.yaml", strings.NewReader(content(t, "policies.yaml")))
	if err != nil || len(documents) == 0 {
		t.Fatalf("%d policies: %v", len(documents), err)
	}
	for _, d := range documents {
		if !d.Selects(target) || d.Namespace != m.namespace.Name {
			t.Errorf("%s does not select the pod", d.Name)
		}
	}
}

func content(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func containers(pod *corev1.PodSpec) []corev1.Container {
	return slices.Concat(pod.InitContainers, pod.Containers)
}

func env(c corev1.Container, name string) corev1.EnvVar {
	for _, e := range c.Env {
		if e.Name == name {
			return e
		}
	}
	return corev1.EnvVar{}
}

// load decodes sidearmor.yaml as the API server would with field validation on.
func load(t *testing.T) *manifest {
	t.Helper()
	m := &manifest{}
	into := map[string]any{
		"v1/Namespace": &m.namespace, "v1/ServiceAccount": &m.account, "v1/Secret": &m.secret,
		"apps/v1/Deployment": &m.deployment,
	}
	for docs := yamlutil.NewYAMLReader(bufio.NewReader(strings.NewReader(content(t, "sidearmor.yaml")))); ; {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal(doc, &head); err != nil {
			t.Fatal(err)
		}
		key := head.APIVersion + "/" + head.Kind
		object, ok := into[key]
		if !ok {
			t.Fatalf("unexpected or repeated object %s", key)
		}
		delete(into, key)
		if err := yaml.UnmarshalStrict(doc, object); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	if len(into) != 0 {
		t.Fatalf("missing objects: %v", into)
	}
	return m
}
