package learn

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// YAML writes a policy as KubeArmor reads it, in one order whatever order it was made in.
func YAML(d *spolicy.Document, remarks []string) string {
	w := writer{}
	w.line(0, "# What a run did is allowed, all else is denied: see docs/learn.md for what is generalised.")
	if len(d.Selector.Labels) == 0 {
		w.line(0, "# It is for every container that loads it: in a cluster, for all of its namespace. Give it a selector.")
	}
	for _, r := range remarks {
		w.line(0, "# "+strings.Map(func(c rune) rune {
			if c < ' ' {
				return ' '
			}
			return c
		}, r))
	}
	w.line(0, "apiVersion: security.kubearmor.com/v1")
	w.line(0, "kind: "+d.Kind)
	w.line(0, "metadata:")
	w.line(1, "name: "+scalar(d.Name))
	w.line(1, "annotations:")
	for _, a := range [][2]string{
		{spolicy.FilePostureAnnotation, d.FilePosture},
		{spolicy.NetworkPostureAnnotation, d.NetworkPosture},
		{spolicy.CapabilitiesPostureAnnotation, d.CapabilitiesPosture},
	} {
		if a[1] != "" {
			w.line(2, a[0]+": "+a[1])
		}
	}
	w.line(0, "spec:")
	if len(d.Selector.Labels) > 0 {
		w.line(1, "selector:")
		w.line(2, "matchLabels:")
		for _, key := range slices.Sorted(maps.Keys(d.Selector.Labels)) {
			w.line(3, scalar(key)+": "+quoted(d.Selector.Labels[key]))
		}
	}
	w.processes(d.Process)
	w.files(d.File)
	w.network(d.Network)
	w.capabilities(d.Capabilities)
	if len(d.Presets) > 0 {
		w.line(1, "presets:")
		for _, p := range d.Presets {
			w.item(2, field{"name", p.Name}, field{"action", p.Action})
		}
	}
	w.line(1, "action: Allow")
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) line(depth int, text string) {
	w.WriteString(strings.Repeat("  ", depth) + text + "\n")
}

// field is one key of a rule; one without a value is left out.
type field struct{ key, value string }

// flag is true, or left out.
func flag(key string, is bool) field {
	if is {
		return field{key, "true"}
	}
	return field{}
}

// from is a fromSource.
func from(sources []string) field {
	if len(sources) == 0 {
		return field{}
	}
	var all []string
	for _, s := range sources {
		all = append(all, "{path: "+inFlow(s)+"}")
	}
	return field{"fromSource", "[" + strings.Join(all, ", ") + "]"}
}

// item writes an item of a list.
func (w *writer) item(depth int, fields ...field) {
	before := "- "
	for _, f := range fields {
		if f.value != "" {
			w.line(depth, before+f.key+": "+f.value)
			before = "  "
		}
	}
}

// row is one rule of a section, in the list that it belongs to.
type row struct {
	list   string
	fields []field
}

// section writes the rules of a section, list by list.
func (w *writer) section(name string, rows []row, lists ...string) {
	if len(rows) == 0 {
		return
	}
	w.line(1, name+":")
	for _, list := range lists {
		head := list + ":"
		for i := range rows {
			if rows[i].list != list {
				continue
			}
			if head != "" {
				w.line(2, head)
				head = ""
			}
			w.item(3, rows[i].fields...)
		}
	}
}

// listOf says in which list a rule for paths is.
func listOf(dir, pattern string) string {
	switch {
	case dir != "":
		return "matchDirectories"
	case pattern != "":
		return "matchPatterns"
	}
	return "matchPaths"
}

// action is an action other than that of the spec.
func action(e *spolicy.Effect) field {
	if e.Action == spolicy.ActionAllow {
		return field{}
	}
	return field{"action", e.Action}
}

