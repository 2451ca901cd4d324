package kubearmor

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/sidearmor/sidearmor/schema"
)

// fill sets every field to a value of its own.
func fill(m protoreflect.Message) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		text := protoreflect.ValueOfString(fmt.Sprintf("%s <%d>", f.Name(), f.Number()))
		switch {
		case f.IsMap():
			for _, key := range []string{"Syscall", "Flags", ""} {
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(key).MapKey(), text)
			}
		case f.IsList():
			m.Mutable(f).List().Append(text)
			m.Mutable(f).List().Append(protoreflect.ValueOfString("é"))
		case f.Message() != nil:
			fill(m.Mutable(f).Message())
		case f.Kind() == protoreflect.StringKind:
			m.Set(f, text)
		case f.Kind() == protoreflect.Int32Kind:
			m.Set(f, protoreflect.ValueOfInt32(-int32(f.Number())))
		default:
			m.Set(f, protoreflect.ValueOfInt64(int64(f.Number())<<40))
		}
	}
}

// What KubeArmor's own clients print as JSON, posted, is the same event.
func TestEventsAreThoseOfTheJSON(t *testing.T) {
	fullAlert, fullLog := &pb.Alert{}, &pb.Log{}
	fill(fullAlert.ProtoReflect())
	fullAlert.Type = schema.TypeMatchedPolicy
	fill(fullLog.ProtoReflect())
	fullLog.Type = schema.TypeContainerLog
	type message interface {
		proto.Message
		GetType() string
	}
	for name, m := range map[string]message{
		"alert with everything":   fullAlert,
		"alert with little":       &pb.Alert{Type: schema.TypeSystemEvent, Operation: schema.OperationAlertThreshold},
		"alert with empty parts":  &pb.Alert{Type: schema.TypeMatchedHostPolicy, Operation: "File", Owner: &pb.Podowner{}, ExecEvent: &pb.ExecEvent{}},
		"alert of the far past":   &pb.Alert{Type: schema.TypeMatchedPolicy, Operation: "File", Timestamp: -1 << 63, UpdatedTime: "yesterday"},
		"alert of the far future": &pb.Alert{Type: schema.TypeMatchedPolicy, Operation: "File", Timestamp: 1<<63 - 1},
		"alert with a long text":  &pb.Alert{Type: schema.TypeMatchedPolicy, Operation: "File", Resource: strings.Repeat("r", schema.MaxStringBytes)},
		"log with everything":     fullLog,
		"log with little":         &pb.Log{Type: schema.TypeHostLog, Operation: "Network"},
	} {
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		want, err := schema.Decode(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, event(m), cmpopts.IgnoreUnexported(schema.Event{})); diff != "" {
			t.Errorf("%s (-posted +received):\n%s", name, diff)
		}
		back, err := json.Marshal(messageOf(event(m)))
		if err != nil || string(back) != string(text) {
			t.Errorf("%s: sent on as %s, want %s (%v)", name, back, text, err)
		}
	}
}

func event(m proto.Message) schema.Event {
	if a, ok := m.(*pb.Alert); ok {
		return AlertEvent(a)
	}
	return LogEvent(m.(*pb.Log))
}

func messageOf(e schema.Event) proto.Message {
	if e.Kind == schema.KindAlert {
		return AlertMessage(e.Alert)
	}
	return LogMessage(e.Log)
}

// newer is a message of KubeArmor's present version: that of the module, and the
// fields that came later (protobuf/kubearmor.proto).
func newer(t *testing.T, name string, first int32) protoreflect.MessageDescriptor {
	t.Helper()
	file := protodesc.ToFileDescriptorProto(pb.File_kubearmor_proto)
	for _, m := range file.MessageType {
		if m.GetName() != name {
			continue
		}
		add := func(name string, number int32, label descriptorpb.FieldDescriptorProto_Label, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
			f := &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: &label, Type: &kind}
			m.Field = append(m.Field, f)
			return f
		}
		one, text := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL, descriptorpb.FieldDescriptorProto_TYPE_STRING
		for i, field := range []string{"NodeID", "ProcessHash", "ParentHash", "ResourceHash", "HashAlgo"} {
			add(field, first+int32(i), one, text)
		}
		data := add("EventData", first+5, descriptorpb.FieldDescriptorProto_LABEL_REPEATED, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE)
		data.TypeName = proto.String(".feeder." + name + ".EventDataEntry")
		add("UserName", first+6, one, text)
		m.NestedType = append(m.NestedType, &descriptorpb.DescriptorProto{
			Name: proto.String("EventDataEntry"), Options: &descriptorpb.MessageOptions{MapEntry: proto.Bool(true)},
			Field: []*descriptorpb.FieldDescriptorProto{
				{Name: proto.String("key"), Number: proto.Int32(1), Label: &one, Type: &text},
				{Name: proto.String("value"), Number: proto.Int32(2), Label: &one, Type: &text},
			},
		})
	}
	d, err := protodesc.NewFile(file, new(protoregistry.Files))
	if err != nil {
		t.Fatal(err)
	}
	return d.Messages().ByName(protoreflect.Name(name))
}

