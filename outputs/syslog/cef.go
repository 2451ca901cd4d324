package syslog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// ArcSight's limits are 1023 characters for most values, 63 for some, 4000 for
// customs (Common Event Format, version 25).
const (
	maxHeader = 512
	maxValue  = 1000
)

type pair struct{ key, value string }

// cef is the event in ArcSight's Common Event Format.
func cef(e *schema.Event) string {
	if e.Falco != nil {
		return falcoCEF(e.Falco)
	}
	return kubearmorCEF(e)
}

// falcoCEF has the keys of FalcoSidekick in its order. Unlike there what foreign
// text could break the format with is escaped, and fields are in order of name.
func falcoCEF(f *schema.FalcoEvent) string {
	var fields []string
	for _, key := range slices.Sorted(maps.Keys(f.OutputFields)) {
		fields = append(fields, key+":"+fmt.Sprint(f.OutputFields[key]))
	}
	return header("Falcosecurity", "Falco", "1.0", "Falco Event", f.Rule, f.Priority) + extension([]pair{
		{"uuid", f.UUID},
		{"start", f.Time.Format(time.RFC3339)},
		{"msg", f.Output},
		{"source", f.Source},
		{"hostname", f.Hostname},
		{"outputfields", strings.Join(fields, " ")},
		{"tags", strings.Join(f.Tags, ",")},
	})
}

// kubearmorCEF uses the keys of CEF's dictionary, and its custom strings for what
// the dictionary has no key for.
func kubearmorCEF(e *schema.Event) string {
	s := summary.Of(e)
	r, a := summary.Record(e), &schema.Alert{}
	if e.Alert != nil {
		a = e.Alert
	}
	values := []pair{
		{"externalId", e.ID},
		{"start", strconv.FormatInt(e.Time().UnixMilli(), 10)},
		{"msg", cmp.Or(s.Message, s.Headline)},
		{"act", a.Action},
		{"outcome", r.Result},
		{"dvchost", r.HostName},
		{"sproc", cmp.Or(r.Source, r.ProcessName)},
		{"spid", strconv.Itoa(int(r.PID))},
		{"suid", strconv.Itoa(int(r.UID))},
		{"suser", r.UserName},
	}
	if r.Operation == schema.OperationFile {
		values = append(values, pair{"filePath", r.Resource})
	}
	for i, c := range []pair{
		{"Policy", a.PolicyName},
		{"Resource", r.Resource},
		{"Container", cmp.Or(r.ContainerName, r.ContainerID)},
		{"Pod", r.PodName},
		{"Namespace", r.NamespaceName},
		{"Cluster", r.ClusterName},
	} {
		if c.value != "" {
			key := "cs" + strconv.Itoa(i+1)
			values = append(values, pair{key + "Label", c.key}, pair{key, c.value})
		}
	}
	return header("KubeArmor", "KubeArmor", cmp.Or(a.KubeArmorVersion, "1.0"),
		cmp.Or(r.Operation, r.Type), s.Outcome.String()+": "+s.Headline, e.Priority()) + extension(values)
}

func header(vendor, product, version, class, name string, p schema.Priority) string {
	parts := []string{"CEF:0", vendor, product, version, class, name, cefSeverity(p)}
	for i := range parts {
		parts[i] = clip.Line(parts[i], maxHeader, inHeader)
	}
	return strings.Join(parts, "|") + "|"
}

// extension leaves out what is empty.
func extension(values []pair) string {
	var parts []string
	for _, v := range values {
		if v.value != "" {
			parts = append(parts, v.key+"="+clip.Line(v.value, maxValue, inExtension))
		}
	}
	return strings.Join(parts, " ")
}

func inHeader(r rune) string {
	if r == '|' || r == '\\' {
		return `\` + string(r)
	}
	return string(r)
}

func inExtension(r rune) string {
	if r == '=' || r == '\\' {
		return `\` + string(r)
	}
	return string(r)
}

// cefSeverity is FalcoSidekick's, 0 to 10.
func cefSeverity(p schema.Priority) string {
	switch p {
	case schema.PriorityDebug:
		return "0"
	case schema.PriorityInformational:
		return "3"
	case schema.PriorityNotice:
		return "4"
	case schema.PriorityWarning:
		return "6"
	case schema.PriorityError:
		return "7"
	case schema.PriorityCritical:
		return "8"
	case schema.PriorityAlert:
		return "9"
	case schema.PriorityEmergency:
		return "10"
	}
	return "Unknown"
}
