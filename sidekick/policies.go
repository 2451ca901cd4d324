package main

import (
	"log/slog"
	"path/filepath"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/access"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
	"github.com/sidearmor/sidearmor/sidekick/internal/policyapi"
)

// policySide is what has to do with policies.
type policySide struct {
	hub  *policies.Hub
	http *policyapi.Handlers
}

// openPolicies makes the sources of policies, of which the last counts before the
// others, and what they end in. stateDir is where policies that clients send are kept;
// "" for nowhere.
func openPolicies(cfg config.Config, stateDir string, a *authority, log *slog.Logger) (*policySide, error) {
	var sources []policies.Source
	if cfg.Policies.Directory != "" {
		sources = append(sources, policies.NewDirectory(cfg.Policies.Directory, log))
	}
	own, err := policies.OpenPushed("http", stateDir)
	if err != nil {
		return nil, err
	}
	sources = append(sources, own)
	hub := policies.New(policies.Options{Sources: sources, Strict: cfg.Policies.Strict, Log: log})
	return &policySide{hub: hub, http: policyapi.New(policyapi.Options{
		Hub: hub, Own: own, Strict: cfg.Policies.Strict, Keys: a.keys, Open: a.knowsAdmins(cfg.Listen), Log: log,
	})}, nil
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
