package rules

import (
	"net/netip"
	"slices"
	"strings"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
)

// endpointRules are the rules about whom a connection or a message is for. They are
// a class of their own beside those about protocols: what one of the two denies is
// denied.
type endpointRules struct {
	class
	all []endpointRule
}

type endpointRule struct {
	spolicy.Endpoint
	sources []string
	rule    [1]*rule
}

// rank says how exact a rule is: the most exact ones decide. One of a source comes
// before one without, then the longer prefix, then the narrower range of ports,
// then the protocol.
type rank struct{ sourced, bits, ports, protocol int }

func (r *endpointRule) rank() (k rank) {
	if len(r.sources) > 0 {
		k.sourced = 1
	}
	if r.Prefix.IsValid() {
		k.bits = r.Prefix.Bits() + 1
	}
	if r.From != 0 {
		k.ports = 1<<16 - int(r.To-r.From)
	}
	if r.Protocol != "" {
		k.protocol = 1
	}
	return k
}

func (k rank) before(o rank) bool {
	return slices.Compare([]int{k.sourced, k.bits, k.ports, k.protocol}, []int{o.sourced, o.bits, o.ports, o.protocol}) > 0
}

// matches says whether a rule is about the endpoint of an access.
func (r *endpointRule) matches(a *Access) bool {
	if len(r.sources) > 0 && !slices.Contains(r.sources, a.Source) {
		return false
	}
	if r.Path != "" || a.Unix != "" {
		return r.Path == a.Unix
	}
	return (!r.Prefix.IsValid() || r.Prefix.Contains(a.IP)) && (r.From == 0 || r.From <= a.Port && a.Port <= r.To) &&
		(r.Protocol == "" || strings.EqualFold(r.Protocol, a.Protocol))
}

// decide answers an access that has an endpoint.
func (e *endpointRules) decide(a *Access) Verdict {
	if !e.used || !a.IP.IsValid() && a.Unix == "" {
		return Verdict{}
	}
	var j judgement
	var best rank
	var audit *rule
	for i := range e.all {
		r := &e.all[i]
		if !r.matches(a) {
			continue
		}
		if r.rule[0].action == spolicy.ActionAudit {
			audit = first(audit, r.rule[:], a)
			continue
		}
		k := r.rank()
		if !j.decided || k.before(best) {
			j, best = judgement{}, k
		}
		if k == best {
			j.weigh(r.rule[:], a)
		}
	}
	return e.conclude(j, audit)
}

// over gives what the endpoints say of an access, or v where they say less.
func (e *endpointRules) over(v Verdict, a *Access) Verdict {
	if v.Deny {
		return v
	}
	if own := e.decide(a); own.Deny || !v.Alert {
		return own
	}
	return v
}

// operations are those in which an endpoint is used.
func operationsOf(e *spolicy.Endpoint) Operation {
	if e.Protocol == "tcp" {
		return Network
	}
	return Network | NetworkSend
}

func (c *compiler) endpoint(r *spolicy.NetworkRule) {
	e := &c.rules.endpoints
	sources := programs(r.FromSource)
	op := operationsOf(r.Endpoint)
	compiled := c.addAbout(op, &e.class, r.Effect, limits{}, sources)
	if r.Action == spolicy.ActionBlock {
		c.rules.can.addressed.add(op, sources)
	}
	e.all = append(e.all, endpointRule{*r.Endpoint, sources, [1]*rule{compiled}})
}

// CouldDenyEndpoint says whether a rule could deny a program an access of one of the
// operations for whom it is for: then the address must be the one that is used.
func (r *Rules) CouldDenyEndpoint(op Operation, source string) bool {
	return r.can.addressed.by(source, "")&op != 0
}

// DenyEndpoints says whether rules of the documents could deny some program whom an
// access is for, whichever of the documents select the container.
func DenyEndpoints(docs []spolicy.Document, posture Posture) bool {
	r, err := compileDocuments(docs, posture, func(*spolicy.Document) bool { return true })
	return err == nil && r.can.addressed.whole() != 0
}

// DecideAnywhere answers an access that could be for whomever the program likes: it is
// denied where a rule denies the program an address.
func (r *Rules) DecideAnywhere(a *Access) Verdict {
	v := r.decideAnywhere(a)
	if r.watched != nil && !v.Deny {
		v = v.beside(r.watched.decideAnywhere(a))
	}
	anywhere := *a
	anywhere.IP, anywhere.Port, anywhere.Unix = netip.IPv4Unspecified(), 0, ""
	return r.tell(&anywhere, v)
}

func (r *Rules) decideAnywhere(a *Access) Verdict {
	probe := *a
	probe.Operation, probe.Protocol, probe.SockType = Network, "TCP", "SOCK_STREAM"
	for _, at := range r.presets.endpoints() {
		probe.IP, probe.Port = at, 80
		if v := r.presets.over(Verdict{}, &probe); v.Deny {
			return v
		}
	}
	for i := range r.endpoints.all {
		e := &r.endpoints.all[i]
		if e.Path != "" {
			continue
		}
		probe.IP, probe.Port = netip.AddrFrom4([4]byte{192, 0, 2, 1}), max(e.From, 1)
		if e.Prefix.IsValid() {
			probe.IP = e.Prefix.Addr()
		}
		if probe.Protocol = "TCP"; e.Protocol == "udp" {
			probe.Protocol, probe.SockType = "UDP", "SOCK_DGRAM"
		}
		if v := r.endpoints.decide(&probe); v.Deny {
			return v
		}
	}
	if r.endpoints.allowList && r.endpoints.posture == PostureBlock {
		return Verdict{Deny: true, Alert: true, Action: spolicy.ActionBlock, PolicyName: defaultPosture}
	}
	return Verdict{}
}
