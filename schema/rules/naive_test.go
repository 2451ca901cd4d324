package rules

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// flat is a rule of any class as the naive matcher reads it.
type flat struct {
	policy                             string
	path, dir, name, pattern, protocol string
	recursive, ro, owner               bool
	pts                                *bool
	args, from                         []string
	effect                             spolicy.Effect
}

func flatten(docs []spolicy.Document, op Operation) (rules []flat) {
	for _, d := range docs {
		switch op {
		case Process:
			for _, r := range d.Process {
				rules = append(rules, flat{policy: d.Name, path: r.Path, dir: r.Dir, name: r.ExecName, pattern: r.Pattern, recursive: r.Recursive, owner: r.OwnerOnly, pts: r.PTS, args: r.AllowedArgs, from: r.FromSource, effect: r.Effect})
			}
		case FileRead, FileWrite:
			for _, r := range d.File {
				rules = append(rules, flat{policy: d.Name, path: r.Path, dir: r.Dir, pattern: r.Pattern, recursive: r.Recursive, ro: r.ReadOnly, owner: r.OwnerOnly, pts: r.PTS, from: r.FromSource, effect: r.Effect})
			}
		case Network, NetworkAccept, NetworkSend:
			for _, r := range d.Network {
				if r.Protocol == "" {
					continue // see naiveEndpoints and naiveNames
				}
				rules = append(rules, flat{policy: d.Name, protocol: r.Protocol, pts: r.PTS, from: r.FromSource, effect: r.Effect})
			}
		}
	}
	return rules
}

// ranks gives every rank at which r is about a; the lowest decides, and within
// one the longest directory. Ranks of sourced rules: path 1, recursive
// directory 2, direct 3; of others: path 4, execname 5, pattern 6, recursive 7,
// direct 8.
// For the network: type 1 and 4, protocol 2 and 5.
func (r *flat) ranks(a *Access) (ranks []int) {
	base := 0
	if len(r.from) == 0 {
		base = 3
	} else if !slices.Contains(r.from, a.Source) && (a.Operation != Process || !slices.Contains(r.from, a.ParentSource)) {
		return nil
	}
	after := func(n int) int { // execname and pattern stand between path and directories
		if base > 0 && n > 1 {
			return base + n + 2
		}
		return base + n
	}
	if a.Operation&AnyNetwork != 0 {
		kind := strings.ToLower(strings.TrimPrefix(a.SockType, "SOCK_"))
		connected := []string{"tcp", "stream", "sctp", "seqpacket", "dccp", "all"}
		switch about := slices.Contains(connected, r.protocol); {
		case a.Operation == NetworkAccept && !about, a.Operation == NetworkSend && about && !slices.Contains(connected[2:], r.protocol), a.Operation == NetworkSend && r.protocol == "dccp":
			return nil
		}
		if r.protocol == "all" || r.protocol == kind {
			ranks = append(ranks, base+1)
		}
		protocol := strings.ToLower(a.Protocol)
		if protocol == "" && r.effect.Action != audit {
			protocol = map[string]string{"stream": "tcp", "dgram": "udp"}[kind]
		}
		if r.protocol == protocol {
			ranks = append(ranks, base+2)
		}
		return ranks
	}
	if r.name != "" && a.Path[strings.LastIndex(a.Path, "/")+1:] == r.name {
		ranks = append(ranks, 5)
	}
	if r.pattern != "" && naiveGlob(r.pattern, a.Path) {
		ranks = append(ranks, 6)
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
	for _, arg := range a.Args {
		if r.args != nil && !slices.Contains(r.args, arg) {
			return false
		}
	}
	return !(r.ro && a.Operation == FileWrite) && !(r.owner && !a.Owner) && !(r.pts != nil && !*r.pts && a.HasTTY)
}

// limited says whether r sets a kind of access apart.
func (r *flat) limited() bool { return r.ro || r.owner || r.pts != nil && !*r.pts || r.args != nil }

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
	if a.Operation == NetworkDNS {
		return naiveNames(docs, posture, a)
	}
	v := naiveRules(docs, posture, a)
	if a.Operation&(Network|NetworkSend) == 0 || v.Deny {
		return v
	}
	if e := naiveEndpoints(docs, posture, a); e.Deny || !v.Alert {
		return e
	}
	return v
}

