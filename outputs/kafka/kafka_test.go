package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/kafka"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

const topic = "sidearmor.events"

// cluster is brokers that speak Kafka's protocol in this process.
func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(3, topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func newOutput(t *testing.T, c *kfake.Cluster, more outputtest.Settings) outputs.Output {
	t.Helper()
	s := outputtest.Settings{"hostport": strings.Join(c.ListenAddrs(), ","), "topic": topic}.With(more)
	return open(t, s)
}

func open(t *testing.T, s outputtest.Settings) outputs.Output {
	t.Helper()
	o := outputtest.New(t, kafka.Kind(), s)
	t.Cleanup(func() { o.(io.Closer).Close() })
	return o
}

// stored are the records of the topic, partition by partition.
func stored(t *testing.T, c *kfake.Cluster, want int, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var list []*kgo.Record
	for len(list) < want {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%d of %d records: %v", len(list), want, err)
		}
		list = append(list, fetches.Records()...)
	}
	if len(list) != want {
		t.Fatalf("%d records, want %d", len(list), want)
	}
	slices.SortStableFunc(list, func(a, b *kgo.Record) int { return int(a.Partition - b.Partition) })
	return list
}

func TestDeclaration(t *testing.T) { outputtest.Declaration(t, kafka.Kind()) }

func TestGolden(t *testing.T) {
	c := cluster(t)
	o := newOutput(t, c, nil)
	var batch []schema.Event
	for _, e := range outputtest.Cases() {
		batch = append(batch, e.Event)
	}
	if err := o.Deliver(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	records := map[string]*kgo.Record{}
	for _, r := range stored(t, c, len(batch)) {
		records[string(r.Value)] = r
	}
	for _, e := range outputtest.Cases() {
		t.Run(e.Name, func(t *testing.T) {
			body, err := e.Event.Body()
			if err != nil {
				t.Fatal(err)
			}
			r := records[string(body)]
			if r == nil {
				t.Fatal("was not written")
			}
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			text, err := json.Marshal(struct {
				Key     string
				Headers map[string]string
				Value   json.RawMessage
			}{string(r.Key), headers, r.Value})
			if err != nil {
				t.Fatal(err)
			}
			outputtest.GoldenJSON(t, e.Name+".json", text)
		})
	}
}

func TestOCSF(t *testing.T) {
	c := cluster(t)
	if err := newOutput(t, c, outputtest.Settings{"format": "ocsf"}).Deliver(t.Context(), []schema.Event{outputtest.BlockedExec()}); err != nil {
		t.Fatal(err)
	}
	if r := stored(t, c, 1)[0]; !bytes.Contains(r.Value, []byte(`"class_uid":2004`)) {
		t.Errorf("%.300s", r.Value)
	}
	outputtest.Refused(t, kafka.Kind(), outputtest.Settings{"hostport": "k:9092", "topic": topic, "format": "xml"}, "KAFKA_FORMAT")
}

// TestOrder: what one container did stays in order, also over several batches.
func TestOrder(t *testing.T) {
	c := cluster(t)
	o := newOutput(t, c, nil)
	var want []string
	for b := range 4 {
		var batch []schema.Event
		for i := range 100 {
			e := outputtest.Log()
			e.ID = fmt.Sprintf("%d-%d", b, i)
			want = append(want, e.ID)
			batch = append(batch, e)
		}
		if err := o.Deliver(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	partitions := map[int32]bool{}
	for _, r := range stored(t, c, len(want)) {
		got = append(got, string(r.Headers[0].Value))
		partitions[r.Partition] = true
	}
	if diff := cmp.Diff(want, got); diff != "" || len(partitions) != 1 {
		t.Errorf("%d partitions\n%s", len(partitions), diff)
	}
}

func TestEventsAreNotChanged(t *testing.T) {
	c := cluster(t)
	o := newOutput(t, c, nil)
	for i, e := range append(outputtest.Cases(), outputtest.Oversized()...) {
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{e.Event}); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		if twin := append(outputtest.Cases(), outputtest.Oversized()...)[i]; !reflect.DeepEqual(e, twin) {
			t.Errorf("%s was changed", e.Name)
		}
	}
	for _, r := range stored(t, c, len(outputtest.Cases())+len(outputtest.Oversized())) {
		if !json.Valid(r.Value) {
			t.Errorf("not JSON: %.300s", r.Value)
		}
	}
	if err := o.Deliver(t.Context(), nil); err != nil {
		t.Errorf("no events: %v", err)
	}
}

// TestRefusals: the class of each error code, and which events it is about.
func TestRefusals(t *testing.T) {
	batch := []schema.Event{outputtest.Log(), outputtest.BlockedExec(), outputtest.AuditedConnect()}
	for _, tt := range []struct {
		err    *kerr.Error
		count  int
		class  outputs.Class
		failed []int // nil: delivered
	}{
		{kerr.MessageTooLarge, 0, outputs.Permanent, []int{0, 1, 2}},
		{kerr.InvalidRecord, 0, outputs.Permanent, []int{0, 1, 2}},
		{kerr.InvalidTimestamp, 0, outputs.Permanent, []int{0, 1, 2}},
		{kerr.TopicAuthorizationFailed, 0, outputs.Transient, []int{0, 1, 2}},
		{kerr.NotLeaderForPartition, 1, 0, nil},
		{kerr.NotEnoughReplicas, 2, 0, nil},
	} {
		t.Run(tt.err.Message, func(t *testing.T) {
			c := cluster(t)
			o := newOutput(t, c, nil)
			count := tt.count
			if count == 0 {
				count = -1
			}
			c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: tt.err, Count: count})
			err := outputtest.Deliver(t.Context(), t, o, batch)
			if tt.failed == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*outputs.Error](err)
			if !ok || e.Class != tt.class || !slices.Equal(slices.Sorted(slices.Values(e.Failed)), tt.failed) {
				t.Errorf("got %#v (%v)", e, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.err.Message) {
				t.Errorf("the reason is missing: %v", err)
			}
		})
	}
}

