package httppost_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/httppost"
	"github.com/sidearmor/sidearmor/schema"
)

func TestHalve(t *testing.T) {
	for name, tt := range map[string]struct {
		bad    []string // refused for good together with what is sent with them
		ends   string   // the event at which the service fails for now
		class  outputs.Class
		failed []int
	}{
		"all taken":     {},
		"one":           {bad: []string{"c"}, class: outputs.Permanent, failed: []int{2}},
		"first, last":   {bad: []string{"a", "g"}, class: outputs.Permanent, failed: []int{0, 6}},
		"all":           {bad: []string{"a", "b", "c", "d", "e", "f", "g"}, class: outputs.Permanent, failed: []int{0, 1, 2, 3, 4, 5, 6}},
		"ends":          {ends: "a", class: outputs.RateLimited, failed: []int{0, 1, 2, 3, 4, 5, 6}},
		"one, then end": {bad: []string{"b"}, ends: "d", class: outputs.RateLimited, failed: []int{1, 3, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			var batch []schema.Event
			for _, id := range []string{"a", "b", "c", "d", "e", "f", "g"} {
				batch = append(batch, schema.Event{ID: id})
			}
			taken := map[string]bool{}
			err := httppost.Halve(t.Context(), batch, func(_ context.Context, part []schema.Event) error {
				for _, e := range part {
					if slices.Contains(tt.bad, e.ID) {
						return &outputs.Error{Class: outputs.Permanent, Err: errors.New("refused")}
					}
				}
				for _, e := range part {
					if e.ID == tt.ends {
						return &outputs.Error{Class: outputs.RateLimited, Err: errors.New("busy")}
					}
				}
				for _, e := range part {
					taken[e.ID] = true
				}
				return nil
			})
			e, ok := errors.AsType[*outputs.Error](err)
			if ok != (tt.failed != nil) {
				t.Fatalf("got %v", err)
			}
			if ok && (e.Class != tt.class || !slices.Equal(slices.Sorted(slices.Values(e.Failed)), tt.failed)) {
				t.Errorf("got %v: %v", e.Class, e.Failed)
			}
			if len(taken)+len(tt.failed) != len(batch) {
				t.Errorf("taken %v, failed %v", taken, tt.failed)
			}
		})
	}
	if err := httppost.Halve(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
}