// Nothing that the present KubeArmor sends is lost on the way in, nor on the way
// out, although the module does not know all of it.
func TestLaterFields(t *testing.T) {
	for _, c := range []struct {
		name   string
		first  int32
		module proto.Message
	}{
		{"Alert", 38, &pb.Alert{}},
		{"Log", 28, &pb.Log{}},
	} {
		want := dynamicpb.NewMessage(newer(t, c.name, c.first))
		fill(want)
		sent, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(sent, c.module); err != nil {
			t.Fatal(err)
		}
		if n := c.module.ProtoReflect().Descriptor().Fields(); n.ByNumber(protowire.Number(c.first)) != nil {
			t.Fatalf("%s: the module has the newer fields by now: take them from there", c.name)
		}
		e := event(c.module)
		body, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		var keys map[string]any
		if err := json.Unmarshal(body, &keys); err != nil {
			t.Fatal(err)
		}
		want.Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if keys[string(f.Name())] == nil {
				t.Errorf("%s: %s is lost", c.name, f.Name())
			}
			return true
		})
		again, err := proto.Marshal(messageOf(e))
		if err != nil {
			t.Fatal(err)
		}
		got := dynamicpb.NewMessage(want.Descriptor())
		if err := proto.Unmarshal(again, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("%s: sent on as\n%v\nwant\n%v", c.name, got, want)
		}
		if len(got.GetUnknown()) > 0 {
			t.Errorf("%s: unknown fields are sent: %x", c.name, got.GetUnknown())
		}
	}
}

// What would be refused of a poster is shortened, and can be sent and stored.
func TestTooLargeIsShortened(t *testing.T) {
	long := strings.Repeat("x", schema.MaxStringBytes+1)
	many := make([]string, schema.MaxEntries+1)
	words := map[string]string{"Bad\xff": "\xfe"}
	for i := range 2 * schema.MaxEntries {
		words[fmt.Sprint("K", i)] = "v"
	}
	for name, m := range map[string]*pb.Alert{
		"string":     {Resource: long},
		"many tags":  {ATags: many},
		"all of it":  {Source: long, Resource: long, Data: long, Message: long, Owner: &pb.Podowner{Name: long}},
		"escapes":    {Resource: strings.Repeat("\x01", 200<<10)},
		"EventData":  AlertMessage(&schema.Alert{Record: schema.Record{EventData: words}}),
		"not UTF-8":  AlertMessage(&schema.Alert{Record: schema.Record{Origin: schema.Origin{NodeID: "a\xff"}}}),
		"no strings": {},
	} {
		m.Type, m.Operation = schema.TypeMatchedPolicy, schema.OperationFile
		e := AlertEvent(m)
		body, err := e.Body()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := schema.Decode(body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := proto.Marshal(AlertMessage(e.Alert)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Whatever a peer sends gives an event that can be posted on, if it says what it
// is.
func FuzzMessage(f *testing.F) {
	full := dynamicpb.NewMessage((&pb.Alert{}).ProtoReflect().Descriptor())
	fill(full)
	seed, err := proto.Marshal(full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(seed, appendNewer(nil, firstNewerOfAlert, &schema.Record{EventData: map[string]string{"a": "b"}, UserName: "u"})...))
	f.Add([]byte("\xda\x02\x02\x0a\x01")) // a map's entry that ends early
	f.Fuzz(func(t *testing.T, b []byte) {
		alert, log := &pb.Alert{}, &pb.Log{}
		if proto.Unmarshal(b, alert) == nil {
			alert.Type, alert.Operation = schema.TypeMatchedPolicy, schema.OperationFile
			check(t, AlertEvent(alert))
		}
		if proto.Unmarshal(b, log) == nil {
			log.Type, log.Operation = schema.TypeContainerLog, schema.OperationFile
			check(t, LogEvent(log))
		}
	})
}

func check(t *testing.T, e schema.Event) {
	t.Helper()
	body, err := e.Body()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := schema.Decode(body); err != nil {
		t.Fatalf("%v: %q", err, body)
	}
	if _, err := proto.Marshal(messageOf(e)); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAlertMessage(b *testing.B) {
	full := &pb.Alert{}
	fill(full.ProtoReflect())
	e := AlertEvent(full)
	e.Alert.EventData = map[string]string{"Syscall": "SYS_OPENAT", "Fd": "-100"}
	for b.Loop() {
		AlertMessage(e.Alert)
	}
}

func BenchmarkAlertEvent(b *testing.B) {
	full := &pb.Alert{}
	fill(full.ProtoReflect())
	for b.Loop() {
		AlertEvent(full)
	}
}
