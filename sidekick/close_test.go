package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// A sidekick that has stopped leaves no connection behind.
func TestStopClosesOutputs(t *testing.T) {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	reader, err := nats.Connect(broker.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	got, err := reader.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Flush(); err != nil {
		t.Fatal(err)
	}
	s := inside(t, environment(t.TempDir(), "NATS_HOSTPORT="+broker.ClientURL()))
	post(t, s.url, event("alert", 1), "")
	if _, err := got.NextMsg(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if n := broker.NumClients(); n != 2 {
		t.Errorf("%d connections while it runs, want 2", n)
	}
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, s.log)
	}
	// The server may need a moment to see that a connection has ended.
	for deadline := time.Now().Add(30 * time.Second); broker.NumClients() > 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the output's connection is still there")
		}
	}
}

type closing struct{ err error }

func (closing) Deliver(context.Context, []schema.Event) error { return nil }
func (c closing) Close() error                                { return c.err }

// What one output says when it is closed is told, and keeps no other from being
// closed.
func TestCloseErrors(t *testing.T) {
	first, last := errors.New("first"), errors.New("last")
	var configured []config.Output
	for name, o := range map[string]outputs.Output{"a": closing{first}, "b": closing{}, "c": closing{last}} {
		configured = append(configured, config.Output{Name: name, Output: o})
	}
	if err := closeOutputs(configured); !errors.Is(err, first) || !errors.Is(err, last) {
		t.Errorf("got %v", err)
	}
	if err := closeOutputs(configured[:0]); err != nil {
		t.Error(err)
	}
}
