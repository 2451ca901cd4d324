package ocsf

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Setting is the one by which an output that sends events as JSON says in which.
func Setting() outputs.Setting {
	return outputs.Setting{Key: "format", Default: "json", Usage: "json, the events as KubeArmor and Falco write them, or ocsf, as Detection Findings of OCSF"}
}

// Encoder gives what Setting asks for.
func Encoder(v outputs.Values) (func(*schema.Event) ([]byte, error), error) {
	switch v.String("format") {
	case "json":
		return (*schema.Event).Body, nil
	case "ocsf":
		return Encode, nil
	}
	return nil, fmt.Errorf("%s: %q is neither json nor ocsf", v.Name("format"), v.String("format"))
}

// Encode gives an event as a Detection Finding.
func Encode(e *schema.Event) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(of(e)); err != nil {
		return nil, fmt.Errorf("encode finding: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func of(e *schema.Event) *finding {
	f := &finding{
		ActivityID: activityID, ActivityName: "Create", CategoryUID: categoryUID, CategoryName: "Findings",
		ClassUID: classUID, ClassName: "Detection Finding", TypeUID: typeUID, TypeName: "Detection Finding: Create",
		Time: millis(e.Time()), StatusID: 1, Status: "New", IsAlert: e.Log == nil,
		Metadata: metadata{
			Version: version, UID: e.ID, Product: product{"SideArmor", "SideArmor"}, Profiles: []string{"security_control"},
			LogName: "KubeArmor", LoggedTime: millis(e.Received),
		},
		Info: info{UID: cmp.Or(e.ID, "unknown"), CreatedTime: millis(e.Time())},
	}
	f.SeverityID, f.Severity = severity(e.Priority())
	f.outcome(e)
	if e.Falco != nil {
		f.falco(e.Falco)
		return f
	}
	f.kubearmor(e)
	return f
}

func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }

// outcome is what became of the operation, by the profile's two scales.
func (f *finding) outcome(e *schema.Event) {
	f.ActionID, f.Action, f.DispositionID, f.Disposition = 0, "Unknown", 15, "Detected"
	switch {
	case e.Blocked():
		f.ActionID, f.Action, f.DispositionID, f.Disposition = 2, "Denied", 2, "Blocked"
	case e.Falco != nil, summary.Record(e).Result == schema.ResultPassed:
		f.ActionID, f.Action = 1, "Allowed"
	}
	if e.Log != nil {
		f.DispositionID, f.Disposition = 17, "Logged"
	}
}

// severity is one of OCSF's six.
func severity(p schema.Priority) (id int, name string) {
	switch {
	case p >= schema.PriorityEmergency:
		return 6, "Fatal"
	case p >= schema.PriorityCritical:
		return 5, "Critical"
	case p == schema.PriorityError:
		return 4, "High"
	case p == schema.PriorityWarning:
		return 3, "Medium"
	case p == schema.PriorityNotice:
		return 2, "Low"
	case p > schema.PriorityDefault:
		return 1, "Informational"
	}
	return 0, "Unknown"
}

// technique is how KubeArmor's and Falco's tags name techniques of ATT&CK:
// MITRE_T1105_ingress_tool_transfer, T1059.004.
var technique = regexp.MustCompile(`^(?:MITRE_)?(T[0-9]{4})(\.[0-9]{3})?(?:_(.*))?$`)

func attackOf(tag string) (attack, bool) {
	m := technique.FindStringSubmatch(tag)
	if m == nil {
		return attack{}, false
	}
	name := strings.ReplaceAll(m[3], "_", " ")
	if m[2] == "" {
		return attack{Technique: named{UID: m[1], Name: name}}, true
	}
	return attack{Technique: named{UID: m[1]}, SubTechnique: &named{UID: m[1] + m[2], Name: name}}, true
}

func (f *finding) tag(tags []string) {
	for _, tag := range tags {
		tag = strings.TrimSpace(tag)
		if tag == "" {
			continue
		}
		f.Metadata.Labels = append(f.Metadata.Labels, tag)
		if a, ok := attackOf(tag); ok {
			f.Info.Attacks = append(f.Info.Attacks, a)
		}
	}
}

// rule is an analytic of the kind that both sources have.
func rule(name string) *named {
	if name == "" {
		return nil
	}
	return &named{Name: name, TypeID: 1, Type: "Rule"}
}
