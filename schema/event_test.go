package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestDecodeRefuses(t *testing.T) {
	const ok = `"Type":"ContainerLog","Operation":"File"`
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + `1` + strings.Repeat(`}`, n) }
	entries := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":"v"`, i)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	tests := []struct {
		name, body, field, reason string
	}{
		{"empty", ``, "", "empty"},
		{"white space", " \n", "", "empty"},
		{"list", `[{}]`, "", "must be an object, not a list"},
		{"null", `null`, "", "not JSON"},
		{"truncated", `{"Type":"x"`, "", "the text ends"},
		{"truncated string", `{"Type":"x`, "Type", "the text ends"},
		{"no colon", `{"Type" "x"}`, "Type", "colon"},
		{"no comma", `{"Type":"x" "PID":1}`, "", "comma"},
		{"final comma", `{"Type":"x",}`, "", "key in quotes"},
		{"trailing garbage", `{` + ok + `} x`, "", "text after the event"},
		{"second event", `{` + ok + `}{` + ok + `}`, "", "text after the event"},
		{"byte order mark", "\xef\xbb\xbf{" + ok + "}", "", "byte order mark"},
		{"UTF-16 with mark", "\xff\xfe{\x00", "", "UTF-16"},
		{"UTF-16 without mark", "{\x00\"\x00", "", "UTF-16"},
		{"invalid UTF-8", "{\"Source\":\"\xff\"," + ok + "}", "", "not UTF-8"},
		{"control character", "{\"Source\":\"\n\"," + ok + "}", "Source", "control characters"},
		{"control character after an escape", "{\"Source\":\"\\\"\n\"," + ok + "}", "Source", "control characters"},
		{"half a surrogate pair and no escape", `{"Source":"\ud800\x",` + ok + `}`, "Source", "escape"},
		{"unknown escape", `{"Source":"\x41",` + ok + `}`, "Source", "escape"},
		{"escape at the end", `{"Source":"\`, "Source", "the text ends"},
		{"duplicate key", `{` + ok + `,"PID":1,"PID":2}`, "PID", "given twice"},
		{"duplicate key, escaped", `{` + ok + `,"PID":1,"\u0050ID":2}`, "PID", "given twice"},
		{"duplicate key in both spellings", `{` + ok + `,"hostPid":1,"HostPID":2}`, "HostPID", "given twice, as hostPid"},
		{"duplicate unknown key", `{` + ok + `,"x":1,"x":1}`, "x", "given twice"},
		{"duplicate key after many", `{` + ok + `,` + strings.TrimPrefix(strings.TrimSuffix(entries(200), "}"), "{") + `,"k7":1}`, "k7", "given twice"},
		{"duplicate key among many", `{` + ok + `,` + strings.TrimPrefix(strings.TrimSuffix(entries(200), "}"), "{") + `,"k150":1}`, "k150", "given twice"},
		{"duplicate key in a map", `{` + ok + `,"EventData":{"A":"1","A":"2"}}`, "EventData.A", "given twice"},
		{"duplicate key in an unknown field", `{` + ok + `,"x":[{"a":1,"a":2}]}`, "x[0].a", "given twice"},
		{"string for a number", `{` + ok + `,"PID":"12"}`, "PID", "must be a whole number, not a string"},
		{"string for a number, camelCase", `{"type":"x","operation":"y","hostPPid":"12"}`, "hostPPid", "must be a whole number"},
		{"number for a string", `{"Type":1,"Operation":"File"}`, "Type", "must be a string, not a number"},
		{"bool for a string", `{"Type":true,"Operation":"File"}`, "Type", "must be a string, not true or false"},
		{"garbage for a string", `{"Type":nul}`, "Type", "not JSON"},
		{"fraction", `{` + ok + `,"PID":1.0}`, "PID", "without a point"},
		{"exponent", `{` + ok + `,"PID":1e3}`, "PID", "without a point"},
		{"int32 overflow", `{` + ok + `,"PID":2147483648}`, "PID", "from -2147483648 to 2147483647"},
		{"int32 underflow", `{` + ok + `,"UID":-2147483649}`, "UID", "out of range"},
		{"int64 overflow", `{` + ok + `,"Timestamp":9223372036854775808}`, "Timestamp", "out of range"},
		{"leading zero", `{` + ok + `,"PID":01}`, "PID", "malformed number"},
		{"lone minus", `{` + ok + `,"PID":-}`, "PID", "malformed number"},
		{"Falco's tags", `{` + ok + `,"Tags":["a"]}`, "Tags", "must be a string, not a list"},
		{"number among tags", `{` + ok + `,"ATags":["a",1]}`, "ATags[1]", "must be a string, not a number"},
		{"tags as a string", `{` + ok + `,"ATags":"a,b"}`, "ATags", "must be a list, not a string"},
		{"number in a map", `{` + ok + `,"EventData":{"Fd":3}}`, "EventData.Fd", "must be a string, not a number"},
		{"owner as a string", `{` + ok + `,"Owner":"x"}`, "Owner", "must be an object"},
		{"number in the owner", `{` + ok + `,"owner":{"ref":1}}`, "owner.ref", "must be a string"},
		{"number in the exec event", `{` + ok + `,"ExecEvent":{"ExecID":0}}`, "ExecEvent.ExecID", "must be a string"},
		{"nested too deep", `{` + ok + `,"x":` + deep(MaxDepth) + `}`, "x" + strings.Repeat(".a", MaxDepth-1), "more than 32 deep"},
		{"lists nested too deep", `{` + ok + `,"x":` + strings.Repeat("[", 1000) + `}`, "x" + strings.Repeat("[0]", MaxDepth-1), "more than 32 deep"},
		{"map too large", `{` + ok + `,"EventData":` + entries(MaxEntries+1) + `}`, "EventData", "more than 256 entries"},
		{"string too long", `{` + ok + `,"Source":"` + strings.Repeat("x", MaxStringBytes+1) + `"}`, "Source", "at most 262144"},
		{"string too long, unescaped", `{` + ok + `,"Source":"` + strings.Repeat(`\t`, MaxStringBytes+1) + `"}`, "Source", "at most 262144"},
		{"event too large", `{` + ok + `,"x":"` + strings.Repeat("x", MaxEventBytes) + `"}`, "", "at most 1048576"},
		{"no type", `{"Operation":"File"}`, "Type", "missing"},
		{"no operation", `{"Type":"ContainerLog"}`, "Operation", "missing"},
		{"empty operation, camelCase", `{"type":"ContainerLog","operation":""}`, "operation", "missing"},
		{"null type", `{"Type":null,"Operation":"File"}`, "Type", "missing"},
		{"Falco", `{"rule":"r","output_fields":{"a":1}}`, "rule", "Falco"},
		{"Falco's keys beside KubeArmor's", `{` + ok + `,"Rule":"r","output_fields":{"a":1}}`, "Rule", "Falco"},
		{"Falco's output fields alone", `{"output_fields":{"a":1}}`, "output_fields", "Falco"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := Decode([]byte(tt.body))
			var fe *FieldError
			if !errors.As(err, &fe) {
				t.Fatalf("decoded as %+v with error %v", e, err)
			}
			if fe.Field != tt.field || !strings.Contains(fe.Reason, tt.reason) {
				t.Errorf("error %+v, want field %q and reason %q", *fe, tt.field, tt.reason)
			}
			if e != (Event{}) {
				t.Errorf("an event beside the error: %+v", e)
			}
		})
	}
}

// TestDecodeAtTheLimits takes what the limits just allow.
func TestDecodeAtTheLimits(t *testing.T) {
	const ok = `{"Type":"ContainerLog","Operation":"File"`
	tests := map[string]string{
		"depth":    ok + `,"x":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`,
		"string":   ok + `,"Source":"` + strings.Repeat("x", MaxStringBytes) + `"}`,
		"entries":  ok + `,"x":[` + strings.Repeat("1,", MaxEntries-1) + `1]}`,
		"integers": ok + `,"PID":-2147483648,"UID":2147483647,"Timestamp":-9223372036854775808}`,
	}
	for name, body := range tests {
		if _, err := Decode([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodeIsLenient(t *testing.T) {
	body := ` { "type" : "MatchedPolicy" , "Operation":"File","policyName":null,"ATags":null,"Owner":null,"EventData":{},
		"PID":-0, "severity":"5","Source":"\u0041\ud83d\ude00\/\n","Hash":{"of":[1,2.5e-3,true,false,null]},"PIDS":"x","owner_":1 } `
	want := Event{Kind: KindAlert, Alert: &Alert{
		Record:   Record{Type: "MatchedPolicy", Operation: "File", Source: "A😀/\n"},
		Severity: "5",
	}}
	if diff := cmp.Diff(want, decode(t, []byte(body)), cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Half a surrogate pair costs a character, not the event, nor what stands beside it.
func TestHalfSurrogates(t *testing.T) {
	for text, want := range map[string]string{
		`a\ud800`: "a\ufffd", `\udc00b`: "\ufffdb", `\ud800\ud800`: "\ufffd\ufffd", `\ud800\u0041`: "\ufffdA",
		`\ud800\ud83d\ude00`: "\ufffd😀", `\ud800\n`: "\ufffd\n", `\ud83d\ude00`: "😀", `\ufffd`: "\ufffd",
	} {
		body := []byte(`{"Type":"ContainerLog","Operation":"File","Source":"` + text + `","EventData":{"` + text + `":"x"}}`)
		e := decode(t, body)
		var std string
		if err := json.Unmarshal([]byte(`"`+text+`"`), &std); err != nil || std != want {
			t.Fatalf("%s: encoding/json reads %q, %v", text, std, err)
		}
		if r := e.Record(); r.Source != want || r.EventData[want] != "x" {
			t.Errorf("%s: read as %q, %q", text, r.Source, r.EventData)
		}
		var packer Packer
		packs(t, &packer, body, e, nil)
		p, err := packer.Pack(body)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := p.AppendJSON(nil)
		if err != nil || strings.Contains(want, "\ufffd") && (strings.Contains(string(stored), `\ud8`) || strings.Contains(string(stored), `\udc`)) {
			t.Errorf("%s: stored as %s, %v", text, stored, err)
		}
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		body string
		want Kind
		err  string
	}{
		{`{"Type":"MatchedPolicy","Operation":"File"}`, KindAlert, ""},
		{`{"type":"MatchedHostPolicy","operation":"File"}`, KindAlert, ""},
		{`{"Type":"MatchedNetworkPolicy","Operation":"NetworkFirewall"}`, KindAlert, ""},
		{`{"Type":"SystemEvent","Operation":"AlertThreshold"}`, KindAlert, ""},
		{`{"Type":"ContainerLog","Operation":"File"}`, KindLog, ""},
		{`{"Type":"HostLog","Operation":"File"}`, KindLog, ""},
		{`{"Type":"HostLog","Operation":"File","Enforcer":"eBPF Monitor"}`, KindLog, ""},
		{`{"Type":"ContainerLog","Operation":"File","PolicyName":"p"}`, KindAlert, ""},
		{`{"Type":"ContainerLog","Operation":"File","action":"Block"}`, KindAlert, ""},
		{`{"Operation":"File","enforcer":"BPFLSM"}`, KindAlert, ""},
		{`{"Operation":"File"}`, KindLog, ""},
		{`{"Type":"Something new","Operation":"File"}`, KindLog, ""},
		{`{"rule":"r","output_fields":{}}`, KindFalco, ""},
		{`{"rule":"r"}`, KindFalco, ""},
		{`{"Output_Fields":{}}`, KindFalco, ""},
		{`{"Type":"ContainerLog","Operation":"File","rule":"of somebody else"}`, KindLog, ""},
		{`{"Type":"ContainerLog","Operation":"File","rule":"r","output_fields":{}}`, KindFalco, ""},
		{`{}`, "", "neither a KubeArmor event"},
		{`{"a":1}`, "", "neither a KubeArmor event"},
		{`{"Type":5}`, "", "Type: must be a string"},
		{`{"PID":"not looked at","Type":"HostLog"}`, KindLog, ""},
		{`nonsense`, "", "not JSON"},
	}
	for _, tt := range tests {
		got, err := Classify([]byte(tt.body))
		if got != tt.want || (err != nil) != (tt.err != "") || (err != nil && !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %q, %v; want %q, %q", tt.body, got, err, tt.want, tt.err)
		}
	}
}

func TestPriority(t *testing.T) {
	block := []Priority{
		PriorityWarning, PriorityWarning, PriorityWarning, PriorityWarning,
		PriorityError, PriorityError, PriorityError, PriorityCritical, PriorityCritical, PriorityAlert, PriorityAlert,
	}
	audit := []Priority{
		PriorityNotice, PriorityNotice, PriorityNotice, PriorityNotice,
		PriorityWarning, PriorityWarning, PriorityWarning, PriorityError, PriorityError, PriorityCritical, PriorityCritical,
	}
	check := func(e Event, want Priority) {
		t.Helper()
		if got := e.Priority(); got != want {
			t.Errorf("%+v: %s, want %s", e.Alert, got, want)
		}
	}
	alert := func(action, severity string) Event {
		return Event{Kind: KindAlert, Alert: &Alert{Action: action, Severity: severity}}
	}
	for severity := range 11 {
		check(alert(ActionBlock, strconv.Itoa(severity)), block[severity])
		for _, action := range []string{ActionAudit, ActionAuditBlock, ActionAllow, ""} {
			check(alert(action, strconv.Itoa(severity)), audit[severity])
		}
	}
	check(alert(ActionBlock, ""), PriorityWarning)
	check(alert(ActionBlock, "high"), PriorityWarning)
	check(alert(ActionBlock, "-1"), PriorityWarning)
	check(alert(ActionBlock, "11"), PriorityAlert)
	check(alert(ActionAudit, ""), PriorityNotice)
	check(Event{Alert: &Alert{Record: Record{Type: TypeSystemEvent}, Severity: "10"}}, PriorityWarning)
	for result, want := range map[string]Priority{
		ResultPassed: PriorityInformational, ResultPermissionDenied: PriorityNotice,
		"Operation not permitted": PriorityNotice, "No such file or directory": PriorityInformational, "": PriorityInformational,
	} {
		check(Event{Kind: KindLog, Log: &Log{Record{Result: result}}}, want)
	}
	check(Event{Kind: KindFalco, Falco: &FalcoEvent{Priority: PriorityEmergency}}, PriorityEmergency)
	check(Event{}, PriorityDefault)
}

func TestBlocked(t *testing.T) {
	tests := []struct {
		event Event
		want  bool
	}{
		{Event{Alert: &Alert{Action: ActionBlock, Record: Record{Result: ResultPermissionDenied}}}, true},
		{Event{Alert: &Alert{Action: ActionBlock, Record: Record{Result: ResultPassed}}}, false},
		{Event{Alert: &Alert{Action: ActionAudit, Record: Record{Result: ResultPermissionDenied}}}, false},
		{Event{Alert: &Alert{Action: ActionAuditBlock, Record: Record{Result: ResultPassed}}}, false},
		{Event{Log: &Log{Record{Result: ResultPermissionDenied}}}, false},
		{Event{Falco: &FalcoEvent{}}, false},
		{Event{}, false},
	}
	for _, tt := range tests {
		if got := tt.event.Blocked(); got != tt.want {
			t.Errorf("%+v: %v", tt.event, got)
		}
	}
}

func TestTime(t *testing.T) {
	received := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	happened := time.Date(2025, 12, 16, 5, 37, 19, 127331000, time.UTC)
	tests := []struct {
		name  string
		event Event
		want  time.Time
	}{
		{"updated", Event{Alert: &Alert{Record: Record{UpdatedTime: "2025-12-16T05:37:19.127331Z", Timestamp: 1}}}, happened},
		{"updated, malformed", Event{Log: &Log{Record{UpdatedTime: "today", Timestamp: 1765863439}}}, happened.Truncate(time.Second)},
		{"timestamp", Event{Log: &Log{Record{Timestamp: 1765863439}}}, happened.Truncate(time.Second)},
		{"none", Event{Received: received, Log: &Log{Record{Timestamp: -1}}}, received.UTC()},
		{"Falco", Event{Received: received, Falco: &FalcoEvent{Time: happened}}, happened},
		{"nothing", Event{}, time.Time{}},
	}
	for _, tt := range tests {
		if got := tt.event.Time(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEventData(t *testing.T) {
	tests := []struct {
		operation, resource, data string
		want                      map[string]string
	}{
		{"File", "a=b", "syscall=SYS_OPENAT fd=-100  flags=O_RDONLY|O_CLOEXEC", map[string]string{"Syscall": "SYS_OPENAT", "Fd": "-100", "Flags": "O_RDONLY|O_CLOEXEC"}},
		{"Network", "remoteip=1.2.3.4 port=443 protocol=TCP", "kprobe=tcp_connect domain=AF_INET", map[string]string{"Remoteip": "1.2.3.4", "Port": "443", "Protocol": "TCP", "Kprobe": "tcp_connect", "Domain": "AF_INET"}},
		{"Network", "a=resource", "a=data", map[string]string{"A": "resource"}},
		{"Capabilities", "CAP_NET_RAW", "lsm=CAPABLE CAP_NET_RAW", map[string]string{"Lsm": "CAPABLE"}},
		{"Process", "", "a=b=c =d e= éa=1", map[string]string{"A": "b=c", "E": "", "Éa": "1"}},
		{"Process", "x", "", nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, EventData(tt.operation, tt.resource, tt.data)); diff != "" {
			t.Errorf("%q %q (-want +got):\n%s", tt.resource, tt.data, diff)
		}
	}
	var many strings.Builder
	for i := range 2 * MaxEntries {
		fmt.Fprintf(&many, "k%d=v ", i)
	}
	if n := len(EventData("File", "", many.String())); n != MaxEntries {
		t.Errorf("%d entries", n)
	}
}

func TestPriorityNames(t *testing.T) {
	for p := PriorityDebug; p <= PriorityEmergency; p++ {
		for _, name := range []string{p.String(), strings.ToUpper(p.String()), strings.ToLower(p.String())} {
			if got, err := ParsePriority(name); got != p || err != nil {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	if p, err := ParsePriority("info"); p != PriorityInformational || err != nil {
		t.Errorf("info: %v, %v", p, err)
	}
	for _, name := range []string{"", "warn", "xcriticalx"} {
		if p, err := ParsePriority(name); err == nil {
			t.Errorf("%q: %v", name, p)
		}
	}
}
