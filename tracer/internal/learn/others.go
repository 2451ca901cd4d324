package learn

import (
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// programs are what was executed: only those can be sources of rules, by a path that is
// the same in the next run.
func (m *maker) programs() map[string]bool {
	all := map[string]bool{}
	names := m.naming()
	for _, u := range m.sorted {
		if u.op == rules.Process {
			if _, glob := join(names.elements(u.path)); !glob {
				all[u.path] = true
			}
		}
	}
	return all
}

// naming knows where software is installed: where it is everywhere, and beside the
// directories of the programs that were executed.
func (m *maker) naming() *naming {
	n := &naming{software: slices.Clone(installed)}
	for _, u := range m.sorted {
		prefix, _ := path.Split(path.Dir(u.path))
		if u.op != rules.Process || prefix == "/" || !slices.Contains([]string{"bin", "sbin", "libexec"}, path.Base(path.Dir(u.path))) {
			continue
		}
		for _, dir := range []string{"lib/", "lib64/", "libexec/", "share/"} {
			if !within(prefix+dir, n.software) {
				n.software = append(n.software, prefix+dir)
			}
		}
	}
	return n
}

// sources gathers who does what, in the order of what was done first.
type sources struct {
	programs map[string]bool
	by       map[string]map[string]bool
	order    []string
}

func (m *maker) newSources() *sources {
	return &sources{programs: m.programs(), by: map[string]map[string]bool{}}
}

func (s *sources) add(what, source string) {
	if s.by[what] == nil {
		s.by[what] = map[string]bool{}
		s.order = append(s.order, what)
	}
	s.by[what][source] = true
}

// of gives the programs that a rule can name; none where one of them is not such.
func (s *sources) of(what string) []string {
	all := slices.Sorted(maps.Keys(s.by[what]))
	if slices.ContainsFunc(all, func(p string) bool { return !s.programs[p] }) {
		return nil
	}
	return all
}

var (
	allow = spolicy.Effect{Action: spolicy.ActionAllow}
	block = spolicy.Effect{Action: spolicy.ActionBlock}
)

// processes makes the rules for programs.
func (m *maker) processes() {
	names := m.naming()
	who := m.newSources()
	patterns := map[string]bool{}
	for _, u := range m.sorted {
		if u.op != rules.Process {
			continue
		}
		name, glob := join(names.elements(u.path))
		if glob {
			patterns[name] = true
			continue
		}
		who.add(name, u.source)
	}
	for _, name := range who.order {
		m.addProcess(spolicy.ProcessRule{Path: name, FromSource: who.of(name), Effect: allow})
	}
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		m.addProcess(spolicy.ProcessRule{Pattern: pattern, Effect: allow})
	}
	if len(m.doc.Process) == 0 {
		m.remarks = append(m.remarks, "no program was started, so the policy is not about programs")
	}
}

// addProcess adds a rule, or widens one that is there already.
func (m *maker) addProcess(r spolicy.ProcessRule) {
	i := slices.IndexFunc(m.doc.Process, func(o spolicy.ProcessRule) bool {
		return r.Path+r.Pattern != "" && o.Path == r.Path && o.Pattern == r.Pattern && !o.OwnerOnly && o.PTS == nil && o.AllowedArgs == nil
	})
	if i < 0 {
		m.doc.Process = append(m.doc.Process, r)
		return
	}
	m.doc.Process[i].FromSource = union(m.doc.Process[i].FromSource, r.FromSource)
}

