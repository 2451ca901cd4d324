package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policydir"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/schema/rules"
	"github.com/sidearmor/sidearmor/tracer/internal/config"
	"github.com/sidearmor/sidearmor/tracer/internal/filter"
	"github.com/sidearmor/sidearmor/tracer/internal/identity"
	"github.com/sidearmor/sidearmor/tracer/internal/launch"
	"github.com/sidearmor/sidearmor/tracer/internal/peer"
	"github.com/sidearmor/sidearmor/tracer/internal/policies"
)

// newHub loads the policies, and waits until it is known which of them are for
// this container. What can change later is followed in the background until ctx
// ends; live says whether there is such. Who watches has policies of its own.
func newHub(ctx context.Context, c config.Config, who *identity.Identity, background *sync.WaitGroup, tried watcher, log *slog.Logger) (hub *policies.Hub, live bool, err error) {
	if tried != nil {
		hub, err = trialHub(c.Posture, tried.Documents(), log)
		return hub, false, err
	}
	if hub, err = policies.New(policies.Options{Posture: c.Posture, Target: who.Target(), Log: log}); err != nil {
		return nil, false, err
	}
	if c.SidekickPolicies { // first: what this container was given itself counts before it
		if err := stream(ctx, hub, c, who, background, log); err != nil {
			return nil, false, err
		}
		live = true
	}
	if watched(c) {
		live, err = true, watch(ctx, hub, c, background, log)
	} else {
		err = load(hub, c, log)
	}
	if err != nil {
		return nil, false, err
	}
	if c.Policy != "" { // last: it is meant for this very container
		docs, err := policies.FromParameter(c.Policy, c.Strict)
		if err != nil {
			return nil, false, err
		}
		hub.Set(policies.Parameter, docs)
	}
	background.Go(func() { who.Run(ctx, hub.SetTarget) })
	return hub, live, hub.Await(ctx, c.PolicyTimeout, c.OnMissingPolicy == config.MissingRun)
}

// stream takes policies from the sidekick, and follows their changes.
func stream(ctx context.Context, hub *policies.Hub, c config.Config, who *identity.Identity, background *sync.WaitGroup, log *slog.Logger) error {
	sidekick, err := peer.New(peer.Options{
		URL: c.SidekickURL.Reveal(), Token: c.Token, TokenFile: c.TokenFile, Prove: true,
		CAFile: c.TLS.CAFile, CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile,
	})
	if err != nil {
		return err
	}
	id, started := rand.Text(), time.Now()
	s := policies.NewStream(policies.StreamOptions{Hub: hub, Peer: sidekick, Strict: c.Strict, Log: log, Tracer: func() policystream.Tracer {
		t := who.Target()
		return policystream.Tracer{
			ID: id, Version: version, Started: started, Host: who.Origin().HostName,
			Namespace: t.Namespace, Pod: t.Pod, Container: t.Container, Labels: t.Labels,
		}
	}})
	background.Go(func() {
		defer sidekick.Close()
		s.Run(ctx)
	})
	return nil
}

// load reads policies that stay as they are.
func load(hub *policies.Hub, c config.Config, log *slog.Logger) error {
	if c.Policies == "" {
		return nil
	}
	docs, err := policies.Load(c.Policies, c.Strict)
	if err != nil {
		return err
	}
	hub.Set(c.Policies, docs)
	if info, err := os.Stat(c.Policies); err == nil && info.IsDir() && c.PoliciesWatch == config.WatchAuto {
		log.Info("the directory of policies is not watched: it is no volume that is mounted read-only; --policies-watch (TRACER_POLICIES_WATCH) has it otherwise", "policies", c.Policies)
	}
	return nil
}

// watched says whether the policies are in a directory that is watched.
func watched(c config.Config) bool {
	if c.Policies == "" || c.PoliciesWatch == config.WatchNever {
		return false
	}
	if c.PoliciesWatch == config.WatchAuto && !policydir.IsVolume(c.Policies) {
		return false
	}
	info, err := os.Stat(c.Policies)
	if err != nil {
		return !policydir.IsFile(c.Policies) // one that is still to come
	}
	return info.IsDir()
}

// watch reads a directory of policies and follows its changes. One that is not there
// is waited for, with the start.
func watch(ctx context.Context, hub *policies.Hub, c config.Config, background *sync.WaitGroup, log *slog.Logger) error {
	path := c.Policies
	d, err := policies.Open(path, c.PoliciesWatch == config.WatchAuto, c.Strict, log)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err == nil {
		docs, err := d.Load()
		if err != nil {
			d.Close()
			return err
		}
		hub.Set(path, docs)
	} else {
		hub.Expect(path)
	}
	if unix.Access(path, unix.W_OK) == nil {
		log.Warn("a process of the workload can change its own policies: the directory that is watched is not mounted read-only", "policies", path)
	}
	background.Go(func() {
		defer d.Close()
		d.Watch(ctx, func(docs []spolicy.Document) { hub.Set(path, docs) })
	})
	return nil
}

// follows says whether working directories must be followed: where files are opened
// in the place of processes that the tracer may not look into, which without
// CAP_SYS_PTRACE is so once they have changed their user.
func follows(rule rules.Operation) bool { return rule&rules.File != 0 && mayLoseSight() }

// mayLoseSight says whether a process of the workload can change its user, after
// which the tracer may not look into it.
func mayLoseSight() bool { return !launch.Can(unix.CAP_SYS_PTRACE) && launch.Can(unix.CAP_SETUID) }

// hold says what the kernel's filter holds; live, that policies can change later.
func hold(hub *policies.Hub, c config.Config, live bool) filter.Options {
	rule := hub.Hold(0, c.Hold, live) // what rules may be about
	return filter.Options{
		Hold: hub.Hold(c.Visible(), c.Hold, live), FollowCwd: follows(rule), Starts: mayLoseSight(),
		Sockets: rule&rules.Network != 0,
	}
}

// later is what rules that come later could deny.
func later(live bool, held filter.Options) rules.Operation {
	if !live {
		return 0
	}
	return held.Hold
}
