// Package alertmanager raises alerts in Prometheus Alertmanager by its API v2. It
// does not resolve them other than by an end time, and does not retry.
package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/outputs/internal/tlsclient"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/schema/secret"
)

const timeout = 10 * time.Second

// Kind is the alertmanager output.
func Kind() outputs.Kind {
	return outputs.Kind{
		Name:    "alertmanager",
		Block:   "alertmanager",
		Enabler: "hostport",
		Logs:    false,
		Settings: append([]outputs.Setting{
			{Key: "hostport", Secret: true, Usage: "http://host:port, or several separated by commas; turns the output on"},
			// FalcoSidekick's default is v1, which Alertmanager 0.27 removed.
			{Key: "endpoint", Default: "/api/v2/alerts", Usage: "path that alerts are posted to"},
			{Key: "expiresafter", Default: "0", Usage: "seconds after which an alert ends; 0 for Alertmanager's resolve_timeout"},
			{Key: "extralabels", Map: true, Usage: "labels to add, name:value,name:value"},
			{Key: "extraannotations", Map: true, Usage: "annotations to add, name:value,name:value"},
			{Key: "customseveritymap", Map: true, Usage: "severity label by Falco priority, priority:severity,…"},
			{Key: "dropeventdefaultpriority", Default: "critical", Usage: "least priority of a Falco event about dropped events"},
			{Key: "dropeventthresholds", Default: "10000:critical, 1000:critical, 100:critical, 10:warning, 1:warning", Usage: "least priority by number of events that Falco dropped, number:priority,…"},
			{Key: "customheaders", Secret: true, Map: true, Usage: "headers to add, name:value,name:value"},
		}, tlsclient.Settings()...),
		Limits: outputs.Limits{BatchEvents: 64, BatchBytes: 1 << 20, BatchDelay: 100 * time.Millisecond, Timeout: timeout},
		New:    newOutput,
	}
}

type output struct {
	rules
	hosts []*host
}

// host is one Alertmanager.
type host struct {
	client *httppost.Client
	rest   time.Time // when it may be tried again
}

func newOutput(v outputs.Values) (outputs.Output, error) {
	endpoint := v.String("endpoint")
	if !strings.HasPrefix(endpoint, "/") {
		return nil, fmt.Errorf("%s: %q does not begin with /", v.Name("endpoint"), endpoint)
	}
	headers, err := httppost.ParseHeaders(v.Name("customheaders"), v.String("customheaders"))
	if err != nil {
		return nil, err
	}
	config, err := tlsclient.Config(v)
	if err != nil {
		return nil, err
	}
	o := &output{}
	if o.rules, err = newRules(v); err != nil {
		return nil, err
	}
	for part := range strings.SplitSeq(v.String("hostport"), ",") {
		address := strings.TrimRight(strings.TrimSpace(part), "/")
		if address == "" {
			continue
		}
		if err := httppost.CheckURL(v.Name("hostport"), address); err != nil {
			return nil, err
		}
		o.hosts = append(o.hosts, &host{client: httppost.New(httppost.Options{
			Service: "alertmanager",
			URL:     secret.New(address + endpoint),
			Header:  headers,
			TLS:     config,
		})})
	}
	if len(o.hosts) == 0 {
		return nil, fmt.Errorf("%s: names no host", v.Name("hostport"))
	}
	return o, nil
}

// Deliver implements outputs.Output. Alertmanager refuses a request for one alert in
// it, and takes the others twice without harm.
func (o *output) Deliver(ctx context.Context, batch []schema.Event) error {
	return httppost.Halve(ctx, batch, o.post)
}

func (o *output) post(ctx context.Context, batch []schema.Event) error {
	now := time.Now()
	alerts := make([]alert, 0, len(batch))
	for i := range batch {
		alerts = append(alerts, o.alert(&batch[i], now))
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return &outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode alert: %w", err)}
	}
	return o.send(ctx, body)
}

// restFor is how long a host that failed is left alone while another one works,
// so that one which hangs does not slow down every alert.
const restFor = 30 * time.Second

// send posts to every host, as the members of an Alertmanager cluster ask for:
// they share notifications and silences, not alerts. One that takes the alert is
// enough; the others make sure that there is one.
func (o *output) send(ctx context.Context, body []byte) error {
	hosts := o.awake(time.Now())
	if len(hosts) > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout/2)
		defer cancel()
	}
	failures := make([]error, len(hosts))
	var wg sync.WaitGroup
	for i, h := range hosts {
		wg.Go(func() { failures[i] = h.client.Send(ctx, body) })
	}
	wg.Wait()
	taken := false
	for _, err := range failures {
		taken = taken || err == nil
	}
	if !taken {
		for _, h := range hosts {
			h.rest = time.Time{}
		}
		return worst(failures)
	}
	for i, h := range hosts {
		if failures[i] != nil {
			h.rest = time.Now().Add(restFor)
		}
	}
	return nil
}

// awake are the hosts to send to: those that do not rest, or all.
func (o *output) awake(now time.Time) []*host {
	var list []*host
	for _, h := range o.hosts {
		if !now.Before(h.rest) {
			list = append(list, h)
		}
	}
	if len(list) == 0 {
		return o.hosts
	}
	return list
}

// worst is the failure that speaks for all: one that may pass, if there is any,
// since then the alert may still be taken.
func worst(failures []error) error {
	for _, err := range failures {
		if oe, ok := errors.AsType[*outputs.Error](err); ok && oe.Class != outputs.Permanent {
			return err
		}
	}
	return failures[0]
}
