package policy

// Annotations of postures and of what is shown. KubeArmor has them on namespaces, the
// last one on pods as well. Here a policy may have the postures, too, for the containers
// that it selects.
const (
	FilePostureAnnotation         = "kubearmor-file-posture"
	NetworkPostureAnnotation      = "kubearmor-network-posture"
	CapabilitiesPostureAnnotation = "kubearmor-capabilities-posture"
	VisibilityAnnotation          = "kubearmor-visibility"
)

// Values of the annotations of postures.
const (
	PostureAudit = "audit"
	PostureBlock = "block"
)

// Settings are what is said of a namespace or of a pod beside its policies. A
// field that is "" says nothing. KubeArmor has them as annotations.
type Settings struct {
	Mode                string            `json:"mode,omitempty"`                // kubearmor-policy: enabled, audited or disabled
	FilePosture         string            `json:"filePosture,omitempty"`         // kubearmor-file-posture: audit or block
	NetworkPosture      string            `json:"networkPosture,omitempty"`      // kubearmor-network-posture
	CapabilitiesPosture string            `json:"capabilitiesPosture,omitempty"` // kubearmor-capabilities-posture
	Visibility          string            `json:"visibility,omitempty"`          // kubearmor-visibility: "process,file,network", or "none"
	Labels              map[string]string `json:"labels,omitzero"`               // of the pod, as they are now; nil where they are not said
}
