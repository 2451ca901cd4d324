package kubernetes

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/sidearmor/sidearmor/schema/policy"
)

// place names an object for people.
func place(o *unstructured.Unstructured) string {
	name := o.GetName()
	if o.GetNamespace() != "" {
		name = o.GetNamespace() + "/" + name
	}
	return o.GetKind() + " " + name
}

// body writes a policy as `kubectl get -o yaml` does, so that the lines that errors
// name are those that its author sees, without what Kubernetes keeps for itself.
func body(o *unstructured.Unstructured) string {
	o = o.DeepCopy()
	o.SetManagedFields(nil)
	delete(o.Object, "status")
	text, err := yaml.Marshal(o.Object)
	if err != nil {
		return "" // of what was read as JSON there is none
	}
	return string(text)
}

// settings reads the annotations of a pod or a namespace. What is wrong says nothing,
// as where KubeArmor reads it.
func (s *Source) settings(o *unstructured.Unstructured) policy.Settings {
	all := o.GetAnnotations()
	one := func(name string, values ...string) string {
		value := strings.TrimSpace(all[name])
		if value == "" || slices.Contains(values, value) {
			return value
		}
		s.log.Warn("an annotation has no effect", "of", place(o), "annotation", name, "value", value, "known", values)
		return ""
	}
	postures := []string{policy.PostureAudit, policy.PostureBlock}
	return policy.Settings{
		Mode:        one(policy.ModeAnnotation, policy.ModeEnabled, policy.ModeAudited, policy.ModeDisabled),
		FilePosture: one(policy.FilePostureAnnotation, postures...), NetworkPosture: one(policy.NetworkPostureAnnotation, postures...),
		CapabilitiesPosture: one(policy.CapabilitiesPostureAnnotation, postures...),
		Visibility:          strings.TrimSpace(all[policy.VisibilityAnnotation]),
	}
}