// TestOneIsRefused: a record that brokers refuse takes no other with it.
func TestOneIsRefused(t *testing.T) {
	c := cluster(t)
	o := newOutput(t, c, outputtest.Settings{"compression": "none"})
	var batch []schema.Event
	for i := range 20 {
		e := outputtest.Log()
		e.ID = fmt.Sprint(i)
		if i == 7 || i == 13 {
			e.ID = "poison"
		}
		batch = append(batch, e)
	}
	c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: topic, Err: kerr.MessageTooLarge, Count: -1,
		When: func(r kmsg.Request) bool {
			return bytes.Contains(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records, []byte("poison"))
		},
	})
	err := outputtest.Deliver(t.Context(), t, o, batch)
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok || e.Class != outputs.Permanent || !slices.Equal(e.Failed, []int{7, 13}) {
		t.Fatalf("got %#v (%v)", e, err)
	}
	stored(t, c, 18)
}

// failsWith delivers in vain until the error has what is wanted. Kafka's client tries
// as long as it may, so how long it must be given to come so far is not known.
func failsWith(t *testing.T, o outputs.Output, want string) {
	t.Helper()
	for bound := time.Second; ; bound *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		err := outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.Log()})
		cancel()
		if err == nil || outputtest.Class(err) != outputs.Transient {
			t.Fatalf("%v is no transient failure", err)
		}
		if strings.Contains(err.Error(), want) {
			return
		}
		if bound > 30*time.Second {
			t.Fatalf("%v does not tell of %q", err, want)
		}
	}
}

func TestAuthentication(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM_SHA256", "scram-sha-512"} {
		t.Run(mechanism, func(t *testing.T) {
			name := map[string]string{"PLAIN": "PLAIN", "SCRAM_SHA256": "SCRAM-SHA-256", "scram-sha-512": "SCRAM-SHA-512"}[mechanism]
			c := cluster(t, kfake.EnableSASL(), kfake.Superuser(name, "writer", outputtest.Canary))
			right := outputtest.Settings{"sasl": mechanism, "username": "writer", "password": outputtest.Canary}
			o := newOutput(t, c, right)
			if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
				t.Error(err)
			}
			o.(io.Closer).Close()
			outputtest.NoSecret(t, o)
			wrong := newOutput(t, c, outputtest.Settings{"sasl": mechanism, "username": "writer", "password": "x" + outputtest.Canary})
			failsWith(t, wrong, "(connection: ")
		})
	}
}

// TestTLS: the connection is encrypted and the brokers' certificate checked.
func TestTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.StartTLS() // for its certificate
	defer srv.Close()
	c := cluster(t, kfake.TLS(&tls.Config{Certificates: srv.TLS.Certificates}))
	file := outputtest.CertificateFile(t, srv)
	failsWith(t, newOutput(t, c, outputtest.Settings{"tls": "true"}), "certificate")
	o := newOutput(t, c, outputtest.Settings{"tls": "true", "cacertfile": file})
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
		t.Error(err)
	}
}

