package explain

import (
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Rules says what each rule of a policy that is enforced does, in the order of the
// document.
func Rules(d *spolicy.Document) []string { return words(d) }

// words says what each rule that is enforced does.
func words(d *spolicy.Document) (all []string) {
	for _, r := range d.Process {
		if r.ExecName != "" && len(r.FromSource) > 0 && r.Action != spolicy.ActionAudit {
			continue // not supported, and said there
		}
		what := "running "
		switch {
		case r.ExecName != "":
			what += "any program called " + r.ExecName
		case r.Dir != "":
			what += "programs in " + below(r.Dir, r.Recursive)
		case r.Pattern != "":
			what += "programs whose path is like " + r.Pattern
		default:
			what += r.Path
		}
		if len(r.FromSource) > 0 {
			what += " from " + strings.Join(r.FromSource, " or ") + ", or a child of it,"
		}
		l := limits{owner: r.OwnerOnly, noTTY: r.PTS != nil && !*r.PTS, args: r.AllowedArgs}
		all = append(all, sentence(r.Effect, what, l))
	}
	for _, r := range d.File {
		what := "opening "
		switch {
		case r.Dir != "":
			what += "files in " + below(r.Dir, r.Recursive)
		case r.Pattern != "":
			what += "files whose path is like " + r.Pattern
		default:
			what += r.Path
		}
		l := limits{reads: r.ReadOnly, owner: r.OwnerOnly, noTTY: r.PTS != nil && !*r.PTS}
		all = append(all, sentence(r.Effect, what+by(r.FromSource), l))
	}
	for _, r := range d.Network {
		if r.Endpoint != nil {
			all = append(all, sentence(r.Effect, "connecting and sending to "+r.Endpoint.String()+by(r.FromSource), limits{}))
			continue
		}
		if r.Domain != "" {
			all = append(all, sentence(r.Effect, "asking name servers for "+r.Domain+" and names below it"+by(r.FromSource), limits{}))
			continue
		}
		what := "making or using "
		if r.Action == spolicy.ActionAudit {
			what = "using "
		}
		what += map[bool]string{true: "any socket", false: r.Protocol + " sockets"}[r.Protocol == "all"]
		all = append(all, sentence(r.Effect, what+by(r.FromSource), limits{noTTY: r.PTS != nil && !*r.PTS}))
	}
	return append(all, otherWords(d)...)
}

// otherWords are those of capabilities, system calls and presets.
func otherWords(d *spolicy.Document) (all []string) {
	for _, r := range d.Capabilities {
		if rules.CapabilityOperation(r.Capability) != 0 {
			all = append(all, sentence(r.Effect, "using the capability "+r.Capability+by(r.FromSource), limits{}))
		}
	}
	for _, r := range d.Syscalls {
		what := "the system call " + strings.Join(r.Syscalls, ", ")
		switch {
		case strings.HasSuffix(r.Path, "/") && r.Recursive:
			what += " of " + below(r.Path, true)
		case r.Path != "":
			what += " of " + r.Path
		}
		var sources []string
		for _, s := range r.FromSource {
			if s.Dir != "" {
				sources = append(sources, "programs in "+below(s.Dir, s.Recursive))
			} else {
				sources = append(sources, s.Path)
			}
		}
		all = append(all, sentence(r.Effect, what+by(sources), limits{}))
	}
	for _, r := range d.Presets {
		if r.Name == spolicy.PresetCloudCredentials {
			what := "reaching the credentials of AWS, by the network and in the token's files,"
			if len(r.FromSource) > 0 {
				what += " but" + by(r.FromSource)
			}
			all = append(all, sentence(r.Effect, what, limits{}))
			continue
		}
		all = append(all, sentence(r.Effect, map[string]string{
			spolicy.PresetAnonymousMapExec: "making memory executable that is of no file or is writable",
			spolicy.PresetFilelessExec:     "running programs of memory (memfd) and in /dev/shm/ and /run/shm/",
			spolicy.PresetProtectEnv:       "opening the environment of another process",
			spolicy.PresetProtectProc:      "opening files of another process in /proc",
			spolicy.PresetExec:             "entering the container from outside",
		}[r.Name], limits{}))
	}
	return all
}

func below(dir string, recursive bool) string {
	if recursive {
		return dir + " and all directories below it"
	}
	return dir + " itself, not below it"
}

func by(sources []string) string {
	if len(sources) == 0 {
		return ""
	}
	return " by " + strings.Join(sources, " or ")
}

// limits are the kind of access that a rule sets apart.
type limits struct {
	reads, owner, noTTY bool
	args                []string
}

func (l *limits) words() string {
	var all []string
	for _, limit := range []struct {
		is   bool
		what string
	}{
		{l.reads, "it only reads"},
		{l.owner, "the user owns it"},
		{l.noTTY, "there is no terminal"},
		{len(l.args) > 0, "all arguments are among " + strings.Join(l.args, " ")},
	} {
		if limit.is {
			all = append(all, limit.what)
		}
	}
	return strings.Join(all, " and ")
}

// sentence says what a rule does.
func sentence(e spolicy.Effect, what string, l limits) string {
	text := map[string]string{spolicy.ActionBlock: "denies ", spolicy.ActionAllow: "allows ", spolicy.ActionAudit: "passes and tells of "}[e.Action] + what
	switch limit := l.words(); {
	case limit == "":
	case e.Action == spolicy.ActionAllow:
		text += " if " + limit + ", and denies it else"
	default:
		text += " unless " + limit
	}
	return strings.TrimSuffix(text, ",")
}
