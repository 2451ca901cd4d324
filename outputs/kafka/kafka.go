// Package kafka delivers events to a topic of an Apache Kafka cluster, one
// record with the event's JSON for each. It makes no connection before the
// first delivery, and leaves retries that outlast a delivery to its caller.
package kafka

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/ocsf"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
)

// Kind is the Kafka output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "kafka",
		Block:   "kafka",
		Enabler: "hostport",
		Logs:    true,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Usage: "brokers to begin with, host:port,host:port; the port is 9092 where none is given; turns the output on"},
			{Key: "topic", Usage: "topic to write to"},
			{Key: "topiccreation", Default: "false", Usage: "true asks the brokers to make a missing topic, which they do if auto.create.topics.enable is set"},
			{Key: "sasl", Usage: "PLAIN, SCRAM_SHA256 or SCRAM_SHA512; no authentication when empty"},
			{Key: "tls", Default: "false", Usage: "true encrypts the connections"},
			{Key: "username", Usage: "name to authenticate with"},
			{Key: "password", Secret: true, Usage: "password that belongs to the name"},
			{Key: "requiredacks", Default: "ALL", Usage: "ALL, ONE or NONE: the replicas that must have a record before it counts as delivered; NONE loses events"},
			{Key: "compression", Default: "SNAPPY", Usage: "GZIP, SNAPPY, LZ4, ZSTD or NONE"},
			{Key: "clientid", Default: "sidearmor", Usage: "name to give to the brokers, for their logs and quotas"},
			ocsf.Setting(),
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{
			BatchEvents: 1000,
			BatchBytes:  2 << 20,
			BatchDelay:  200 * time.Millisecond,
			Timeout:     30 * time.Second,
		},
		New: newOutput,
	}
}

// output has a client from the first delivery on. After a failure that is not
// about an event it begins with a new one: what was not written yet must not be
// written later by the old one, behind events that are newer.
type output struct {
	settings settings
	client   *kgo.Client
	connects *connectErrors
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	s, err := parse(v)
	if err != nil {
		return nil, err
	}
	if err := kgo.ValidateOpts(s.options()...); err != nil {
		return nil, fmt.Errorf("%s: %s", v.Name("hostport"), s.clean(err))
	}
	return &output{settings: s}, nil
}

// Deliver implements outputs.Output. The records of one key stay in order.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	records := make([]*kgo.Record, 0, len(batch))
	index := make([]int, 0, len(batch)) // of each record in the batch
	var f outputs.Failures
	for i := range batch {
		r, err := o.settings.recordOf(&batch[i])
		if err != nil {
			f.Refuse(i, err)
			continue
		}
		records, index = append(records, r), append(index, i)
	}
	errs, err := o.produce(ctx, records)
	if err != nil {
		return o.failed(ctx, err)
	}
	var refused []int // positions in records
	for i, err := range errs {
		switch {
		case err == nil:
		case permanent(err):
			refused = append(refused, i)
		default:
			f.Retry(index[i], err)
		}
	}
	if len(refused) == 1 {
		f.Refuse(index[refused[0]], errs[refused[0]])
	} else {
		o.alone(ctx, refused, records, index, &f)
	}
	if f.Again != nil {
		o.Close()
	}
	return o.result(ctx, &f, len(batch))
}

// alone writes records one at a time that brokers have refused: they refuse
// batches of records, and one that is too large takes the others with it.
func (o *output) alone(ctx context.Context, refused []int, records []*kgo.Record, index []int, f *outputs.Failures) {
	for _, i := range refused {
		if f.Again != nil {
			f.Retry(index[i], f.Again)
			continue
		}
		// A record that failed has marks of its first way.
		again := &kgo.Record{Key: records[i].Key, Value: records[i].Value, Headers: records[i].Headers}
		errs, err := o.produce(ctx, []*kgo.Record{again})
		if err == nil {
			err = errs[0]
		}
		switch {
		case err == nil:
		case permanent(err):
			f.Refuse(index[i], err)
		default:
			f.Retry(index[i], err)
		}
	}
}

// produce writes records and waits for what became of each. When ctx ends it
// closes the client, which alone gives up what is under way.
func (o *output) produce(ctx context.Context, records []*kgo.Record) ([]error, error) {
	if len(records) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := o.open(); err != nil {
		return nil, err
	}
	errs := make([]error, len(records))
	var wg sync.WaitGroup
	wg.Add(len(records))
	for i, r := range records {
		o.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			errs[i] = err
			wg.Done()
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		o.Close()
		<-done
	}
	return errs, nil
}

func (o *output) open() error {
	if o.client != nil {
		return nil
	}
	connects := &connectErrors{}
	client, err := kgo.NewClient(append(o.settings.options(), kgo.WithHooks(connects))...)
	if err != nil {
		return err
	}
	o.client, o.connects = client, connects
	return nil
}

// Close ends the connections and waits for them. The output can be used again.
func (o *output) Close() error {
	if o.client != nil {
		o.client.Close()
		o.client = nil
	}
	return nil
}

func (o *output) failed(ctx context.Context, err error) error {
	return o.result(ctx, &outputs.Failures{Again: err}, 0)
}

// result makes one error of the failures of a batch of so many events.
func (o *output) result(ctx context.Context, f *outputs.Failures, all int) error {
	return f.Err(func(err error) error {
		err = o.describe(ctx, err)
		if len(f.Failed) > 1 {
			err = fmt.Errorf("%d of %d events: %w", len(f.Failed), all, err)
		}
		return err
	})
}
