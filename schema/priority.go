package schema

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Priority is Falco's scale of importance.
type Priority int

// Falco's priorities, ascending (falcosidekick types/priority.go).
const (
	PriorityDefault Priority = iota // none given
	PriorityDebug
	PriorityInformational
	PriorityNotice
	PriorityWarning
	PriorityError
	PriorityCritical
	PriorityAlert
	PriorityEmergency
)

var priorityNames = [...]string{"", "Debug", "Informational", "Notice", "Warning", "Error", "Critical", "Alert", "Emergency"}

// String gives Falco's spelling; "" for PriorityDefault.
func (p Priority) String() string {
	if p < 0 || int(p) >= len(priorityNames) {
		return ""
	}
	return priorityNames[p]
}

// ParsePriority reads a priority in any case; "info" is Informational. Unlike
// FalcoSidekick, which takes a misspelt priority for "everything", it refuses.
func ParsePriority(s string) (Priority, error) {
	if strings.EqualFold(s, "info") {
		return PriorityInformational, nil
	}
	for p, name := range priorityNames {
		if p > 0 && strings.EqualFold(s, name) {
			return Priority(p), nil
		}
	}
	return PriorityDefault, fmt.Errorf("unknown priority %q: use one of %s", s, strings.Join(priorityNames[1:], ", "))
}

// MarshalJSON writes Falco's spelling.
func (p Priority) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// UnmarshalJSON reads a priority by ParsePriority, and "", which MarshalJSON
// writes for PriorityDefault.
func (p *Priority) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	if s == "" {
		*p = PriorityDefault
		return nil
	}
	v, err := ParsePriority(s)
	if err != nil {
		return err
	}
	*p = v
	return nil
}
