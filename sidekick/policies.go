package main

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/access"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
	"github.com/sidearmor/sidearmor/sidekick/internal/policyapi"
	"github.com/sidearmor/sidearmor/sidekick/internal/policygrpc"
)

// policySide is what has to do with policies.
type policySide struct {
	hub  *policies.Hub
	http *policyapi.Handlers
	grpc *policies.Pushed // what clients of gRPC send
}

// openPolicies makes the sources of policies, of which the last counts before the
// others, and what they end in. stateDir is where policies that clients send are kept;
// "" for nowhere.
func openPolicies(cfg config.Config, stateDir string, a *authority, metrics prometheus.Registerer, log *slog.Logger) (*policySide, error) {
	var sources []policies.Source
	if cfg.Policies.Directory != "" {
		sources = append(sources, policies.NewDirectory(cfg.Policies.Directory, log))
	}
	followed, err := policyPlaces(cfg.Policies, log)
	if err != nil {
		return nil, err
	}
	sources = append(sources, followed...)
	var clients [2]*policies.Pushed
	for i, name := range []string{"grpc", "http"} {
		if clients[i], err = policies.OpenPushed(name, stateDir); err != nil {
			return nil, err
		}
		sources = append(sources, clients[i])
	}
	hub := policies.New(policies.Options{Sources: sources, Strict: cfg.Policies.Strict, Log: log})
	return &policySide{hub: hub, grpc: clients[0], http: policyapi.New(policyapi.Options{
		Hub: hub, Own: clients[1], Strict: cfg.Policies.Strict, Keys: a.keys, Open: a.knowsAdmins(cfg.Listen), Log: log, Metrics: metrics,
	})}, nil
}

// errNoAdmin is that a client of gRPC may not change policies.
var errNoAdmin = errors.New("policies are for who shows a token of AUTH_TOKEN_ADMIN, or a client certificate; karmor can show neither: see GRPC_POLICIES")

// overGRPC gives what serves policies to karmor.
func (p *policySide) overGRPC(cfg config.Config, tokens api.Tokens, log *slog.Logger) func(grpc.ServiceRegistrar) {
	o := policygrpc.Options{Hub: p.hub, Own: p.grpc, Tracers: p.http.Tracers, Strict: cfg.Policies.Strict, Log: log}
	certified := cfg.Listen.TLS != nil && cfg.Listen.TLS.CAFile != ""
	switch {
	case cfg.GRPC.Policies == config.PoliciesOpen:
		log.Warn("policies are taken from whoever can connect to GRPC_LISTEN, and so from the workload of this machine or task: GRPC_POLICIES=open")
	case !certified:
		o.Authorized = func(shown []string) error {
			if tokens.Admin != nil && tokens.Admin(&http.Request{Header: http.Header{"Authorization": shown}}) {
				return nil
			}
			return errNoAdmin
		}
	}
	return func(to grpc.ServiceRegistrar) { policygrpc.Register(to, o) }
}

// policyStateDir gives where policies that clients send are kept: beside the queue,
// unless that is in a cluster.
func policyStateDir(cfg config.Config, queueDir string) string {
	if cfg.Policies.StateDir != "" || queueDir == "" {
		return cfg.Policies.StateDir
	}
	return filepath.Join(queueDir, "policies")
}

// authority knows the tokens.
type authority struct{ post, admin *access.Tokens }

// keys are those by which tracers know that this is the sidekick that they have a
// token for.
func (a *authority) keys() (keys []policystream.Key) {
	for _, tokens := range []*access.Tokens{a.post, a.admin} {
		if tokens == nil {
			continue
		}
		for _, digest := range tokens.Digests() {
			keys = append(keys, digest)
		}
	}
	return keys
}

// knowsAdmins says whether those who change policies are known. The workload is on
// the same machine: that a request is from there is not enough.
func (a *authority) knowsAdmins(n config.Listen) bool {
	return a.admin != nil || n.TLS != nil && n.TLS.CAFile != ""
}
