package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Endpoint is whom a connection or a message is for: an address and a port, or a
// Unix socket.
type Endpoint struct {
	Prefix   netip.Prefix // the addresses; not valid: any. IPv4 is never written as IPv6.
	From, To uint16       // the ports; 0 and 0: any
	Protocol string       // tcp or udp; "": any
	Path     string       // of a Unix socket, alone; "@name" is an abstract one
}

// String writes an endpoint for people.
func (e *Endpoint) String() string {
	if e.Path != "" {
		return "the Unix socket " + e.Path
	}
	text := "any address"
	if e.Prefix.IsValid() {
		text = strings.TrimSuffix(strings.TrimSuffix(e.Prefix.String(), "/32"), "/128")
	}
	switch {
	case e.From != e.To:
		text += " ports " + strconv.Itoa(int(e.From)) + "-" + strconv.Itoa(int(e.To))
	case e.From != 0:
		text += " port " + strconv.Itoa(int(e.From))
	}
	if e.Protocol != "" {
		text += " by " + e.Protocol
	}
	return text
}

// endpoints reads an item of network.matchEndpoints, which stands for a rule for each
// address and each port in its lists.
func (r *reader) endpoints(n *yaml.Node) (rules []NetworkRule) {
	var p NetworkRule
	var one Endpoint
	var prefixes []netip.Prefix
	var ports [][2]uint16
	f := fields{
		"address":    func(n *yaml.Node) { prefixes = r.prefixes(n) },
		"port":       func(n *yaml.Node) { ports = r.ports(n) },
		"protocol":   func(n *yaml.Node) { one.Protocol = r.oneOf(n, "protocol", []string{"tcp", "udp"}) },
		"path":       func(n *yaml.Node) { one.Path = r.socketPath(n) },
		"fromSource": func(n *yaml.Node) { p.FromSource = r.fromSource(n) },
	}
	r.effect(f, "rule", &p.Effect)
	complete := func() bool {
		internet := len(prefixes)+len(ports) > 0
		return internet != (one.Path != "") && (one.Path == "" || one.Protocol == "")
	}
	r.rule(n, "an item of network.matchEndpoints", &p.Effect, f, complete, "either address or port, or both, or path alone")
	if prefixes == nil {
		prefixes = []netip.Prefix{{}}
	}
	if ports == nil {
		ports = [][2]uint16{{}}
	}
	for _, one.Prefix = range prefixes {
		for _, port := range ports {
			e := one
			e.From, e.To = port[0], port[1]
			p.Endpoint = &e
			rules = append(rules, p)
		}
	}
	return rules
}

// prefixes reads a comma list of addresses and CIDR blocks.
func (r *reader) prefixes(n *yaml.Node) (all []netip.Prefix) {
	for _, word := range names(r.text(n, "address")) {
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			addr, addrErr := netip.ParseAddr(word)
			if addrErr != nil || addr.Zone() != "" {
				r.errorf(n, "address %s is neither an address nor a CIDR block such as 10.0.0.0/8; names are for matchDNSQueries", quote(word))
				continue
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
		}
		if masked := prefix.Masked(); masked != prefix {
			r.warnf(n, "%s is read as %s", quote(word), masked)
			prefix = masked
		}
		all = append(all, prefix)
	}
	return all
}

// ports reads a comma list of ports and ranges of ports.
func (r *reader) ports(n *yaml.Node) (all [][2]uint16) {
	list := n.Value
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" { // one port may be a number
		list = r.text(n, "port")
	}
	for _, word := range names(list) {
		low, high, isRange := strings.Cut(word, "-")
		if !isRange {
			high = low
		}
		from, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
		to, toErr := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
		if err != nil || toErr != nil || from == 0 || from > to {
			r.errorf(n, "port %s is neither a port (1 to 65535) nor a range such as 8000-8999", quote(word))
			continue
		}
		all = append(all, [2]uint16{uint16(from), uint16(to)})
	}
	return all
}

// socketPath reads the absolute path of a Unix socket, or an abstract name.
func (r *reader) socketPath(n *yaml.Node) string {
	if p := r.text(n, "path"); strings.HasPrefix(p, "@") && len(p) > 1 {
		return p
	}
	return r.path(n, "path")
}
