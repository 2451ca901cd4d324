// Package awsbatch delivers batches by those APIs of AWS that take several entries in
// a request and answer for each. It divides a batch into requests within the API's
// limits and makes one error of what was not taken. It knows no service and retries
// nothing.
package awsbatch

import (
	"context"
	"fmt"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/awsconfig"
	"github.com/sidearmor/sidearmor/outputs/internal/clip"
	"github.com/sidearmor/sidearmor/schema"
)

// API is one operation of one service, and the output that uses it.
type API struct {
	Service  string // for errors that name none: "SQS"
	Entries  int    // at most so many in a request
	Bytes    int    // at most so many bytes in a request, bodies and overhead together
	Body     int    // at most so many bytes in a body; longer events are cut
	Overhead int    // bytes that an entry counts beside its body
	Encode   func(*schema.Event) ([]byte, error)
	Send     func(ctx context.Context, request []Entry) ([]Fault, error)
}

// Entry is an event as it is sent.
type Entry struct {
	Event *schema.Event
	Body  []byte
	index int // in the batch
}

// Fault is an entry that the service did not take, although it took the request.
type Fault struct {
	Entry         int // in the request
	Code, Message string
	Class         outputs.Class // when the code does not say
}

// Deliver implements outputs.Output. When a request fails for a reason that may pass, the
// requests after it are not tried: they would meet the same.
func (a *API) Deliver(ctx context.Context, batch []schema.Event) error {
	var r report
	entries := a.entries(batch, &r)
	for len(entries) > 0 {
		n := a.fit(entries)
		if end := a.send(ctx, entries[:n], &r); end != nil {
			r.add(end, entries[n:])
			break
		}
		entries = entries[n:]
	}
	return r.err(a.Service, len(batch))
}

func (a *API) entries(batch []schema.Event, r *report) []Entry {
	list := make([]Entry, 0, len(batch))
	for i := range batch {
		e := Entry{Event: &batch[i], index: i}
		body, err := a.Encode(e.Event)
		if err != nil {
			r.add(&outputs.Error{Class: outputs.Permanent, Err: fmt.Errorf("encode event: %w", err)}, []Entry{e})
			continue
		}
		e.Body = clip.JSON(body, a.Body)
		list = append(list, e)
	}
	return list
}

// fit is how many entries the next request has.
func (a *API) fit(entries []Entry) int {
	size := 0
	for i := range entries {
		size += len(entries[i].Body) + a.Overhead
		if i > 0 && (i == a.Entries || size > a.Bytes) {
			return i
		}
	}
	return len(entries)
}

// send gives the error that ends the batch, if there is one. A request that is
// refused as a whole is sent again in halves: one entry may be the cause.
func (a *API) send(ctx context.Context, request []Entry, r *report) *outputs.Error {
	faults, err := a.Send(ctx, request)
	if err == nil {
		for _, f := range faults {
			r.add(a.failure(f), request[f.Entry:f.Entry+1])
		}
		return nil
	}
	e := awsconfig.Failure(a.Service, err, nil)
	switch {
	case e.Class != outputs.Permanent:
		r.add(e, request)
		return e
	case len(request) == 1:
		r.add(e, request)
		return nil
	}
	middle := len(request) / 2
	if end := a.send(ctx, request[:middle], r); end != nil {
		r.add(end, request[middle:])
		return end
	}
	return a.send(ctx, request[middle:], r)
}

func (a *API) failure(f Fault) *outputs.Error {
	return &outputs.Error{
		Class: awsconfig.ClassOf(f.Code, f.Class),
		Err:   fmt.Errorf("%s: %w", a.Service, awsconfig.Reason(f.Code, f.Message)),
	}
}

// report collects what was not taken.
type report struct {
	failed  []int
	again   *outputs.Error // the first that may pass
	refused *outputs.Error // the last that will not
}

func (r *report) add(e *outputs.Error, entries []Entry) {
	for i := range entries {
		r.failed = append(r.failed, entries[i].index)
	}
	switch {
	case e.Class == outputs.Permanent:
		r.refused = e
	case r.again == nil:
		r.again = e
	}
}

// err makes one error. Its class is that of the failures that may pass, if there are
// any: what was refused is refused again then.
func (r *report) err(service string, all int) error {
	e := r.again
	if e == nil {
		e = r.refused
	}
	if e == nil {
		return nil
	}
	text := e.Err
	if len(r.failed) < all {
		text = fmt.Errorf("%s took all but %d of %d events: %w", service, len(r.failed), all, text)
	}
	return &outputs.Error{Class: e.Class, RetryAfter: e.RetryAfter, Failed: r.failed, Err: text}
}
