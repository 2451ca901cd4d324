package policy

import "fmt"

// ModeAnnotation says what policies do. KubeArmor has it on pods and namespaces,
// for all that apply there; here a policy may have it too, for itself.
const ModeAnnotation = "kubearmor-policy"

// Mode is what a policy does with what it decides.
type Mode uint8

// Modes, and the annotation's values.
const (
	Enforce Mode = iota // denies and alerts
	Watch               // lets pass what it would deny, and alerts
	Off                 // does not count at all

	ModeEnabled  = "enabled"
	ModeAudited  = "audited"
	ModeDisabled = "disabled"
)

// ParseMode reads the annotation's value; "" is Enforce.
func ParseMode(value string) (Mode, error) {
	switch value {
	case "", ModeEnabled:
		return Enforce, nil
	case ModeAudited:
		return Watch, nil
	case ModeDisabled:
		return Off, nil
	}
	return Enforce, fmt.Errorf("%s is %s: it must be %s, %s or %s", ModeAnnotation, quote(value), ModeEnabled, ModeAudited, ModeDisabled)
}

// String is the annotation's value.
func (m Mode) String() string {
	return [...]string{Enforce: ModeEnabled, Watch: ModeAudited, Off: ModeDisabled}[m]
}
