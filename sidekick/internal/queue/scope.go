package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// scoped lets streams and subjects in a shared cluster be spoken of by the names
// that they have in a store of our own: ALERTS is sidearmor-ALERTS there, and
// alerts is sidearmor.alerts.
type scoped struct {
	jetstream.JetStream
	name string
}

func (s scoped) stream(name string) string     { return s.name + "-" + name }
func (s scoped) subject(subject string) string { return s.name + "." + subject }

// Stream implements jetstream.JetStream.
func (s scoped) Stream(ctx context.Context, name string) (jetstream.Stream, error) {
	return s.JetStream.Stream(ctx, s.stream(name))
}

// CreateStream implements jetstream.JetStream.
func (s scoped) CreateStream(ctx context.Context, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	cfg.Name, cfg.Subjects = s.stream(cfg.Name), slices.Clone(cfg.Subjects)
	for i := range cfg.Subjects {
		cfg.Subjects[i] = s.subject(cfg.Subjects[i])
	}
	return s.JetStream.CreateStream(ctx, cfg)
}

// Publish implements jetstream.JetStream.
func (s scoped) Publish(ctx context.Context, subject string, data []byte, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return s.JetStream.Publish(ctx, s.subject(subject), data, opts...)
}

// PublishMsg implements jetstream.JetStream.
func (s scoped) PublishMsg(ctx context.Context, msg *nats.Msg, opts ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	return s.JetStream.PublishMsg(ctx, &nats.Msg{Subject: s.subject(msg.Subject), Header: msg.Header, Data: msg.Data}, opts...)
}

// PublishMsgAsync implements jetstream.JetStream.
func (s scoped) PublishMsgAsync(msg *nats.Msg, opts ...jetstream.PublishOpt) (jetstream.PubAckFuture, error) {
	return s.JetStream.PublishMsgAsync(&nats.Msg{Subject: s.subject(msg.Subject), Header: msg.Header, Data: msg.Data}, opts...)
}

// stored is the subject that messages have in the store.
func (q *Queue) stored(subject string) string {
	if q.cluster == nil {
		return subject
	}
	return scoped{name: q.cluster.Name}.subject(subject)
}

// errMismatch is wrapped by errors about streams that exist and cannot be used.
var errMismatch = errors.New("stream is not one of a sidekick's queue")

// joinStreams makes the streams that are missing. Those that are there stay as
// they are: members with different settings must not change them back and forth.
func (q *Queue) joinStreams(ctx context.Context) error {
	for _, cfg := range q.streams() {
		cfg.Replicas = q.cluster.Replicas
		stream, err := q.js.Stream(ctx, cfg.Name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			stream, err = q.js.CreateStream(ctx, cfg)
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another member was faster
				stream, err = q.js.Stream(ctx, cfg.Name)
			}
		}
		name := scoped{name: q.cluster.Name}.stream(cfg.Name)
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.ErrorCode == errCodeNotClustered || api.ErrorCode == errCodeNoPeers) {
			return fmt.Errorf("create stream %s with QUEUE_REPLICAS=%d at %s: %w", name, cfg.Replicas, q.cluster.servers(), err)
		}
		if err != nil {
			return fmt.Errorf("stream %s at %s: %w", name, q.cluster.servers(), err)
		}
		if err := q.accept(stream.CachedInfo().Config, cfg); err != nil {
			return fmt.Errorf("stream %s at %s: %w", name, q.cluster.servers(), err)
		}
	}
	return nil
}

// accept compares a stream with what it would be made like here.
func (q *Queue) accept(is, want jetstream.StreamConfig) error {
	subject := q.stored(want.Subjects[0])
	if !slices.Equal(is.Subjects, []string{subject}) || is.Retention != want.Retention || is.Discard != want.Discard || is.NoAck {
		return fmt.Errorf("%w: it has the subjects %s, retention %s and discard policy %s; choose another QUEUE_NAME",
			errMismatch, strings.Join(is.Subjects, ","), is.Retention, is.Discard)
	}
	if is.MaxBytes <= 0 && want.Name != deadLetters {
		return fmt.Errorf("%w: it has no limit of bytes", errMismatch)
	}
	if is.MaxBytes != want.MaxBytes || is.Replicas != want.Replicas {
		q.log.Warn("stream in the cluster differs from the settings here and stays as it is, change it with nats stream edit",
			"stream", is.Name, "bytes", is.MaxBytes, "bytes_here", want.MaxBytes, "replicas", is.Replicas, "replicas_here", want.Replicas)
	}
	if s := Stream(want.Name); s == Alerts || s == Logs {
		q.limits[s] = is.MaxBytes
	}
	return nil
}

// Codes of the server's errors.json that the client has no names for.
const (
	errCodeNoPeers         = 10005 // for so many replicas, or for so many bytes
	errCodeConsumerStore   = 10012
	errCodeNotClustered    = 10074 // and more than one replica
	errCodeSubjectsOverlap = 10065
)
