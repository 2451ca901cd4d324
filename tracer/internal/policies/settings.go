package policies

import (
	"cmp"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// settings are what a source says of namespaces and pods beside its policies.
type settings struct {
	namespaces map[string]spolicy.Settings // by name
	pods       map[string]spolicy.Settings // by "namespace/name"
}

// effectiveSettings are those of one container.
type effectiveSettings spolicy.Settings

// effective gives the settings for this container: those of its pod before those of
// its namespace, of later sources before those of earlier ones. h.mu is held.
func (h *Hub) effective() (e effectiveSettings) {
	var pod, namespace spolicy.Settings
	for _, s := range h.sources {
		if s.settings != nil {
			namespace = over(namespace, s.settings.namespaces[h.told.Namespace])
			pod = over(pod, s.settings.pods[h.told.Namespace+"/"+h.told.Pod])
		}
	}
	return effectiveSettings(over(namespace, pod))
}

// over gives what the later settings say, and else the earlier.
func over(earlier, later spolicy.Settings) spolicy.Settings {
	labels := later.Labels
	if labels == nil {
		labels = earlier.Labels
	}
	return spolicy.Settings{
		Mode:                cmp.Or(later.Mode, earlier.Mode),
		FilePosture:         cmp.Or(later.FilePosture, earlier.FilePosture),
		NetworkPosture:      cmp.Or(later.NetworkPosture, earlier.NetworkPosture),
		CapabilitiesPosture: cmp.Or(later.CapabilitiesPosture, earlier.CapabilitiesPosture),
		Visibility:          cmp.Or(later.Visibility, earlier.Visibility),
		Labels:              labels,
	}
}

// posture gives the posture that holds where that of the start is another. What is
// none of KubeArmor's values says nothing.
func (e effectiveSettings) posture(start rules.Posture) rules.Posture {
	known := func(value, otherwise string) string {
		if value == rules.PostureAudit || value == rules.PostureBlock {
			return value
		}
		return otherwise
	}
	return rules.Posture{
		File:         known(e.FilePosture, start.File),
		Network:      known(e.NetworkPosture, start.Network),
		Capabilities: known(e.CapabilitiesPosture, start.Capabilities),
	}
}

// mode gives the mode of a policy where all of the container may have another: that
// which does less counts. What is none of KubeArmor's values says nothing.
func (e effectiveSettings) mode(own spolicy.Mode) spolicy.Mode {
	all, err := spolicy.ParseMode(e.Mode)
	if err != nil {
		return own
	}
	return max(own, all)
}

// visible gives what is shown of the container's work, as KubeArmor's annotation says it;
// nil where it says nothing. Words that are not known show nothing.
func (e effectiveSettings) visible() *rules.Operation {
	if e.Visibility == "" {
		return nil
	}
	var shown rules.Operation
	for word := range strings.SplitSeq(e.Visibility, ",") {
		switch op, err := rules.ParseOperations(word); {
		case err != nil: // "none", and what KubeArmor alone has
		case op == rules.Capabilities:
			shown |= rules.Syscall // as the setting has it
		default:
			shown |= op
		}
	}
	return &shown
}

// labelled gives a container with the labels that its pod has now, where a source says
// them.
func (e effectiveSettings) labelled(t spolicy.Target) spolicy.Target {
	if e.Labels != nil {
		t.Labels, t.From.Labels = e.Labels, "the cluster"
		t.Pending &^= spolicy.FactLabels
	}
	return t
}
