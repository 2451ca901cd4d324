package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/kubearmor"
)

const (
	// checkEvery finds out about a peer that is gone without a word. HTTP/2's own
	// pings do not serve: KubeArmor cuts off who sends more than one in 5 minutes.
	checkEvery = 30 * time.Second
	checkTime  = 10 * time.Second // for an answer, the connection included

	// What gRPC holds for us before the peer must wait: a burst, and no more, is in
	// memory without being stored. The connection's is more than that of all
	// streams, so that one that waits does not stop the checks.
	streamWindow     = 1 << 20
	connectionWindow = 4 << 20
	maxMessage       = 4 << 20

	// batch bounds what is stored at once; within it each event has at most 1 MiB.
	batch = 32
)

// session is one connection, from its making to its end. It says whether the peer
// was reached, and never returns without an error.
func (p *peer) session(ctx context.Context) (reached bool, err error) {
	conn, err := p.dial()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	client := pb.NewLogServiceClient(conn)
	if err := p.check(ctx, client); err != nil {
		return false, err
	}
	p.log.Info("connected to KubeArmor", "logs", p.Logs)
	p.up.Store(true)
	p.connected.Inc()
	defer func() {
		p.up.Store(false)
		p.connected.Dec()
	}()

	whole, end := context.WithCancelCause(ctx)
	var parts sync.WaitGroup
	parts.Go(func() { end(p.keepChecking(whole, client)) })
	parts.Go(func() { end(p.alerts(ctx, whole, client)) })
	if p.Logs {
		parts.Go(func() { end(p.logs(ctx, whole, client)) })
	}
	parts.Wait()
	return true, context.Cause(whole)
}

func (p *peer) dial() (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if p.TLS != nil {
		c, err := p.TLS()
		if err != nil {
			return nil, err
		}
		creds = credentials.NewTLS(c)
	}
	// As it is, without gRPC's own look-up of names, which remembers failures for
	// half a minute. No proxy: KubeArmor is near.
	conn, err := grpc.NewClient("passthrough:///"+p.address,
		grpc.WithTransportCredentials(creds),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithUserAgent("sidearmor"),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
	)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// check asks for a number to be given back, as every client of KubeArmor's does.
func (p *peer) check(ctx context.Context, client pb.LogServiceClient) error {
	ctx, cancel := context.WithTimeout(ctx, p.checkTime)
	defer cancel()
	nonce := rand.Int32()
	reply, err := client.HealthCheck(ctx, &pb.NonceMessage{Nonce: nonce})
	switch {
	case status.Code(err) == codes.Unimplemented:
		return nil // KubeArmor calls it deprecated; whoever says so is there
	case err != nil:
		return fmt.Errorf("health check: %w", err)
	case reply.GetRetval() != nonce:
		return errors.New("health check: the number that comes back is another, this is not KubeArmor")
	}
	return nil
}

func (p *peer) keepChecking(ctx context.Context, client pb.LogServiceClient) error {
	for {
		select {
		case <-time.After(p.checkEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := p.check(ctx, client); err != nil {
			return err
		}
	}
}

func (p *peer) alerts(ctx, whole context.Context, client pb.LogServiceClient) error {
	stream, err := client.WatchAlerts(whole, &pb.RequestMessage{Filter: kubearmor.FilterAll})
	if err != nil {
		return fmt.Errorf("watch alerts: %w", err)
	}
	return p.receive(ctx, "alerts", func() (schema.Event, error) {
		m, err := stream.Recv()
		if err != nil {
			return schema.Event{}, err
		}
		return kubearmor.AlertEvent(m), nil
	})
}

func (p *peer) logs(ctx, whole context.Context, client pb.LogServiceClient) error {
	stream, err := client.WatchLogs(whole, &pb.RequestMessage{Filter: kubearmor.FilterAll})
	if err != nil {
		return fmt.Errorf("watch logs: %w", err)
	}
	return p.receive(ctx, "logs", func() (schema.Event, error) {
		m, err := stream.Recv()
		if err != nil {
			return schema.Event{}, err
		}
		return kubearmor.LogEvent(m), nil
	})
}

// receive stores what next gives, in order, until it fails. While the store
// refuses, next is not called, and the peer has to wait. ctx is the process's: the
// end of the connection is no reason to give up what was received.
func (p *peer) receive(ctx context.Context, what string, next func() (schema.Event, error)) error {
	events := make(chan schema.Event, batch)
	var storing sync.WaitGroup
	storing.Go(func() {
		for e := range events {
			p.store(ctx, collect(e, events))
		}
	})
	defer storing.Wait()
	defer close(events)
	for {
		e, err := next()
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("watch %s: %w", what, errEnded)
		case err != nil:
			return fmt.Errorf("watch %s: %w", what, err)
		}
		p.received.Inc()
		p.events.Add(1)
		events <- e
	}
}

// collect gives first and what else is there by now.
func collect(first schema.Event, more <-chan schema.Event) []schema.Event {
	list := []schema.Event{first}
	for len(list) < batch {
		select {
		case e, ok := <-more:
			if !ok {
				return list
			}
			list = append(list, e)
		default:
			return list
		}
	}
	return list
}
