package filter

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/sidearmor/sidearmor/schema"
)

// field is one that expressions can ask for. get never gives nil; what an event
// does not have is empty.
type field struct {
	kind *types.Type
	get  func(e *schema.Event) any
}

// Fields names the fields of event, with their types as CEL writes them.
func Fields() map[string]string {
	names := map[string]string{}
	for name, f := range fields() {
		names[name] = strings.TrimPrefix(strings.ToLower(f.kind.String()), "google.protobuf.")
	}
	return names
}

func fields() map[string]field {
	texts := map[string]func(e *schema.Event) string{
		"kind": func(e *schema.Event) string { return string(e.Kind) },
		"id":   func(e *schema.Event) string { return e.ID },

		"action":   ofAlert(func(a *schema.Alert) string { return a.Action }),
		"policy":   ofAlert(func(a *schema.Alert) string { return a.PolicyName }),
		"enforcer": ofAlert(func(a *schema.Alert) string { return a.Enforcer }),
		"message":  ofAlert(func(a *schema.Alert) string { return a.Message }),

		"type":      ofRecord(func(r *schema.Record) string { return r.Type }),
		"operation": ofRecord(func(r *schema.Record) string { return r.Operation }),
		"cluster":   ofRecord(func(r *schema.Record) string { return r.ClusterName }),
		"node":      ofRecord(func(r *schema.Record) string { return r.NodeID }),
		"process":   ofRecord(func(r *schema.Record) string { return r.ProcessName }),
		"parent":    ofRecord(func(r *schema.Record) string { return r.ParentProcessName }),
		"resource":  ofRecord(func(r *schema.Record) string { return r.Resource }),
		"result":    ofRecord(func(r *schema.Record) string { return r.Result }),
		"cwd":       ofRecord(func(r *schema.Record) string { return r.Cwd }),
		"tty":       ofRecord(func(r *schema.Record) string { return r.TTY }),
		"user":      ofRecord(func(r *schema.Record) string { return r.UserName }),
		"owner":     ofRecord(owner),

		"rule":   func(e *schema.Event) string { return ofFalco(e).Rule },
		"output": func(e *schema.Event) string { return ofFalco(e).Output },

		// Both have these; Falco's rules put most of them into output fields.
		"source":       either(func(r *schema.Record) string { return r.Source }, func(f *schema.FalcoEvent) string { return f.Source }),
		"host":         either(func(r *schema.Record) string { return r.HostName }, func(f *schema.FalcoEvent) string { return f.Hostname }),
		"namespace":    either(func(r *schema.Record) string { return r.NamespaceName }, outputField("k8s.ns.name")),
		"pod":          either(func(r *schema.Record) string { return r.PodName }, outputField("k8s.pod.name")),
		"container":    either(func(r *schema.Record) string { return r.ContainerName }, outputField("container.name")),
		"container_id": either(func(r *schema.Record) string { return r.ContainerID }, outputField("container.id")),
		"image":        either(func(r *schema.Record) string { return r.ContainerImage }, outputField("container.image.repository")),
	}
	all := map[string]field{
		"blocked":  {cel.BoolType, func(e *schema.Event) any { return e.Blocked() }},
		"priority": {cel.IntType, func(e *schema.Event) any { return int64(e.Priority()) }},
		"severity": {cel.IntType, severity},
		"uid":      {cel.IntType, func(e *schema.Event) any { return int64(record(e).UID) }},
		"pid":      {cel.IntType, func(e *schema.Event) any { return int64(record(e).PID) }},
		"time":     {cel.TimestampType, func(e *schema.Event) any { return e.Time() }},
		"tags":     {cel.ListType(cel.StringType), tags},
		"labels":   {cel.MapType(cel.StringType, cel.StringType), labels},
		"data":     {cel.MapType(cel.StringType, cel.StringType), func(e *schema.Event) any { return record(e).EventData }},
		"fields":   {cel.MapType(cel.StringType, cel.DynType), func(e *schema.Event) any { return ofFalco(e).OutputFields }},
	}
	for name, get := range texts {
		all[name] = field{cel.StringType, func(e *schema.Event) any { return get(e) }}
	}
	return all
}

func record(e *schema.Event) *schema.Record {
	return cmp.Or(e.Record(), &schema.Record{})
}

func ofFalco(e *schema.Event) *schema.FalcoEvent {
	if e.Falco == nil {
		return &schema.FalcoEvent{}
	}
	return e.Falco
}

func ofAlert(get func(*schema.Alert) string) func(*schema.Event) string {
	return func(e *schema.Event) string {
		if e.Alert == nil {
			return ""
		}
		return get(e.Alert)
	}
}

func ofRecord(get func(*schema.Record) string) func(*schema.Event) string {
	return func(e *schema.Event) string { return get(record(e)) }
}

func either(kubearmor func(*schema.Record) string, falco func(*schema.FalcoEvent) string) func(*schema.Event) string {
	return func(e *schema.Event) string {
		if e.Falco != nil {
			return falco(e.Falco)
		}
		return kubearmor(record(e))
	}
}

// outputField gives an output field if it is a text.
func outputField(name string) func(*schema.FalcoEvent) string {
	return func(f *schema.FalcoEvent) string {
		text, _ := f.OutputFields[name].(string)
		return text
	}
}

func owner(r *schema.Record) string {
	if r.Owner == nil {
		return ""
	}
	return r.Owner.Name
}

// severity is 0 where the policy gave none.
func severity(e *schema.Event) any {
	if e.Alert == nil {
		return int64(0)
	}
	n, err := strconv.ParseInt(e.Alert.Severity, 10, 32)
	if err != nil {
		return int64(0)
	}
	return n
}

func tags(e *schema.Event) any {
	switch {
	case e.Falco != nil:
		return e.Falco.Tags
	case e.Alert == nil:
		return []string(nil)
	case len(e.Alert.ATags) > 0:
		return e.Alert.ATags
	}
	var list []string
	for tag := range strings.SplitSeq(e.Alert.Tags, ",") {
		if tag = strings.TrimSpace(tag); tag != "" {
			list = append(list, tag)
		}
	}
	return list
}

// labels reads "k=v,k=v".
func labels(e *schema.Event) any {
	set := map[string]string{}
	for pair := range strings.SplitSeq(record(e).Labels, ",") {
		if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key != "" {
			set[key] = value
		}
	}
	return set
}

// isSet is what has() asks: whether a field is other than empty.
func isSet(value any) bool {
	switch v := value.(type) {
	case string:
		return v != ""
	case bool:
		return v
	case int64:
		return v != 0
	case time.Time:
		return !v.IsZero()
	case []string:
		return len(v) > 0
	case map[string]string:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}
