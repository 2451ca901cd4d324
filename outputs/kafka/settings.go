package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

// recordTries is how often a record is tried within one delivery, for failures
// that are part of Kafka's daily life, such as a partition that has moved.
const recordTries = 4

// topicName is what Kafka allows, up to maxTopic characters
// (org.apache.kafka.common.internals.Topic).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

const maxTopic = 249

type settings struct {
	brokers     []string
	topic       string
	create      bool
	tls         *tls.Config // nil for no TLS
	mechanism   string
	username    string
	password    secret.String
	acks        kgo.Acks
	compression kgo.CompressionCodec
	clientID    string
	encode      func(*schema.Event) ([]byte, error)
}

func parse(v outputs.Values) (settings, error) {
	s := settings{
		topic: v.String("topic"), username: v.String("username"),
		password: secret.New(v.String("password")), clientID: v.String("clientid"),
	}
	for broker := range strings.SplitSeq(v.String("hostport"), ",") {
		if broker = strings.TrimSpace(broker); broker == "" {
			continue
		}
		if u, err := url.Parse("//" + broker); err != nil || u.Hostname() == "" || u.Host != broker {
			return s, fmt.Errorf("%s: %q is not host:port", v.Name("hostport"), broker)
		}
		s.brokers = append(s.brokers, broker)
	}
	if len(s.brokers) == 0 {
		return s, fmt.Errorf("%s: no broker is named", v.Name("hostport"))
	}
	if !topicName.MatchString(s.topic) || len(s.topic) > maxTopic {
		return s, fmt.Errorf("%s: %q is not a name of a topic", v.Name("topic"), s.topic)
	}
	var errs []error
	var err error
	if s.encode, err = ocsf.Encoder(v); err != nil {
		errs = append(errs, err)
	}
	s.create = boolean(v, "topiccreation", &errs)
	if boolean(v, "tls", &errs) {
		if s.tls, err = tlsclient.Config(v); err != nil {
			errs = append(errs, err)
		}
		s.tls = cmp.Or(s.tls, &tls.Config{MinVersion: tls.VersionTLS12})
	}
	s.acks = choose(v, "requiredacks", &errs, map[string]kgo.Acks{
		"ALL": kgo.AllISRAcks(), "ONE": kgo.LeaderAck(), "NONE": kgo.NoAck(),
	})
	s.compression = choose(v, "compression", &errs, map[string]kgo.CompressionCodec{
		"NONE": kgo.NoCompression(), "GZIP": kgo.GzipCompression(), "SNAPPY": kgo.SnappyCompression(),
		"LZ4": kgo.Lz4Compression(), "ZSTD": kgo.ZstdCompression(),
	})
	s.mechanism = choose(v, "sasl", &errs, map[string]string{
		"": "", "PLAIN": "PLAIN", "SCRAM_SHA256": "SCRAM_SHA256", "SCRAM_SHA512": "SCRAM_SHA512",
		"SCRAM_SHA_256": "SCRAM_SHA256", "SCRAM_SHA_512": "SCRAM_SHA512", // Kafka's own spelling, but for the dashes
	})
	if s.mechanism != "" && (s.username == "" || s.password.IsZero()) {
		errs = append(errs, fmt.Errorf("%s needs %s and %s", v.Name("sasl"), v.Name("username"), v.Name("password")))
	}
	if s.mechanism == "" && (s.username != "" || !s.password.IsZero()) {
		errs = append(errs, fmt.Errorf("%s and %s are of no use without %s", v.Name("username"), v.Name("password"), v.Name("sasl")))
	}
	return s, errors.Join(errs...)
}

func boolean(v outputs.Values, key string, errs *[]error) bool {
	b, err := outputs.Bool(v, key)
	if err != nil {
		*errs = append(*errs, err)
	}
	return b
}

func choose[T any](v outputs.Values, key string, errs *[]error, known map[string]T) T {
	given := v.String(key)
	choice, ok := known[strings.ReplaceAll(strings.ToUpper(strings.TrimSpace(given)), "-", "_")]
	if !ok {
		*errs = append(*errs, fmt.Errorf("%s: unknown value %q", v.Name(key), given))
	}
	return choice
}

// options are those of a client. It takes what a batch needs and no more: the
// batch is made already.
func (s *settings) options() []kgo.Opt {
	options := []kgo.Opt{
		kgo.SeedBrokers(s.brokers...),
		kgo.DefaultProduceTopic(s.topic),
		kgo.ClientID(s.clientID),
		kgo.RequiredAcks(s.acks),
		kgo.ProducerBatchCompression(s.compression, kgo.NoCompression()),
		kgo.ProducerLinger(0),
		kgo.RecordRetries(recordTries),
		kgo.UnknownTopicRetries(recordTries),
		kgo.RequestRetries(recordTries),
		kgo.RetryTimeout(20 * time.Second),
		kgo.DialTimeout(10 * time.Second),
		kgo.MetadataMinAge(250 * time.Millisecond), // between two looks for a topic or a leader
		kgo.DisableClientMetrics(),
	}
	if s.acks != kgo.AllISRAcks() {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if s.create {
		options = append(options, kgo.AllowAutoTopicCreation())
	}
	if s.tls != nil {
		options = append(options, kgo.DialTLSConfig(s.tls.Clone()))
	}
	if m := s.sasl(); m != nil {
		options = append(options, kgo.SASL(m))
	}
	return options
}

func (s *settings) sasl() sasl.Mechanism {
	switch s.mechanism {
	case "PLAIN":
		return plain.Plain(func(context.Context) (plain.Auth, error) {
			return plain.Auth{User: s.username, Pass: s.password.Reveal()}, nil
		})
	case "SCRAM_SHA256":
		return scram.Sha256(s.scram)
	case "SCRAM_SHA512":
		return scram.Sha512(s.scram)
	}
	return nil
}

func (s *settings) scram(context.Context) (scram.Auth, error) {
	return scram.Auth{User: s.username, Pass: s.password.Reveal()}, nil
}

// permanent says whether a broker, or the client in its place, will never take
// the record. What is missing or forbidden is put right by somebody without a
// restart.
func permanent(err error) bool {
	for _, p := range []error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp,
		kerr.CorruptMessage, kerr.PolicyViolation, kerr.UnsupportedForMessageFormat,
	} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

// describe says what went wrong without what a broker could have copied from
// the credentials. When time ran out, the reason is that of the last connection
// that failed.
func (o *output) describe(ctx context.Context, err error) error {
	text := "write to Kafka topic " + o.settings.topic + ": " + o.settings.clean(err)
	if reason := o.connects.last(); reason != nil {
		text += " (connection: " + o.settings.clean(reason) + ")"
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", text, ctx.Err())
	}
	return errors.New(text)
}

func (s *settings) clean(err error) string {
	text := err.Error()
	if p := s.password.Reveal(); p != "" {
		text = strings.ReplaceAll(text, p, "***")
	}
	return clip.Line(text, 300, nil)
}

// connectErrors remembers why the last connection could not be made.
type connectErrors struct {
	mu  sync.Mutex
	err error // guarded by mu
}

var _ kgo.HookBrokerConnect = (*connectErrors)(nil)

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (c *connectErrors) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *connectErrors) last() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