// TestRefusedLogin: what a broker says about a login is shown, but not when it
// repeats the password.
func TestRefusedLogin(t *testing.T) {
	c := cluster(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "writer", outputtest.Canary))
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		answer := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		answer.ErrorCode = kerr.SaslAuthenticationFailed.Code
		answer.ErrorMessage = kmsg.StringPtr("no login with " + outputtest.Canary)
		return answer, nil, true
	})
	o := newOutput(t, c, outputtest.Settings{"sasl": "PLAIN", "username": "writer", "password": outputtest.Canary})
	failsWith(t, o, "SASL_AUTHENTICATION_FAILED")
}

// TestBrokersGone: while no broker can be reached the failure is transient and
// says why; the same output delivers once they are back.
func TestBrokersGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	o := open(t, outputtest.Settings{"hostport": l.Addr().String(), "topic": topic})
	failsWith(t, o, "refused")
	c := cluster(t, kfake.NumBrokers(1), kfake.Ports(port))
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
		t.Error(err)
	}
	stored(t, c, 1)
}

func TestMissingTopic(t *testing.T) {
	c := cluster(t)
	o := newOutput(t, c, outputtest.Settings{"topic": "missing"})
	err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()})
	if err == nil || outputtest.Class(err) != outputs.Transient || !strings.Contains(err.Error(), "UNKNOWN_TOPIC_OR_PARTITION") {
		t.Errorf("got %v", err)
	}
	if err := c.CreateTopic("missing", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
		t.Errorf("once it is there: %v", err)
	}
}

// TestCalledOff: a broker that does not answer is left as soon as the delivery
// is called off, and nothing stays behind that could be written later.
func TestCalledOff(t *testing.T) {
	c := cluster(t)
	before := runtime.NumGoroutine()
	o := newOutput(t, c, nil)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		c.SleepControl(func() { <-release })
		return nil, io.ErrUnexpectedEOF, true
	})
	err := o.Deliver(ctx, []schema.Event{outputtest.Log()})
	close(release)
	if outputtest.Class(err) != outputs.Transient || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := o.Deliver(ctx, []schema.Event{outputtest.Log()}); !errors.Is(err, context.Canceled) {
		t.Errorf("called off before: %v", err)
	}
	if err := o.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	c.Close()
	outputtest.Leaks(t, before)
}

func TestRefusedSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		settings outputtest.Settings
		want     string
	}{
		"no broker":    {outputtest.Settings{"hostport": " , "}, "KAFKA_HOSTPORT"},
		"bad broker":   {outputtest.Settings{"hostport": "a:b"}, "KAFKA_HOSTPORT"},
		"no topic":     {outputtest.Settings{"topic": ""}, "KAFKA_TOPIC"},
		"bad topic":    {outputtest.Settings{"topic": "a b"}, "KAFKA_TOPIC"},
		"long topic":   {outputtest.Settings{"topic": strings.Repeat("a", 250)}, "KAFKA_TOPIC"},
		"tls":          {outputtest.Settings{"tls": "maybe"}, "KAFKA_TLS"},
		"acks":         {outputtest.Settings{"requiredacks": "TWO"}, "KAFKA_REQUIREDACKS"},
		"compression":  {outputtest.Settings{"compression": "rar"}, "KAFKA_COMPRESSION"},
		"sasl":         {outputtest.Settings{"sasl": "GSSAPI", "password": outputtest.Canary}, "KAFKA_SASL"},
		"no password":  {outputtest.Settings{"sasl": "PLAIN", "username": "a"}, "KAFKA_PASSWORD"},
		"no mechanism": {outputtest.Settings{"username": "a", "password": outputtest.Canary}, "KAFKA_SASL"},
	} {
		t.Run(name, func(t *testing.T) {
			all := outputtest.Settings{"hostport": "127.0.0.1:9092", "topic": topic}.With(tt.settings)
			outputtest.Refused(t, kafka.Kind(), all, tt.want)
		})
	}
	for _, acks := range []string{"one", "NONE"} { // no idempotence
		o := newOutput(t, cluster(t), outputtest.Settings{"requiredacks": acks})
		if err := outputtest.Deliver(t.Context(), t, o, []schema.Event{outputtest.Log()}); err != nil {
			t.Errorf("%s: %v", acks, err)
		}
	}
}