// union joins the sources of two rules, where none are all.
func union(a, b []string) []string {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// protocolOf is the word of rules that an access to a socket is about.
func protocolOf(u *use) string {
	protocol := strings.ToLower(strings.TrimPrefix(u.protocol, "IPV6-"))
	if protocol == "icmp" && strings.HasPrefix(u.protocol, "IPV6-") {
		protocol = "icmpv6"
	}
	kind := strings.ToLower(strings.TrimPrefix(u.kind, "SOCK_"))
	switch {
	case slices.Contains([]string{"tcp", "udp", "icmp", "icmpv6", "sctp"}, protocol):
		return protocol
	case kind == "stream" && (protocol == "" || protocol == "hopopt"):
		return "tcp"
	case kind == "dgram" && (protocol == "" || protocol == "hopopt"):
		return "udp"
	case slices.Contains([]string{"stream", "dgram", "raw", "rdm", "seqpacket", "dccp", "packet"}, kind):
		return kind
	}
	return "all"
}

// protocols makes the rules for sockets.
func (m *maker) protocols() {
	who := m.newSources()
	for _, u := range m.sorted {
		if u.op&(rules.Network|rules.NetworkAccept|rules.NetworkSend) != 0 {
			who.add(protocolOf(&u), u.source)
		}
	}
	for _, protocol := range who.order {
		m.addNetwork(spolicy.NetworkRule{Protocol: protocol, FromSource: who.of(protocol), Effect: allow})
	}
	if !slices.ContainsFunc(m.doc.Network, func(r spolicy.NetworkRule) bool { return r.Protocol != "" }) {
		m.addNetwork(spolicy.NetworkRule{Protocol: "all", Effect: block})
	}
}

// addNetwork adds a rule, or widens one that is there already.
func (m *maker) addNetwork(r spolicy.NetworkRule) {
	i := slices.IndexFunc(m.doc.Network, func(o spolicy.NetworkRule) bool {
		same := (o.Endpoint == nil) == (r.Endpoint == nil) && (o.Endpoint == nil || *o.Endpoint == *r.Endpoint)
		return same && o.Protocol == r.Protocol && o.Domain == r.Domain && o.Action == r.Action && o.PTS == nil
	})
	if i < 0 {
		m.doc.Network = append(m.doc.Network, r)
		return
	}
	m.doc.Network[i].FromSource = union(m.doc.Network[i].FromSource, r.FromSource)
}

// endpoints makes the rules for whom connections and messages are for.
func (m *maker) endpoints() {
	who := m.newSources()
	made := map[string]spolicy.Endpoint{}
	for _, u := range m.sorted {
		switch {
		case u.anywhere:
			m.doc.Network = slices.DeleteFunc(m.doc.Network, func(r spolicy.NetworkRule) bool { return r.Endpoint != nil })
			m.remarks = append(m.remarks, "a socket was made that reaches whom it likes, so the policy is not about endpoints")
			return
		case u.op&(rules.Network|rules.NetworkSend) == 0 || u.unix == "" && !u.ip.IsValid():
			continue
		}
		for _, e := range endpointsOf(&u) {
			key := e.String()
			made[key] = e
			who.add(key, u.source)
		}
	}
	for _, key := range who.order {
		e := made[key]
		m.addNetwork(spolicy.NetworkRule{Endpoint: &e, FromSource: who.of(key), Effect: allow})
	}
	if slices.ContainsFunc(m.doc.Network, func(r spolicy.NetworkRule) bool { return r.Endpoint != nil }) {
		return
	}
	for _, everywhere := range []string{"0.0.0.0/0", "::/0"} {
		m.addNetwork(spolicy.NetworkRule{Endpoint: &spolicy.Endpoint{Prefix: netip.MustParsePrefix(everywhere)}, Effect: block})
	}
}

// endpointsOf gives whom an access was for, as the next run will have it.
func endpointsOf(u *use) []spolicy.Endpoint {
	if u.unix != "" {
		return []spolicy.Endpoint{{Path: u.unix}}
	}
	e := spolicy.Endpoint{From: u.port, To: u.port}
	if p := strings.ToLower(u.protocol); p == "tcp" || p == "udp" {
		e.Protocol = p
	}
	switch {
	case u.ip == someV4 || u.ip == someV6:
		if u.port == 0 {
			v4, v6 := e, e
			v4.Prefix, v6.Prefix = netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")
			return []spolicy.Endpoint{v4, v6}
		}
	case u.ip.IsLoopback() && u.ip.Is4():
		e.Prefix = netip.MustParsePrefix("127.0.0.0/8")
	default:
		e.Prefix = netip.PrefixFrom(u.ip, u.ip.BitLen())
	}
	return []spolicy.Endpoint{e}
}

// names makes the rules for names that are asked for.
func (m *maker) names() {
	who := m.newSources()
	for _, u := range m.sorted {
		if u.op == rules.NetworkDNS {
			who.add(strings.TrimSuffix(strings.ToLower(u.name), "."), u.source)
		}
	}
	for _, name := range who.order {
		m.addNetwork(spolicy.NetworkRule{Domain: name, FromSource: who.of(name), Effect: allow})
	}
	if len(who.order) == 0 {
		m.remarks = append(m.remarks, "no name was asked for, so the policy is not about names")
	}
}

// observable are the capabilities whose use calls show, but for that of tracing, which
// no workload has.
var observable = []string{
	"chown", "fowner", "mknod", "net_bind_service", "net_raw", "setfcap", "setgid", "setuid", "sys_admin", "sys_boot", "sys_chroot",
	"sys_module", "sys_pacct", "sys_rawio", "sys_time",
}

// capabilities makes the rules for capabilities.
func (m *maker) capabilities() {
	who := m.newSources()
	for _, u := range m.sorted {
		if u.op == rules.Capabilities {
			who.add(u.name, u.source)
		}
	}
	for _, name := range who.order {
		r := spolicy.CapabilityRule{Capability: name, FromSource: who.of(name), Effect: allow}
		i := slices.IndexFunc(m.doc.Capabilities, func(o spolicy.CapabilityRule) bool { return o.Capability == name })
		if i < 0 {
			m.doc.Capabilities = append(m.doc.Capabilities, r)
			continue
		}
		m.doc.Capabilities[i].FromSource = union(m.doc.Capabilities[i].FromSource, r.FromSource)
	}
	if len(m.doc.Capabilities) > 0 {
		return
	}
	for _, name := range observable {
		m.doc.Capabilities = append(m.doc.Capabilities, spolicy.CapabilityRule{Capability: name, Effect: block})
	}
}
