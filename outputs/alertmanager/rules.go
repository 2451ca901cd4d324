package alertmanager

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// rules are how alerts are made of events.
type rules struct {
	expires     time.Duration // 0: no end time
	labels      []pair
	annotations []pair
	severities  map[schema.Priority]string
	dropDefault schema.Priority
	dropFrom    []threshold // by number, highest first
}

type pair struct{ name, value string }

// threshold is the least priority of an event that tells of more than so many
// dropped ones.
type threshold struct {
	number   int64
	priority schema.Priority
}

// maxExpiry bounds expiresafter at a year.
const maxExpiry = 365 * 24 * 60 * 60

func newRules(v outputs.Values) (rules, error) {
	seconds, err := strconv.ParseUint(v.String("expiresafter"), 10, 32)
	if err != nil || seconds > maxExpiry {
		return rules{}, fmt.Errorf("%s: %q is not a number of seconds up to a year", v.Name("expiresafter"), v.String("expiresafter"))
	}
	r := rules{expires: time.Duration(seconds) * time.Second}
	if r.labels, err = names(v, "extralabels"); err != nil {
		return rules{}, err
	}
	if r.annotations, err = names(v, "extraannotations"); err != nil {
		return rules{}, err
	}
	if r.severities, err = severities(v); err != nil {
		return rules{}, err
	}
	if r.dropDefault, err = schema.ParsePriority(v.String("dropeventdefaultpriority")); err != nil {
		return rules{}, fmt.Errorf("%s: %w", v.Name("dropeventdefaultpriority"), err)
	}
	if r.dropFrom, err = thresholds(v); err != nil {
		return rules{}, err
	}
	return r, nil
}

// pairs reads name:value pairs, one a line where there are line ends, else
// separated by commas. Only the first colon separates.
func pairs(v outputs.Values, key string) ([]pair, error) {
	text, separator := v.String(key), ","
	if strings.Contains(text, "\n") {
		separator = "\n"
	}
	var list []pair
	for part := range strings.SplitSeq(text, separator) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("%s: %q is not name:value", v.Name(key), part)
		}
		list = append(list, pair{name, value})
	}
	return list, nil
}

// validName is what Alertmanager takes as the name of a label or an annotation
// (prometheus/common, model.LabelName).
var validName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func names(v outputs.Values, key string) ([]pair, error) {
	list, err := pairs(v, key)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		if !validName.MatchString(p.name) {
			return nil, fmt.Errorf("%s: %q is not a name: use letters, digits and _", v.Name(key), p.name)
		}
	}
	return list, nil
}

// severities are FalcoSidekick's, and what the user has changed of them.
func severities(v outputs.Values) (map[schema.Priority]string, error) {
	m := map[schema.Priority]string{
		schema.PriorityDefault:       "information",
		schema.PriorityDebug:         "information",
		schema.PriorityInformational: "information",
		schema.PriorityNotice:        "information",
		schema.PriorityWarning:       "warning",
		schema.PriorityError:         "warning",
		schema.PriorityCritical:      "critical",
		schema.PriorityAlert:         "critical",
		schema.PriorityEmergency:     "critical",
	}
	list, err := pairs(v, "customseveritymap")
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		priority, err := schema.ParsePriority(p.name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("customseveritymap"), err)
		}
		m[priority] = p.value
	}
	return m, nil
}

func thresholds(v outputs.Values) ([]threshold, error) {
	list, err := pairs(v, "dropeventthresholds")
	if err != nil {
		return nil, err
	}
	var all []threshold
	for _, p := range list {
		number, err := strconv.ParseInt(p.name, 10, 64)
		if err != nil || number < 0 {
			return nil, fmt.Errorf("%s: %q is not a number", v.Name("dropeventthresholds"), p.name)
		}
		priority, err := schema.ParsePriority(p.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("dropeventthresholds"), err)
		}
		all = append(all, threshold{number, priority})
	}
	slices.SortFunc(all, func(a, b threshold) int { return cmp.Compare(b.number, a.number) })
	return all, nil
}

// dropped gives the label for a count of dropped events, coarse so that each
// count is not an alert of its own, and the least priority of the event.
func (r *rules) dropped(count int64) (label string, least schema.Priority) {
	if count == 0 {
		return "0", schema.PriorityWarning
	}
	for _, t := range r.dropFrom {
		if count > t.number {
			return ">" + strconv.FormatInt(t.number, 10), t.priority
		}
	}
	return strconv.FormatInt(count, 10), r.dropDefault
}
