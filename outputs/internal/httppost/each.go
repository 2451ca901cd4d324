package httppost

import (
	"context"
	"errors"
	"fmt"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
)

// Each delivers a batch to a service that takes one event at a time. An event
// that the service refuses for good does not keep the later ones back; any
// other failure ends the batch, since the next event would meet the same.
//
// Its error has one class. When events were refused before the batch ended
// early, it is that of the early end, and Failed names both kinds: the refused
// ones are refused again when they come back, and none is lost in between.
func Each(ctx context.Context, batch []schema.Event, deliver func(context.Context, *schema.Event) error) error {
	var refused *outputs.Error
	var failed []int
	for i := range batch {
		err := deliver(ctx, &batch[i])
		if err == nil {
			continue
		}
		oe, ok := errors.AsType[*outputs.Error](err)
		if ok && oe.Class == outputs.Permanent {
			refused, failed = oe, append(failed, i)
			continue
		}
		for ; i < len(batch); i++ {
			failed = append(failed, i)
		}
		if !ok {
			oe = &outputs.Error{Class: outputs.Transient, Err: err}
		}
		return result(oe, failed, len(batch))
	}
	if refused == nil {
		return nil
	}
	return result(refused, failed, len(batch))
}

func result(cause *outputs.Error, failed []int, all int) error {
	e := *cause
	e.Failed = failed
	if len(failed) > 1 {
		e.Err = fmt.Errorf("%d of %d events: %w", len(failed), all, cause.Err)
	}
	return &e
}
