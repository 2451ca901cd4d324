package awsbatch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/internal/awsbatch"
	"github.com/sidearmor/sidearmor/schema"
)

// events have ids that are their bodies.
func events(ids ...string) []schema.Event {
	var batch []schema.Event
	for _, id := range ids {
		batch = append(batch, schema.Event{ID: id})
	}
	return batch
}

// service is an API that takes three entries and ten bytes, and answers by the bodies.
type service struct {
	answers  map[string]awsbatch.Fault // of entries
	refusals map[string]error          // of requests with such an entry
	requests []string
}

func (s *service) api() *awsbatch.API {
	return &awsbatch.API{
		Service: "Test", Entries: 3, Bytes: 10, Body: 40, Overhead: 1,
		Encode: func(e *schema.Event) ([]byte, error) {
			if e.ID == "broken" {
				return nil, errors.New("no")
			}
			return []byte(e.ID), nil
		},
		Send: s.send,
	}
}

func (s *service) send(_ context.Context, request []awsbatch.Entry) ([]awsbatch.Fault, error) {
	var bodies []string
	var faults []awsbatch.Fault
	var refused error
	for i, e := range request {
		body := string(e.Body)
		bodies = append(bodies, body)
		if f, ok := s.answers[body]; ok {
			f.Entry = i
			faults = append(faults, f)
		}
		if err := s.refusals[body]; err != nil {
			refused = err
		}
	}
	s.requests = append(s.requests, strings.Join(bodies, " "))
	return faults, refused
}

func TestDeliver(t *testing.T) {
	throttled := awsbatch.Fault{Code: "ThrottlingException", Class: outputs.Permanent}
	broken := awsbatch.Fault{Code: "Odd", Message: "because\nof x", Class: outputs.Permanent}
	invalid := &smithy.GenericAPIError{Code: "ValidationException", Message: "bad"}
	for name, tt := range map[string]struct {
		batch    []schema.Event
		service  service
		requests []string
		failed   []int
		class    outputs.Class
		text     string // "" for no error
	}{
		"count":         {batch: events("a", "b", "c", "d"), requests: []string{"a b c", "d"}},
		"bytes":         {batch: events("1234", "5678", "9"), requests: []string{"1234 5678", "9"}},
		"larger":        {batch: events("a", "123456789012", "b"), requests: []string{"a", "123456789012", "b"}},
		"nothing":       {},
		"refused entry": {events("a", "b"), service{answers: map[string]awsbatch.Fault{"b": broken}}, []string{"a b"}, []int{1}, outputs.Permanent, "Test took all but 1 of 2 events: Test: Odd: because"},
		"both kinds":    {events("a", "b"), service{answers: map[string]awsbatch.Fault{"a": broken, "b": throttled}}, []string{"a b"}, []int{0, 1}, outputs.RateLimited, "Test: ThrottlingException: "},
		"one poisons":   {events("a", "b", "c", "d"), service{refusals: map[string]error{"c": invalid}}, []string{"a b c", "a", "b c", "b", "c", "d"}, []int{2}, outputs.Permanent, "Test took all but 1 of 4 events: use Test: ValidationException: bad"},
		"ends early":    {events("a", "b", "c", "d", "e"), service{refusals: map[string]error{"d": errors.New("gone")}}, []string{"a b c", "d e"}, []int{3, 4}, outputs.Transient, "Test took all but 2 of 5 events: use Test: gone"},
		"at once":       {events("a", "b", "c", "d"), service{refusals: map[string]error{"a": errors.New("gone")}}, []string{"a b c"}, []int{0, 1, 2, 3}, outputs.Transient, "use Test: gone"},
		"not encoded":   {events("a", "broken"), service{}, []string{"a"}, []int{1}, outputs.Permanent, "Test took all but 1 of 2 events: encode event: no"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.service.api().Deliver(t.Context(), tt.batch)
			if diff := cmp.Diff(tt.requests, tt.service.requests); diff != "" {
				t.Error(diff)
			}
			if tt.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e, ok := errors.AsType[*outputs.Error](err)
			if !ok || e.Class != tt.class || e.Error() != tt.text {
				t.Fatalf("got %v, want %v: %s", err, tt.class, tt.text)
			}
			slices.Sort(e.Failed)
			if diff := cmp.Diff(tt.failed, e.Failed); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// An answer that does not fit the request says nothing of what was taken.
func TestAnswers(t *testing.T) {
	byName := func(s string) (*string, awsbatch.Fault) { return aws.String(s), awsbatch.Fault{} }
	for _, tt := range []struct {
		failed []string
		taken  int
		want   string
	}{
		{nil, 3, "[] <nil>"},
		{[]string{"2", "0"}, 1, "[2 0] <nil>"},
		{[]string{"3"}, 2, "[] the answer names an entry that was not sent"},
		{[]string{"x"}, 2, "[] the answer names an entry that was not sent"},
		{nil, 2, "[] the answer is about 2 of 3 entries"},
	} {
		faults, err := awsbatch.Named(tt.failed, tt.taken, 3, byName)
		places := []int{}
		for _, f := range faults {
			places = append(places, f.Entry)
		}
		if got := fmt.Sprint(places, err); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.failed, got, tt.want)
		}
	}
	byPlace := func(s string) (*string, *string) { return aws.String(s), nil }
	if faults, err := awsbatch.Placed([]string{"", "Bad"}, 2, byPlace); err != nil || len(faults) != 1 || faults[0].Entry != 1 {
		t.Errorf("%v %v", faults, err)
	}
	if _, err := awsbatch.Placed([]string{""}, 2, byPlace); err == nil {
		t.Error("one answer to two entries is taken")
	}
}

// Characters that XML has not are escaped, and the text stays the same JSON.
func TestMessage(t *testing.T) {
	e := schema.Event{Kind: schema.KindLog, Log: &schema.Log{Record: schema.Record{Resource: "/a\ufffe\uffff\x1b"}}}
	body, err := awsbatch.Message(&e)
	if err != nil || !strings.Contains(string(body), `/a\ufffe\uffff\u001b`) {
		t.Errorf("%s %v", body, err)
	}
}
