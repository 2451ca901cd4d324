package cloudwatch_test

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/sidearmor/sidearmor/outputs/cloudwatch"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// TestMoto delivers to a real server by the real protocol and reads back what
// it stored.
func TestMoto(t *testing.T) {
	base := outputtest.Moto(t)
	o := outputtest.New(t, cloudwatch.Kind(), settings(t, base))
	now := time.Now()
	batch := []schema.Event{at(now, 30), at(now.Add(-time.Minute), 20), at(now.Add(-time.Hour), 10)}
	for range 2 { // the second time the group and the stream are there
		if err := o.Deliver(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	stored := read(t, base)
	if len(stored) != 6 {
		t.Fatalf("%d events are stored, want 6", len(stored))
	}
	for i, want := range []schema.Event{batch[2], batch[2], batch[1], batch[1], batch[0], batch[0]} {
		body, err := want.Body()
		if err != nil {
			t.Fatal(err)
		}
		if got := stored[i]; got.Message != string(body) || got.Timestamp != want.Time().UnixMilli() {
			t.Errorf("event %d: %d %.200s", i, got.Timestamp, got.Message)
		}
	}
	if err := o.Deliver(t.Context(), []schema.Event{at(now.AddDate(0, 0, -15), 1)}); err == nil {
		t.Error("an event that the service rejected counts as delivered")
	}
}

func read(t *testing.T, base string) []event {
	t.Helper()
	client := cloudwatchlogs.NewFromConfig(outputtest.AWSConfig(base))
	out, err := client.FilterLogEvents(context.Background(), &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String("/sidearmor/test"), LogStreamNames: []string{"task-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []event
	for _, e := range out.Events {
		list = append(list, event{*e.Message, *e.Timestamp})
	}
	return list
}
