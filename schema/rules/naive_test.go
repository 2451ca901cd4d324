package rules

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// flat is a rule of any class as the naive matcher reads it.
type flat struct {
	policy                    string
	path, dir, name, protocol string
	recursive, ro, owner      bool
	from                      []string
	effect                    spolicy.Effect
}

func flatten(docs []spolicy.Document, op Operation) (rules []flat) {
	for _, d := range docs {
		switch op {
		case Process:
			for _, r := range d.Process {
				rules = append(rules, flat{policy: d.Name, path: r.Path, dir: r.Dir, name: r.ExecName, recursive: r.Recursive, owner: r.OwnerOnly, from: r.FromSource, effect: r.Effect})
			}
		case FileRead, FileWrite:
			for _, r := range d.File {
				rules = append(rules, flat{policy: d.Name, path: r.Path, dir: r.Dir, recursive: r.Recursive, ro: r.ReadOnly, owner: r.OwnerOnly, from: r.FromSource, effect: r.Effect})
			}
		case Network:
			for _, r := range d.Network {
				rules = append(rules, flat{policy: d.Name, protocol: r.Protocol, from: r.FromSource, effect: r.Effect})
			}
		}
	}
	return rules
}

// ranks gives every rank at which r is about a; the lowest decides, and within
// one the longest directory. Ranks of sourced rules: path 1, recursive
// directory 2, direct 3; of others: path 4, execname 5, recursive 6, direct 7.
// For the network: type 1 and 4, protocol 2 and 5.
func (r *flat) ranks(a *Access) (ranks []int) {
	base := 0
	if len(r.from) == 0 {
		base = 3
	} else if !slices.Contains(r.from, a.Source) && (a.Operation != Process || !slices.Contains(r.from, a.ParentSource)) {
		return nil
	}
	after := func(n int) int { // execname stands between path and directories
		if base > 0 && n > 1 {
			return base + n + 1
		}
		return base + n
	}
	if a.Operation == Network {
		kind := strings.ToLower(strings.TrimPrefix(a.SockType, "SOCK_"))
		if r.protocol == "all" || r.protocol == kind {
			ranks = append(ranks, base+1)
		}
		if r.protocol == strings.ToLower(a.Protocol) {
			ranks = append(ranks, base+2)
		}
		return ranks
	}
	if r.name != "" && a.Path[strings.LastIndex(a.Path, "/")+1:] == r.name {
		ranks = append(ranks, 5)
	}
	if r.path != "" && a.Path == r.path || r.dir != "" && (a.Path+"/" == r.dir || a.Path == "/" && r.dir == "/") {
		ranks = append(ranks, after(1))
	}
	if rest, below := strings.CutPrefix(a.Path, r.dir); r.dir != "" && below {
		if r.recursive {
			ranks = append(ranks, after(2))
		} else if !strings.Contains(rest, "/") {
			ranks = append(ranks, after(3))
		}
	}
	return ranks
}

func (r *flat) permitted(a *Access) bool {
	return !(r.ro && a.Operation == FileWrite) && !(r.owner && !a.Owner)
}

func (r *flat) says() Verdict {
	severity := ""
	if r.effect.Severity != 0 {
		severity = strconv.Itoa(r.effect.Severity)
	}
	return Verdict{
		Deny: r.effect.Action == block, Alert: true, Action: r.effect.Action, PolicyName: r.policy,
		Severity: severity, Tags: r.effect.Tags, Message: r.effect.Message,
	}
}

// naive answers by reading all rules, one after the other.
func naive(docs []spolicy.Document, posture string, a *Access) Verdict {
	rules := flatten(docs, a.Operation)
	refusal := Verdict{Deny: true, Alert: true, Action: block, PolicyName: "DefaultPosture"}
	allowList, best, depth := false, 100, -1
	var deciding []*flat
	var auditing *flat
	for i := range rules {
		r := &rules[i]
		allowList = allowList || r.effect.Action == allow
		for _, rank := range r.ranks(a) {
			if r.effect.Action == audit {
				if auditing == nil && (!r.ro && !r.owner || !r.permitted(a)) {
					auditing = r
				}
				continue
			}
			deeper := -1
			if rank == 2 || rank == 6 {
				deeper = len(r.dir)
			}
			if rank < best || rank == best && deeper > depth {
				best, depth, deciding = rank, deeper, nil
			}
			if rank == best && deeper == depth {
				deciding = append(deciding, r)
			}
		}
	}
	var v Verdict
	switch {
	case len(deciding) > 0:
		v = naiveJudge(deciding, a, refusal)
	case allowList && posture == PostureBlock:
		v = refusal
	case allowList && posture == PostureAudit:
		v = Verdict{Alert: true, Action: audit, PolicyName: "DefaultPosture"}
	}
	if !v.Deny && auditing != nil {
		v = auditing.says()
	}
	return v
}

