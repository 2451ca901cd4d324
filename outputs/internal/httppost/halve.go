package httppost

import (
	"context"
	"errors"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// Halve delivers a batch to a service that refuses a request as a whole, for one
// event in it or for its size: what is refused for good is sent again in halves,
// down to the single event. deliver leaves Failed empty when it means all that
// it was given. What Halve returns when the batch ends early is as in Each.
func Halve(ctx context.Context, batch []schema.Event, deliver func(context.Context, []schema.Event) error) error {
	h := halver{deliver: deliver}
	rest := h.send(ctx, batch, 0)
	if rest == nil {
		rest = h.refused
	}
	if rest == nil {
		return nil
	}
	return result(rest, h.failed, len(batch))
}

type halver struct {
	deliver func(context.Context, []schema.Event) error
	failed  []int
	refused *outputs.Error
}

// send gives the error that ends the batch, if there is one. first is the place
// of part in the batch.
func (h *halver) send(ctx context.Context, part []schema.Event, first int) *outputs.Error {
	if len(part) == 0 {
		return nil
	}
	err := h.deliver(ctx, part)
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*outputs.Error](err)
	if !ok {
		e = &outputs.Error{Class: outputs.Transient, Err: err}
	}
	if e.Class != outputs.Permanent || len(part) == 1 || len(e.Failed) > 0 {
		h.fail(e, len(part), first)
		if e.Class == outputs.Permanent {
			h.refused = e
			return nil
		}
		return e
	}
	middle := len(part) / 2
	if end := h.send(ctx, part[:middle], first); end != nil {
		h.fail(&outputs.Error{}, len(part)-middle, first+middle)
		return end
	}
	return h.send(ctx, part[middle:], first+middle)
}

func (h *halver) fail(e *outputs.Error, n, first int) {
	if len(e.Failed) == 0 {
		for i := range n {
			h.failed = append(h.failed, first+i)
		}
		return
	}
	for _, i := range e.Failed {
		h.failed = append(h.failed, first+i)
	}
}