// naiveNames tries each name that a query could have been meant as.
func naiveNames(docs []spolicy.Document, posture string, a *Access) (v Verdict) {
	name := strings.ToLower(strings.TrimSuffix(a.Name, "."))
	meant := []string{name}
	if short, ok := strings.CutSuffix(name, ".cluster.local"); ok {
		meant = append(meant, short)
		if short, ok := strings.CutSuffix(short, ".svc"); ok {
			labels := strings.Split(short, ".")
			meant = append(meant, short, strings.Join(labels[:len(labels)-1], "."))
		}
	}
	var best [3]int
	var deciding []*flat
	var auditing *flat
	allowList := false
	for _, d := range docs {
		for _, r := range d.Network {
			if r.Domain == "" {
				continue
			}
			allowList = allowList || r.Action == allow
			one := &flat{policy: d.Name, effect: r.Effect}
			for i, name := range meant {
				if !strings.HasSuffix("."+name, "."+r.Domain) || len(r.FromSource) > 0 && !slices.Contains(r.FromSource, a.Source) {
					continue
				}
				if r.Action == audit {
					if auditing == nil {
						auditing = one
					}
					continue
				}
				exact := [3]int{min(len(r.FromSource), 1), -i, len(r.Domain)}
				if deciding == nil || slices.Compare(exact[:], best[:]) > 0 {
					best, deciding = exact, nil
				}
				if exact == best {
					deciding = append(deciding, one)
				}
			}
		}
	}
	refusal := Verdict{Deny: true, Alert: true, Action: block, PolicyName: "DefaultPosture"}
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

// naiveEndpoints sorts the rules about an endpoint by what makes one more exact, as
// text.
func naiveEndpoints(docs []spolicy.Document, posture string, a *Access) (v Verdict) {
	var best string
	var deciding []*flat
	var auditing *flat
	allowList := false
	for _, d := range docs {
		for _, r := range d.Network {
			e := r.Endpoint
			if e == nil {
				continue
			}
			allowList = allowList || r.Action == allow
			narrow, bits := 0, -1
			if e.From > 0 {
				narrow = 70000 - int(e.To) + int(e.From)
			}
			if e.Prefix != (netip.Prefix{}) {
				bits = e.Prefix.Bits()
			}
			here := e.Path == a.Unix && e.Path != "" || a.Unix == "" && e.Path == "" && a.IP.IsValid() &&
				(bits < 0 || e.Prefix.Contains(a.IP)) && (e.From == 0 || a.Port >= e.From && a.Port <= e.To) && (e.Protocol == "" || strings.EqualFold(e.Protocol, a.Protocol))
			if !here || len(r.FromSource) > 0 && !slices.Contains(r.FromSource, a.Source) {
				continue
			}
			one := &flat{policy: d.Name, effect: r.Effect}
			if r.Action == audit {
				if auditing == nil {
					auditing = one
				}
				continue
			}
			exact := fmt.Sprintf("%v %03d %05d %v", len(r.FromSource) > 0, bits+1, narrow, e.Protocol != "")
			if exact > best {
				best, deciding = exact, nil
			}
			if exact == best {
				deciding = append(deciding, one)
			}
		}
	}
	if !a.IP.IsValid() && a.Unix == "" {
		return v
	}
	refusal := Verdict{Deny: true, Alert: true, Action: block, PolicyName: "DefaultPosture"}
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

func naiveRules(docs []spolicy.Document, posture string, a *Access) Verdict {
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
				if auditing == nil && (!r.limited() || !r.permitted(a)) {
					auditing = r
				}
				continue
			}
			deeper := -1
			if rank == 2 || rank == 7 {
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
	if !v.Deny && (a.Operation == NetworkSend || a.Operation == NetworkAccept && v.PolicyName == "DefaultPosture") {
		return Verdict{}
	}
	return v
}

func naiveJudge(deciding []*flat, a *Access, refusal Verdict) Verdict {
	for _, r := range deciding {
		if r.effect.Action == block && (!r.limited() || !r.permitted(a)) {
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
	somePaths     = []string{"/", "/a", "/a/b", "/a/b/c", "/a/b/c/d", "/a/bc", "/b", "/b/a", "/a/c", "/ab"}
	someDirs      = []string{"/", "/a/", "/a/b/", "/a/b/c/", "/b/"}
	someNames     = []string{"a", "b", "c", "d"}
	someSources   = []string{"/a", "/b", "/a/b"}
	someGlobs     = []string{"/a/*", "/a/**", "/**", "/*", "/**/c", "/{a,b}/?", "/a/[b-d]", "/a/[^b]", "/*/b/**"}
	someArgs      = []string{"-a", "-b", "c"}
	someActions   = []string{allow, audit, block}
	someWords     = []string{"tcp", "udp", "icmp", "stream", "dgram", "raw", "seqpacket", "all"}
	someSockets   = [][2]string{{"TCP", "SOCK_STREAM"}, {"UDP", "SOCK_DGRAM"}, {"ICMP", "SOCK_RAW"}, {"ICMP", "SOCK_DGRAM"}, {"SCTP", "SOCK_STREAM"}, {"", "SOCK_STREAM"}, {"", "SOCK_DGRAM"}, {"", "SOCK_RAW"}, {"", "SOCK_SEQPACKET"}}
	someAddresses = []string{"10.1.2.3", "10.1.9.9", "10.9.9.9", "192.0.2.1", "fd00::1"}
	someEndpoints = []*spolicy.Endpoint{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
		{Prefix: netip.MustParsePrefix("10.1.0.0/16"), From: 80, To: 80},
		{Prefix: netip.MustParsePrefix("10.1.0.0/16"), From: 1, To: 100},
		{Prefix: netip.MustParsePrefix("10.1.2.3/32"), Protocol: "udp"},
		{Prefix: netip.MustParsePrefix("fd00::/8"), Protocol: "tcp"},
		{From: 80, To: 80},
		{From: 1, To: 65535, Protocol: "tcp"},
		{Path: "/s"},
		{Path: "@s"},
	}
	someQueries  = []string{"example.com", "WWW.Example.com.", "a.www.example.com", "myexample.com", "com", "example.com.evil.net", "example.com.cluster.local", "www.example.com.prod.svc.cluster.local", "example.com.svc.cluster.local", "", "."}
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

func (g generator) pts() *bool {
	if g.IntN(4) > 0 {
		return nil
	}
	return new(g.chance())
}

func (g generator) args(most int) (args []string) {
	for range g.IntN(most) {
		args = append(args, pick(g, someArgs))
	}
	return args
}

func (g generator) documents() (docs []spolicy.Document) {
	for i := range g.IntN(4) {
		d := spolicy.Document{Name: "policy-" + strconv.Itoa(i)}
		for range g.IntN(4) {
			r := spolicy.ProcessRule{OwnerOnly: g.chance(), Recursive: g.chance(), PTS: g.pts(), Effect: g.effect()}
			switch g.IntN(4) {
			case 0:
				r.Path, r.FromSource, r.AllowedArgs = pick(g, somePaths), g.sources(), g.args(3)
			case 1:
				r.Dir, r.FromSource = pick(g, someDirs), g.sources()
			case 2:
				r.Pattern = pick(g, someGlobs)
			default:
				r.ExecName = pick(g, someNames)
			}
			d.Process = append(d.Process, r)
		}
		for range g.IntN(5) {
			r := spolicy.FileRule{OwnerOnly: g.chance(), ReadOnly: g.chance(), Recursive: g.chance(), PTS: g.pts(), FromSource: g.sources(), Effect: g.effect()}
			switch g.IntN(4) {
			case 0:
				r.Path = pick(g, somePaths)
			case 1:
				r.Pattern, r.FromSource = pick(g, someGlobs), nil
			default:
				r.Dir = pick(g, someDirs)
			}
			d.File = append(d.File, r)
		}
		for range g.IntN(4) {
			d.Network = append(d.Network, spolicy.NetworkRule{Protocol: pick(g, someWords), PTS: g.pts(), FromSource: g.sources(), Effect: g.effect()})
		}
		for range g.IntN(4) {
			d.Network = append(d.Network, spolicy.NetworkRule{Endpoint: pick(g, someEndpoints), FromSource: g.sources(), Effect: g.effect()})
		}
		for range g.IntN(4) {
			d.Network = append(d.Network, spolicy.NetworkRule{Domain: pick(g, []string{"example.com", "www.example.com", "com", "local", "prod.svc.cluster.local"}), FromSource: g.sources(), Effect: g.effect()})
		}
		docs = append(docs, d)
	}
	return docs
}

func (g generator) access(path, source string) *Access {
	socket := pick(g, someSockets)
	a := &Access{
		Operation: 1 << g.IntN(6), Path: path, Source: source, ParentSource: pick(g, someSources),
		Owner: g.chance(), HasTTY: g.chance(), Args: g.args(4), Protocol: socket[0], SockType: socket[1],
	}
	if g.IntN(4) == 0 {
		a.Operation, a.Name = NetworkDNS, pick(g, someQueries)
		return a
	}
	switch g.IntN(4) {
	case 0:
		a.Unix = pick(g, []string{"/s", "@s", "/t"})
	case 1, 2:
		a.IP, a.Port = netip.MustParseAddr(pick(g, someAddresses)), pick(g, []uint16{1, 80, 100, 443})
	}
	return a
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
	foretold(t, seed, r, a, naive(docs, posture, a))
}

// foretold checks what is said of a program's accesses before their path is known.
func foretold(t *testing.T, seed uint64, r *Rules, a *Access, v Verdict) {
	t.Helper()
	if v.Deny && !r.CouldDeny(a.Operation, a.Source, a.ParentSource) || v.Alert && !r.CouldAlert(a.Operation, a.Source, a.ParentSource) {
		t.Fatalf("seed %d: %+v gives %+v, which was said to be impossible", seed, a, v)
	}
	for _, op := range []Operation{Process, FileRead, FileWrite, Network, NetworkAccept, NetworkSend, NetworkDNS} {
		if r.CouldDeny(op, a.Source, a.ParentSource) && (!r.CanDeny(op) || !r.CouldAlert(op, a.Source, a.ParentSource)) || r.CouldAlert(op, a.Source, a.ParentSource) && r.Wants()&op == 0 {
			t.Fatalf("seed %d: what can become of %s is contradictory", seed, op.Words())
		}
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
