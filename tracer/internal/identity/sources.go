package identity

import spolicy "github.com/sidearmor/sidearmor/schema/policy"

// ecs is where what only the metadata tell comes from.
const ecs = "the ECS metadata (" + MetadataVariable + ")"

// sources says where what policies select by is from, or is awaited from, in the
// order of resolve.
func (f *facts) sources() (s spolicy.Sources) {
	switch {
	case f.env["POD_NAMESPACE"] != "":
		s.Namespace = "POD_NAMESPACE"
	case f.env["NAMESPACE"] != "":
		s.Namespace = "NAMESPACE"
	case f.namespace != "":
		s.Namespace = "the service account"
	}
	switch {
	case f.env["CONTAINER_NAME"] != "":
		s.Container = "CONTAINER_NAME"
	case f.awaitsECS || f.task.Container.Name != "":
		s.Container = ecs
	case f.kubeletContainer != "":
		s.Container = "the kubelet's mounts"
	case f.hostname != "":
		s.Container = "the hostname"
	}
	switch {
	case parseLabels(f.env["POD_LABELS"]) != nil:
		s.Labels = "POD_LABELS"
	case f.labels != nil || f.awaitsLabels:
		s.Labels = "LABELS_FILE " + f.env["LABELS_FILE"]
	case f.awaitsECS || f.task.Container.Labels != nil:
		s.Labels = ecs
	case f.env["LABELS_FILE"] != "":
		s.Labels = "LABELS_FILE " + f.env["LABELS_FILE"]
	}
	return s
}
