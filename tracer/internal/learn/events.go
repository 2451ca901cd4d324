package learn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/observed"
	"github.com/sidearmor/sidearmor/schema/rules"
)

// Read takes the events of a file: JSON objects one after the other, as in NDJSON, or
// arrays of them. What was denied counts as not done, what failed
// otherwise as done: whoever tries it has to be told the same the next time. It tells how many were about what
// a policy can be about, and how many were not. The error says at which value the file
// is no JSON.
func (l *Learner) Read(in io.Reader) (taken, others int, err error) {
	e := events{learner: l, started: map[string]bool{}, acting: map[string]bool{}, bound: map[string]bool{}, listening: map[string]bool{}}
	values := json.NewDecoder(in)
	for n := 1; ; n++ {
		var value json.RawMessage
		if err := values.Decode(&value); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return e.taken, e.others, fmt.Errorf("value %d, byte %d: %w", n, values.InputOffset(), err)
		}
		if !bytes.HasPrefix(value, []byte("[")) {
			e.event(value)
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return e.taken, e.others, fmt.Errorf("value %d: %w", n, err)
		}
		for _, one := range list {
			e.event(one)
		}
	}
	e.finish()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blind = l.blind || e.taken > 0 && !e.reads
	return e.taken, e.others, nil
}

// events is a file of events that is read.
type events struct {
	learner       *Learner
	taken, others int
	reads         bool            // opens that only read are told
	started       map[string]bool // programs whose start is told
	acting        map[string]bool // programs that do something
	bound         map[string]bool // programs that give a socket an address of this machine
	listening     map[string]bool // and those that then listen
}

func (e *events) event(value []byte) {
	event, err := schema.Decode(value)
	if err != nil {
		e.others++
		return
	}
	var r *schema.Record
	switch event.Kind {
	case schema.KindAlert:
		r = &event.Alert.Record
	case schema.KindLog:
		r = &event.Log.Record
	default:
		e.others++
		return
	}
	if r.Result == schema.ResultPermissionDenied || !e.record(r) {
		e.others++
		return
	}
	e.taken++
}

// record takes what a record tells of, and says whether that is anything.
func (e *events) record(r *schema.Record) bool {
	if r.Operation != schema.OperationProcess && strings.HasPrefix(r.ProcessName, "/") {
		e.acting[r.ProcessName] = true
	}
	if r.Operation == schema.OperationNetwork && strings.HasPrefix(r.Resource, "sa_family=") {
		return e.address(r)
	}
	a, err := observed.Access(r)
	if err != nil {
		return false
	}
	a.PID = int(r.PID)
	switch a.Operation {
	case rules.Process:
		e.started[a.Path] = true
		e.read(a.Path)
	case rules.FileRead:
		e.reads = true
	case rules.Network:
		for word := range strings.FieldsSeq(r.Resource) {
			switch key, value, _ := strings.Cut(word, "="); key {
			case "remoteip":
				a.IP, _ = netip.ParseAddr(value)
			case "port":
				port, _ := strconv.ParseUint(value, 10, 16)
				a.Port = uint16(port)
			}
		}
		if strings.Contains(r.Data, "tcp_accept") {
			a.IP, a.Port = netip.Addr{}, 0 // who has come is not whom the program calls
		}
		e.listening[r.ProcessName] = e.listening[r.ProcessName] || strings.Contains(r.Data, "SYS_LISTEN")
	}
	e.learner.Add(a)
	return true
}

// address takes the use of a socket that is told of by its address. Protocols that are
// not TCP are not told: with an address of the Internet it is UDP then.
func (e *events) address(r *schema.Record) bool {
	a := rules.Access{Operation: rules.Network, Source: r.ProcessName}
	family := ""
	for word := range strings.FieldsSeq(r.Resource) {
		switch key, value, _ := strings.Cut(word, "="); key {
		case "sa_family":
			family = value
		case "sin_addr", "sin6_addr":
			a.IP, _ = netip.ParseAddr(value)
		case "sin_port", "sin6_port":
			port, _ := strconv.ParseUint(value, 10, 16)
			a.Port = uint16(port)
		case "sun_path":
			a.Unix = value
		}
	}
	binds := strings.Contains(r.Data, "SYS_BIND")
	switch family {
	case "AF_UNIX":
		a.SockType = "SOCK_STREAM"
	case "AF_INET", "AF_INET6":
		a.Protocol, a.SockType = "UDP", "SOCK_DGRAM"
		if binds {
			e.bound[r.ProcessName] = true
			return true
		}
	case "AF_NETLINK":
		a.SockType = "SOCK_RAW"
	default:
		return false
	}
	if binds {
		a.IP, a.Port, a.Unix = netip.Addr{}, 0, ""
	}
	e.learner.Add(a)
	return true
}

// read takes the reading of a file.
func (e *events) read(path string) {
	e.learner.Add(rules.Access{Operation: rules.FileRead, Path: path})
}

// finish takes what follows from all events together.
func (e *events) finish() {
	for path := range e.acting {
		if !e.started[path] { // the program that a script is for, or one that ran before
			e.learner.Add(rules.Access{Operation: rules.Process, Path: path})
			e.read(path)
		}
	}
	for program := range e.bound {
		if !e.listening[program] {
			e.learner.Add(rules.Access{Operation: rules.Network, Source: program, Protocol: "UDP", SockType: "SOCK_DGRAM"})
		}
	}
	if len(e.started)+len(e.acting) > 0 {
		e.read("/lib/ld-musl-x86_64.so.1") // the loader, which the kernel opens
		e.read("/lib/ld-musl-aarch64.so.1")
	}
}