func (w *writer) processes(all []spolicy.ProcessRule) {
	all = slices.Clone(all)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		return a.Path+a.Dir+a.Pattern+a.ExecName < b.Path+b.Dir+b.Pattern+b.ExecName
	})
	var rows []row
	for i := range all {
		r := &all[i]
		rows = append(rows, row{listOf(r.Dir, r.Pattern), []field{
			{"path", scalar(r.Path)},
			{"execname", scalar(r.ExecName)},
			{"dir", scalar(r.Dir)},
			{"pattern", scalar(r.Pattern)},
			flag("recursive", r.Recursive),
			flag("ownerOnly", r.OwnerOnly),
			pts(r.PTS),
			args(r.AllowedArgs),
			from(r.FromSource),
			action(&r.Effect),
		}})
	}
	w.section("process", rows, "matchPaths", "matchDirectories", "matchPatterns")
}

func (w *writer) files(all []spolicy.FileRule) {
	var rows []row
	for i := range all {
		r := &all[i]
		rows = append(rows, row{listOf(r.Dir, r.Pattern), []field{
			{"path", scalar(r.Path)},
			{"dir", scalar(r.Dir)},
			{"pattern", scalar(r.Pattern)},
			flag("recursive", r.Recursive),
			flag("readOnly", r.ReadOnly),
			flag("ownerOnly", r.OwnerOnly),
			pts(r.PTS),
			from(r.FromSource),
			action(&r.Effect),
		}})
	}
	w.section("file", rows, "matchPaths", "matchDirectories", "matchPatterns")
}

func (w *writer) network(all []spolicy.NetworkRule) {
	var rows []row
	for i := range all {
		r := &all[i]
		one := row{"matchProtocols", []field{{"protocol", scalar(r.Protocol)}}}
		switch {
		case r.Endpoint != nil:
			one = row{"matchEndpoints", endpoint(r.Endpoint)}
		case r.Domain != "":
			one = row{"matchDNSQueries", []field{{"domain", scalar(r.Domain)}}}
		}
		one.fields = append(one.fields, pts(r.PTS), from(r.FromSource), action(&r.Effect))
		rows = append(rows, one)
	}
	w.section("network", rows, "matchProtocols", "matchEndpoints", "matchDNSQueries")
}

func endpoint(e *spolicy.Endpoint) []field {
	var address, port string
	if e.Prefix.IsValid() {
		address = strconv.Quote(e.Prefix.String())
	}
	switch {
	case e.From == 0:
	case e.From == e.To:
		port = itoa(int(e.From))
	default:
		port = fmt.Sprintf("%d-%d", e.From, e.To)
	}
	return []field{{"path", scalar(e.Path)}, {"address", address}, {"port", port}, {"protocol", e.Protocol}}
}

func (w *writer) capabilities(all []spolicy.CapabilityRule) {
	var rows []row
	var blocked []string
	for i := range all {
		r := &all[i]
		if r.Action == spolicy.ActionBlock && len(r.FromSource) == 0 {
			blocked = append(blocked, r.Capability)
			continue
		}
		rows = append(rows, row{"matchCapabilities", []field{{"capability", r.Capability}, from(r.FromSource), action(&r.Effect)}})
	}
	if len(blocked) > 0 {
		rows = append(rows, row{"matchCapabilities", []field{{"capability", strings.Join(blocked, ",")}, action(&block)}})
	}
	w.section("capabilities", rows, "matchCapabilities")
}

func pts(is *bool) field {
	if is == nil {
		return field{}
	}
	return field{"pts", strconv.FormatBool(*is)}
}

func args(all []string) field {
	if all == nil {
		return field{}
	}
	var quotedArgs []string
	for _, a := range all {
		quotedArgs = append(quotedArgs, quoted(a))
	}
	return field{"allowedArgs", "[" + strings.Join(quotedArgs, ", ") + "]"}
}

// bare is what needs no quotes, in any place.
var bare = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._+-]*$`)

// unquoted is what needs none as a value that a line ends with.
var unquoted = regexp.MustCompile(`^/[^:#"'\\ -]+$`)

// scalar writes a text as a value.
func scalar(s string) string {
	if s == "" || bare.MatchString(s) || unquoted.MatchString(s) && !strings.ContainsAny(s, "\t\n\r") {
		return s
	}
	return quoted(s)
}

func inFlow(s string) string {
	if bare.MatchString(s) {
		return s
	}
	return quoted(s)
}

// quoted writes a text in double quotes, where YAML means what JSON means.
func quoted(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return strconv.Quote(s) // never: it is a string
	}
	return string(text)
}
