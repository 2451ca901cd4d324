package ocsf

import (
	"cmp"
	"strconv"

	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// falco takes what it can of the output fields, by the names that Falco's own rules
// use; all of them are among what is unmapped as well.
func (f *finding) falco(e *schema.FalcoEvent) {
	f.Metadata.LogName = "Falco"
	f.Info.Title, f.Info.Desc = cmp.Or(e.Rule, "Falco event"), e.Output
	f.Message, f.Info.Analytic = e.Output, rule(e.Rule)
	f.tag(e.Tags)
	f.Unmapped = map[string]any{}
	set(f.Unmapped, "source", e.Source)
	if len(e.OutputFields) > 0 {
		f.Unmapped["output_fields"] = e.OutputFields
	}
	field := func(name string) string { return summary.Scalar(e.OutputFields[name]) }
	ev := evidence{Container: containerOf(field("container.name"), field("container.id"), field("container.image.repository"))}
	if p := processOf(cmp.Or(field("proc.exepath"), field("proc.name")), number(field("proc.pid"))); p != nil {
		p.Command = field("proc.cmdline")
		if name, uid := field("user.name"), field("user.uid"); name != "" || uid != "" {
			p.User = &user{Name: name, UID: uid}
		}
		p.Parent = processOf(field("proc.pname"), number(field("proc.ppid")))
		ev.Actor = &actor{Process: p}
	}
	if e.Hostname != "" {
		ev.Device = &device{Hostname: e.Hostname}
	}
	if ev != (evidence{}) {
		f.Evidences = []evidence{ev}
	}
	if pod := field("k8s.pod.name"); pod != "" {
		f.Resources = []resource{{Type: "Pod", Name: pod, Namespace: field("k8s.ns.name")}}
	}
}

// number is 0 for what is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
