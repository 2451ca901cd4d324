package securityhub

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/securityhub/types"

	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/summary"
	"github.com/sidearmor/sidearmor/schema"
)

// Bounds of the format
// (https://docs.aws.amazon.com/securityhub/latest/userguide/securityhub-findings-format-attributes.html),
// and of ours where it has room for more.
const (
	maxID          = 512
	maxTitle       = 256
	maxDescription = 1024
	maxName        = 64 // of a process
	maxPath        = 512
	maxFields      = 40
	maxKey         = 128
	maxValue       = 512
)

// vendor is the name of the product and of its company.
const vendor = "SideArmor"

// timeLayout is RFC 3339 to the millisecond.
const timeLayout = "2006-01-02T15:04:05.000Z"

// origin is what all findings share.
type origin struct {
	account, region, product string
	partition                types.Partition
}

func (o *origin) finding(e *schema.Event) types.AwsSecurityFinding {
	sum := summary.Of(e)
	title, description, generator := sum.Outcome.String()+": "+sum.Headline, cmp.Or(sum.Message, sum.Headline), ""
	fields := map[string]string{}
	switch {
	case e.Falco != nil:
		title, description, generator = e.Falco.Rule, e.Falco.Output, e.Falco.Rule
		for key, value := range e.Falco.OutputFields {
			fields[key] = summary.Scalar(value)
		}
	case e.Alert != nil:
		generator = e.Alert.PolicyName
	}
	for _, f := range slices.Concat(sum.Facts, sum.More) {
		fields[f.Name] = f.Value
	}
	severity := types.Severity{Label: label(e.Priority())}
	if p := e.Priority().String(); p != "" {
		severity.Original = &p
	}
	return types.AwsSecurityFinding{
		SchemaVersion: aws.String("2018-10-08"),
		Id:            text("sidearmor/"+e.ID, maxID),
		ProductArn:    &o.product,
		ProductName:   aws.String(vendor),
		CompanyName:   aws.String(vendor),
		AwsAccountId:  &o.account,
		GeneratorId:   text("sidearmor/"+cmp.Or(generator, summary.Record(e).Operation, string(e.Kind)), maxID),
		CreatedAt:     aws.String(e.Time().Format(timeLayout)),
		UpdatedAt:     aws.String(e.Time().Format(timeLayout)),
		Title:         text(cmp.Or(title, "Falco event"), maxTitle),
		Description:   text(cmp.Or(description, title, "Falco event"), maxDescription),
		Types:         []string{"Unusual Behaviors/Container"},
		Severity:      &severity,
		FindingProviderFields: &types.FindingProviderFields{
			Severity: &types.FindingProviderSeverity{Label: severity.Label, Original: severity.Original},
			Types:    []string{"Unusual Behaviors/Container"},
		},
		Process:       process(summary.Record(e)),
		ProductFields: bounded(fields),
		RecordState:   types.RecordStateActive,
		Resources:     []types.Resource{o.resource(e)},
	}
}

// resource is the container, by the names that it has for whoever looks for it.
func (o *origin) resource(e *schema.Event) types.Resource {
	r := summary.Record(e)
	resource := types.Resource{
		Type: aws.String("Container"), Id: text(cmp.Or(summary.Place(e), "unknown"), maxID),
		Partition: o.partition, Region: &o.region,
	}
	if r.ContainerName != "" || r.ContainerImage != "" {
		resource.Details = &types.ResourceDetails{Container: &types.ContainerDetails{
			Name: optional(r.ContainerName, maxTitle), ImageName: optional(r.ContainerImage, maxPath),
		}}
	}
	return resource
}

func process(r *schema.Record) *types.ProcessDetails {
	if r.ProcessName == "" && r.PID <= 0 {
		return nil
	}
	p := &types.ProcessDetails{Path: optional(r.ProcessName, maxPath)}
	if r.ProcessName != "" {
		p.Name = optional(path.Base(r.ProcessName), maxName)
	}
	if r.PID > 0 {
		p.Pid = &r.PID
	}
	if r.PPID > 0 {
		p.ParentPid = &r.PPID
	}
	return p
}

// bounded keeps fields within the format's limits. Names are cut, and the empty ones
// left out; of many the first by name stay.
func bounded(fields map[string]string) map[string]string {
	list := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		name, value := clip.Line(key, maxKey-len("sidearmor/"), nil), clip.Line(fields[key], maxValue, nil)
		if strings.TrimSpace(name) == "" || value == "" || len(list) == maxFields {
			continue
		}
		list["sidearmor/"+name] = value
	}
	return list
}

// label is one of Security Hub's five severities.
func label(p schema.Priority) types.SeverityLabel {
	switch {
	case p >= schema.PriorityCritical:
		return types.SeverityLabelCritical
	case p == schema.PriorityError:
		return types.SeverityLabelHigh
	case p == schema.PriorityWarning:
		return types.SeverityLabelMedium
	case p == schema.PriorityNotice:
		return types.SeverityLabelLow
	}
	return types.SeverityLabelInformational
}

func text(s string, limit int) *string { return aws.String(clip.Line(s, limit, nil)) }

func optional(s string, limit int) *string {
	if s == "" {
		return nil
	}
	return text(s, limit)
}
