package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sidearmor/sidearmor/sidekick/internal/access"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// authorization gives what decides who may post, read and administer, and the tokens
// themselves.
func authorization(t config.Tokens, log *slog.Logger) (all api.Tokens, known authority, err error) {
	for _, scope := range []struct {
		tokens config.TokenList
		valid  *func(*http.Request) bool
		known  **access.Tokens
	}{{t.Post, &all.Post, &known.post}, {t.Read, &all.Read, new(*access.Tokens)}, {t.Admin, &all.Admin, &known.admin}} {
		if !scope.tokens.Set() {
			continue
		}
		tokens, err := access.NewTokens(scope.tokens.File, scope.tokens.Load, log)
		if err != nil {
			return api.Tokens{}, authority{}, err
		}
		*scope.valid, *scope.known = tokens.Valid, tokens
	}
	return all, known, nil
}

// limited gives what counts that a limit was reached.
func limited(reg prometheus.Registerer) func(limit string) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sidearmor_requests_limited_total", Help: "Requests refused, and connections closed, because a limit was reached.",
	}, []string{"limit"})
	reg.MustRegister(c)
	for _, limit := range []string{"rate", "connections", "memory"} {
		c.WithLabelValues(limit)
	}
	return func(limit string) { c.WithLabelValues(limit).Inc() }
}

// pace gives what limits each source; nil for no limit.
func pace(n config.Limits) func(*http.Request, int) time.Duration {
	if n.Rate == 0 {
		return nil
	}
	return access.NewRate(n.Rate, !n.RateLocal).Take
}

// front is where the sidekick is reached: TCP, perhaps with TLS and a second port
// without, and a Unix socket.
type front struct {
	log         *slog.Logger
	api         *api.API
	connections *access.Connections // of all doors
	doors       []door
}

type door struct {
	name     string // in the log
	listener net.Listener
	server   *http.Server
}

// openFront listens everywhere, or nowhere.
func openFront(ctx context.Context, cfg config.Config, connections *access.Connections, opts api.Options) (*front, error) {
	opts.Streams, opts.Arrived = cfg.Limits.Connections/2, access.Arrived
	a, err := api.New(opts)
	if err != nil {
		return nil, err
	}
	f := &front{log: opts.Log, api: a, connections: connections}
	if err := f.open(ctx, cfg.Listen); err != nil {
		for _, d := range f.doors {
			d.listener.Close()
		}
		return nil, err
	}
	return f, nil
}

// open opens the main door first: it is the first in the log.
func (f *front) open(ctx context.Context, n config.Listen) error {
	if n.Address != "" {
		l, err := f.tcp(ctx, n.Address, n.Port)
		if err != nil {
			return fmt.Errorf("listen on LISTENADDRESS and LISTENPORT: %w", err)
		}
		who := api.Door{Local: n.Local(), Trusted: n.Open}
		if n.TLS == nil {
			f.add("address", l, who)
		} else if err := f.openTLS(ctx, n.Address, n.TLS, l, who); err != nil {
			return err
		}
	}
	if n.Socket == "" {
		return nil
	}
	l, err := access.Unix(ctx, n.Socket, n.Mode)
	if err != nil {
		return fmt.Errorf("listen on LISTENSOCKET: %w", err)
	}
	name := "socket"
	if n.Address == "" {
		name = "address"
	}
	f.add(name, f.connections.Listener(l), api.Door{Local: true})
	return nil
}

// openTLS has l speak TLS, and opens the port without it if paths are moved there.
func (f *front) openTLS(ctx context.Context, address string, n *config.TLS, l net.Listener, who api.Door) error {
	who.Certified, who.Without = n.CAFile != "", n.PlainPaths
	c, err := access.TLS(access.Files{Cert: n.CertFile, Key: n.KeyFile, CA: n.CAFile}, f.log)
	if err != nil {
		l.Close()
		return err
	}
	f.add("address", tls.NewListener(l, c), who)
	if len(n.PlainPaths) == 0 {
		return nil
	}
	plain, err := f.tcp(ctx, address, n.PlainPort)
	if err != nil {
		return fmt.Errorf("listen on LISTENADDRESS and TLSSERVER_NOTLSPORT: %w", err)
	}
	f.add("plain_address", plain, api.Door{Only: n.PlainPaths})
	return nil
}

func (f *front) tcp(ctx context.Context, address string, port int) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	return f.connections.Listener(l), nil
}

func (f *front) add(name string, l net.Listener, d api.Door) {
	s := f.api.Server(f.api.Handler(d))
	f.connections.Watch(s)
	f.doors = append(f.doors, door{name: name, listener: l, server: s})
}

// addresses are attributes for the log.
func (f *front) addresses() (attributes []any) {
	for _, d := range f.doors {
		attributes = append(attributes, d.name, d.listener.Addr().String())
	}
	return attributes
}

// serve takes requests until ctx ends and finishes those under way, for at most as
// long as given.
func (f *front) serve(ctx context.Context, finish time.Duration) error {
	var serving sync.WaitGroup
	failed := make(chan error, len(f.doors))
	for _, d := range f.doors {
		serving.Go(func() {
			if err := d.server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve HTTP: %w", err)
			}
		})
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		f.log.Info("stopping")
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	for _, d := range f.doors {
		serving.Go(func() { f.shut(bounded, d) })
	}
	serving.Wait()
	return err
}

func (f *front) shut(ctx context.Context, d door) {
	if err := d.server.Shutdown(ctx); err != nil {
		f.log.Warn("requests were cut off", "error", err)
		_ = d.server.Close()
	}
}