func naiveJudge(deciding []*flat, a *Access, refusal Verdict) Verdict {
	for _, r := range deciding {
		if r.effect.Action == block && (!r.ro && !r.owner || !r.permitted(a)) {
			return r.says()
		}
	}
	allows := slices.DeleteFunc(deciding, func(r *flat) bool { return r.effect.Action != allow })
	if len(allows) > 0 && !slices.ContainsFunc(allows, func(r *flat) bool { return r.permitted(a) }) {
		return refusal
	}
	return Verdict{}
}

// The world of the generated cases is small, so that rules meet accesses.
var (
	somePaths    = []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/bc", "/b", "/b/a", "/a/c", "/ab"}
	someDirs     = []string{"/", "/a/", "/a/b/", "/a/b/c/", "/b/"}
	someNames    = []string{"a", "b", "c", "d"}
	someSources  = []string{"/a", "/b", "/a/b"}
	someActions  = []string{allow, audit, block}
	someWords    = []string{"tcp", "udp", "icmp", "stream", "dgram", "raw", "all"}
	someSockets  = [][2]string{{"TCP", "SOCK_STREAM"}, {"UDP", "SOCK_DGRAM"}, {"ICMP", "SOCK_RAW"}, {"ICMP", "SOCK_DGRAM"}, {"SCTP", "SOCK_STREAM"}}
	somePostures = []string{PostureAudit, PostureBlock, PostureAllow}
)

type generator struct{ *rand.Rand }

func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }

func (g generator) chance() bool { return g.IntN(3) == 0 }

func (g generator) effect() spolicy.Effect {
	return spolicy.Effect{Action: pick(g, someActions), Severity: g.IntN(3), Message: pick(g, someNames)}
}

func (g generator) sources() (from []string) {
	for range g.IntN(3) {
		from = append(from, pick(g, someSources))
	}
	return from
}

func (g generator) documents() (docs []spolicy.Document) {
	for i := range g.IntN(4) {
		d := spolicy.Document{Name: "policy-" + strconv.Itoa(i)}
		for range g.IntN(4) {
			r := spolicy.ProcessRule{OwnerOnly: g.chance(), Recursive: g.chance(), Effect: g.effect()}
			switch g.IntN(3) {
			case 0:
				r.Path, r.FromSource = pick(g, somePaths), g.sources()
			case 1:
				r.Dir, r.FromSource = pick(g, someDirs), g.sources()
			default:
				r.ExecName = pick(g, someNames)
			}
			d.Process = append(d.Process, r)
		}
		for range g.IntN(5) {
			r := spolicy.FileRule{OwnerOnly: g.chance(), ReadOnly: g.chance(), Recursive: g.chance(), FromSource: g.sources(), Effect: g.effect()}
			if g.chance() {
				r.Path = pick(g, somePaths)
			} else {
				r.Dir = pick(g, someDirs)
			}
			d.File = append(d.File, r)
		}
		for range g.IntN(4) {
			d.Network = append(d.Network, spolicy.NetworkRule{Protocol: pick(g, someWords), FromSource: g.sources(), Effect: g.effect()})
		}
		docs = append(docs, d)
	}
	return docs
}

func (g generator) access(path, source string) *Access {
	socket := pick(g, someSockets)
	return &Access{
		Operation: 1 << g.IntN(4), Path: path, Source: source, ParentSource: pick(g, someSources),
		Owner: g.chance(), Protocol: socket[0], SockType: socket[1],
	}
}

func agree(t *testing.T, seed uint64, path, source string) {
	t.Helper()
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	docs, posture := g.documents(), pick(g, somePostures)
	if path == "" {
		path, source = pick(g, somePaths), pick(g, someSources)
	}
	a := g.access(path, source)
	r := compile(t, posture, docs...)
	if diff := cmp.Diff(naive(docs, posture, a), r.Decide(a)); diff != "" {
		t.Fatalf("seed %d, posture %s, %+v\nrules: %+v\nnaive (-), Decide (+):\n%s", seed, posture, a, flatten(docs, a.Operation), diff)
	}
}

func TestDecideAgreesWithNaive(t *testing.T) {
	for seed := range uint64(20000) {
		agree(t, seed, "", "")
	}
}

func FuzzDecide(f *testing.F) {
	for i, path := range []string{"/a/b/c", "", "/", "//", "/a/", "a/b", "memfd:x", "/a//b", "\x00", strings.Repeat("/a", 2048)} {
		f.Add(uint64(i), path, "/a")
	}
	f.Fuzz(agree)
}
