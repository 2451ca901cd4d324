package otlp

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"

	"github.com/sidearmor/sidearmor/schema"
)

// request puts the records of one origin under one resource.
func request(batch []schema.Event) *collector.ExportLogsServiceRequest {
	var r collector.ExportLogsServiceRequest
	scopes := map[string]*logs.ScopeLogs{}
	for i := range batch {
		f := batch[i].ToFalco()
		attributes := origin(&batch[i], &f)
		key := fmt.Sprint(attributes)
		scope := scopes[key]
		if scope == nil {
			scope = &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "github.com/sidearmor/sidearmor"}}
			scopes[key] = scope
			r.ResourceLogs = append(r.ResourceLogs, &logs.ResourceLogs{
				Resource:  &resource.Resource{Attributes: attributes},
				ScopeLogs: []*logs.ScopeLogs{scope},
			})
		}
		scope.LogRecords = append(scope.LogRecords, record(&batch[i], &f))
	}
	return &r
}

// origin is who an event is about, by the names of OpenTelemetry's semantic
// conventions (https://opentelemetry.io/docs/specs/semconv/resource/).
func origin(e *schema.Event, f *schema.FalcoEvent) []*common.KeyValue {
	list := []*common.KeyValue{text("service.name", "sidearmor")}
	add := func(name, value string) {
		if value != "" {
			list = append(list, text(name, value))
		}
	}
	add("host.name", f.Hostname)
	switch {
	case e.Alert != nil:
		add("k8s.cluster.name", e.Alert.ClusterName)
	case e.Log != nil:
		add("k8s.cluster.name", e.Log.ClusterName)
	}
	for _, known := range [][2]string{
		{"k8s.namespace.name", "k8s.ns.name"},
		{"k8s.pod.name", "k8s.pod.name"},
		{"container.id", "container.id"},
		{"container.name", "container.name"},
		{"container.image.name", "container.image"},
	} {
		value, _ := f.OutputFields[known[1]].(string)
		add(known[0], value)
	}
	return list
}

func record(e *schema.Event, f *schema.FalcoEvent) *logs.LogRecord {
	r := &logs.LogRecord{
		TimeUnixNano:         nanos(e.Time()),
		ObservedTimeUnixNano: nanos(e.Received),
		SeverityNumber:       severity(f.Priority),
		SeverityText:         f.Priority.String(),
		Body:                 &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(f.Output)}},
		EventName:            string(e.Kind),
		Attributes:           []*common.KeyValue{text("log.record.uid", e.ID), text("rule", f.Rule), text("source", f.Source)},
	}
	if len(f.Tags) > 0 {
		tags := &common.ArrayValue{}
		for _, tag := range f.Tags {
			tags.Values = append(tags.Values, &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(tag)}})
		}
		r.Attributes = append(r.Attributes, &common.KeyValue{
			Key: "tags", Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: tags}},
		})
	}
	taken := map[string]bool{"log.record.uid": true, "rule": true, "source": true, "tags": true}
	for _, name := range slices.Sorted(maps.Keys(f.OutputFields)) {
		key := valid(name)
		if key == "" || taken[key] || f.OutputFields[name] == nil {
			continue // an attribute must have a name, and no two have the same
		}
		taken[key] = true
		r.Attributes = append(r.Attributes, text(key, plain(f.OutputFields[name])))
	}
	return r
}

// plain writes a field as text: Falco's types of one field vary, and backends
// keep to the first that they see.
func plain(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(body)
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(value)}}}
}

// valid is s as protobuf allows it.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func nanos(t time.Time) uint64 {
	if t.IsZero() {
		return 0 // unknown
	}
	return uint64(max(t.UnixNano(), 0))
}

// severity follows the mapping of syslog's levels
// (https://opentelemetry.io/docs/specs/otel/logs/data-model-appendix/#appendix-b-severitynumber-example-mappings).
func severity(p schema.Priority) logs.SeverityNumber {
	switch p {
	case schema.PriorityEmergency:
		return logs.SeverityNumber_SEVERITY_NUMBER_FATAL
	case schema.PriorityAlert:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR3
	case schema.PriorityCritical:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR2
	case schema.PriorityError:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR
	case schema.PriorityWarning:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN
	case schema.PriorityNotice:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO2
	case schema.PriorityInformational:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO
	case schema.PriorityDebug:
		return logs.SeverityNumber_SEVERITY_NUMBER_DEBUG
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_UNSPECIFIED
}
