package learn

import (
	"cmp"
	"path"
	"slices"
	"sort"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// simplify leaves out rules that others say already, and writes directories so that
// they hold: what is more exact decides, and a pattern is more exact than a directory.
func simplify(all []spolicy.FileRule) []spolicy.FileRule {
	all = joined(all)
	for i := range all {
		r := &all[i]
		if r.Dir != "" && !r.ReadOnly && slices.ContainsFunc(all, func(o spolicy.FileRule) bool { return o.Pattern != "" && o.ReadOnly && patternCovers(o.Pattern, r.Dir) }) {
			r.Pattern = escaped(r.Dir) + "*"
			if r.Recursive {
				r.Pattern += "*"
			}
			r.Dir, r.Recursive = "", false
		}
	}
	kept := slices.DeleteFunc(slices.Clone(all), func(r spolicy.FileRule) bool {
		return slices.ContainsFunc(all, func(o spolicy.FileRule) bool { return says(&o, &r) })
	})
	sort.Slice(kept, func(i, j int) bool { return target(&kept[i]) < target(&kept[j]) })
	return kept
}

func target(r *spolicy.FileRule) string { return cmp.Or(r.Path, r.Dir, r.Pattern) }

// joined makes one rule of those for the same files by the same programs: what one of
// them lets be written may be.
func joined(all []spolicy.FileRule) (kept []spolicy.FileRule) {
	for _, r := range all {
		i := slices.IndexFunc(kept, func(o spolicy.FileRule) bool {
			return target(&o) == target(&r) && o.Recursive == r.Recursive && o.OwnerOnly == r.OwnerOnly && o.PTS == nil && r.PTS == nil &&
				slices.Equal(o.FromSource, r.FromSource)
		})
		if i < 0 {
			kept = append(kept, r)
			continue
		}
		kept[i].ReadOnly = kept[i].ReadOnly && r.ReadOnly
	}
	return kept
}

// says says whether the rule of a directory allows all that r allows, so that r can go;
// it must, where r is stricter and would decide.
func says(dir, r *spolicy.FileRule) bool {
	plain := func(r *spolicy.FileRule) bool { return !r.OwnerOnly && r.PTS == nil && len(r.FromSource) == 0 }
	if !plain(dir) || !plain(r) || dir.ReadOnly && !r.ReadOnly {
		return false
	}
	switch {
	case dir.Pattern != "":
		return r.Pattern == "" && matches(dir.Pattern, cmp.Or(r.Path, strings.TrimSuffix(r.Dir, "/")+"/x"))
	case dir.Dir == "":
		return false
	case r.Path != "":
		return dir.Dir == r.Path+"/" || in(dir, r.Path)
	case r.Dir != "":
		return dir.Recursive && r.Dir != dir.Dir && strings.HasPrefix(r.Dir, dir.Dir) ||
			r.Dir == dir.Dir && dir.Recursive && !r.Recursive
	}
	fixed := r.Pattern[:strings.IndexAny(r.Pattern+"*", `*?[{\`)]
	return dir.Recursive && !dir.ReadOnly && strings.HasPrefix(fixed, dir.Dir)
}

// matches says whether a pattern that was learned is about a path: of those that were
// written by others it may say no.
func matches(pattern, name string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/**"); ok {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if ok, _ := path.Match(tree, dir); ok {
				return true
			}
		}
		return false
	}
	ok, _ := path.Match(pattern, name) // one that is wrong is about nothing
	return ok && !strings.Contains(pattern, "**")
}

// in says whether a path is in a directory as its rule means it.
func in(dir *spolicy.FileRule, path string) bool {
	rest, ok := strings.CutPrefix(path, dir.Dir)
	return ok && rest != "" && (dir.Recursive || !strings.Contains(rest, "/"))
}

// patternCovers says whether a pattern may be about what is in a directory.
func patternCovers(pattern, dir string) bool {
	fixed := pattern[:strings.IndexAny(pattern+"*", `*?[{\`)]
	return strings.HasPrefix(dir, fixed) && strings.Contains(pattern, "**")
}
