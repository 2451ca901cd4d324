// Command sidekick takes events from tracers, KubeArmor and Falco over HTTP,
// stores them and delivers them to Slack, Discord, CloudWatch Logs and more. This
// package only joins the parts; what they do is in theirs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	_ "golang.org/x/crypto/x509roots/fallback" // a scratch image has no root certificates

	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/sidekick/internal/access"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/dispatch"
	"github.com/sidearmor/sidearmor/sidekick/internal/feed"
	"github.com/sidearmor/sidearmor/sidekick/internal/ingest"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

// requestsTimeout is how long requests under way may take of an orderly stop: a fifth
// of it, but no more than this. The rest is for deliveries.
const requestsTimeout = 5 * time.Second

// version is set by the linker.
var version = "unknown"

// run is the program: 0 when it was asked to stop, 1 when something failed, 2 for
// arguments that it does not know.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	c, err := parse(args, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "sidekick:", err)
		return 2
	}
	in := config.Input{File: c.file, Environ: environ, Kinds: catalog.Kinds(), PlainPaths: api.ProbePaths(routes(nil, nil, nil))}
	switch c.name {
	case "help":
		return 0
	case "version":
		fmt.Fprintln(stdout, "sidekick", version)
		return 0
	case "help config":
		err = explainSettings(stdout, in.Kinds, c.output)
	case "healthcheck":
		err = healthcheck(ctx, in)
	case "check":
		err = check(in, c.events, stdout, stderr)
	case "policy":
		err = simulatePolicies(ctx, in, environ, &c.policy, stdout, stderr)
	case "test":
		err = testOutputs(ctx, in, c.output, stdout, stderr)
	case "deadletters":
		err = atControl(ctx, in, environ, stderr, func(client *http.Client) error {
			return c.letters.run(ctx, client, stdout, stderr)
		})
	default:
		return served(ctx, in, environ, stderr)
	}
	if err != nil {
		for _, problem := range problems(err) {
			fmt.Fprintln(stderr, "sidekick:", problem)
		}
		return 1
	}
	return 0
}

// served serves, and logs why it ended if it was not asked to.
func served(ctx context.Context, in config.Input, environ []string, stderr io.Writer) int {
	log := logger(stderr, config.Logging(in))
	if err := serve(ctx, in, environ, log); err != nil {
		for _, problem := range problems(err) {
			log.Error("sidekick failed", "error", problem)
		}
		return 1
	}
	return 0
}

func logger(w io.Writer, how config.Log) *slog.Logger {
	options := &slog.HandlerOptions{Level: how.Level}
	if how.Text {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// serve runs until ctx ends, and then stops in the order in which events pass:
// nothing new comes in, what is under way is finished, the queue is closed.
func serve(ctx context.Context, in config.Input, environ []string, log *slog.Logger) (err error) {
	defer survive(log)()
	cfg, err := config.Load(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOutputs(cfg.Outputs)) }()
	for _, w := range cfg.Warnings {
		log.Warn("setting has no effect", "reason", w)
	}

	dir, err := queueDir(cfg, environ, log)
	if err != nil {
		return err
	}
	q, err := queue.Open(ctx, queueOptions(cfg, dir, log))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()

	targets, err := targets(ctx, q, cfg.Outputs)
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), q.Collector())
	happened := feed.New()
	dispatcher := dispatch.New(dispatch.Options{
		Targets: targets, DeadLetters: q, Outcomes: happened.Outcomes, Metrics: metrics, Log: log,
		MaxAge: cfg.Queue.MaxAge, Held: cfg.Queue.MaxBytes, StopTimeout: cfg.ShutdownTimeout, Stopping: ctx,
	})

	tokens, known, err := authorization(cfg.Listen.Tokens, log)
	if err != nil {
		return err
	}
	policySide, err := openPolicies(cfg, policyStateDir(cfg, dir), &known, metrics, log)
	if err != nil {
		return err
	}
	feeds, err := openTelemetry(ctx, cfg, tokens, policySide, happened, metrics, log)
	if err != nil {
		return err
	}
	defer feeds.close()
	limited := limited(metrics)
	connections := access.NewConnections(cfg.Limits.Connections, func() { limited("connections") })
	intake := ingest.New(ingest.Options{
		Store: feeds.store(queue.Store{Queue: q}), Enricher: cfg.Enricher, Labels: cfg.MetricFields, Metrics: metrics, Log: log,
		Outputs: func() any { return dispatcher.Status() }, Warnings: cfg.Exposed(),
		Pace: pace(cfg.Limits), Arrived: access.Arrived, Limited: limited,
	})
	feeds.pullFrom(cfg.KubeArmor, intake, metrics)
	front, err := openFront(ctx, cfg, connections, api.Options{Routes: routes(intake, policySide.http, storedEvents(q, log)), Tokens: tokens, Lost: intake.Lost, Metrics: metrics, Log: log})
	if err != nil {
		return err
	}

	// These outlive ctx: each is stopped when its turn comes.
	life := context.WithoutCancel(ctx)
	if dir != "" {
		defer openControl(life, dir, newControl(q, cfg.Outputs, log), log)()
	}
	defer start(life, q.Run)()
	defer start(life, dispatcher.Run)()
	defer feeds.run(ctx)()
	defer start(life, policySide.hub.Run)()
	announce(log, cfg, front, dir)
	return front.serve(ctx, min(requestsTimeout, cfg.ShutdownTimeout/5))
}

// start runs f; stop ends it and waits for it.
func start(ctx context.Context, f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { f(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

func announce(log *slog.Logger, cfg config.Config, f *front, dir string) {
	names := make([]string, 0, len(cfg.Outputs))
	for _, o := range cfg.Outputs {
		names = append(names, o.Name)
	}
	if len(names) == 0 {
		log.Warn("no output is configured, events are only stored")
	}
	for _, exposed := range cfg.Exposed() {
		log.Warn("anybody who can connect is served", "reason", exposed)
	}
	if cfg.Listen.Default {
		log.Info("LISTENADDRESS is not set, only this machine or task is served")
	}
	queue := slog.String("queue_dir", dir)
	if c := cfg.Queue.Cluster; c != nil {
		queue = slog.String("queue_cluster", strings.Join(c.Servers, ","))
	}
	log.Info("listening", append(f.addresses(), "outputs", strings.Join(names, ","), queue, "version", version)...)
}

func queueOptions(cfg config.Config, dir string, log *slog.Logger) queue.Options {
	opts := queue.Options{Dir: dir, Bytes: cfg.Queue.MaxBytes, SyncAlways: cfg.Queue.SyncAlways, History: queue.History(cfg.Queue.History), Log: log}
	if c := cfg.Queue.Cluster; c != nil {
		opts.Cluster = &queue.Cluster{
			Servers: c.Servers, User: c.User, Password: c.Password, Token: c.Token, CredsFile: c.CredsFile,
			CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile, Replicas: c.Replicas, Name: c.Name,
		}
	}
	return opts
}

// queueDir gives the directory of the queue, "" if it is in a cluster, and says
// where it is when nobody did.
func queueDir(cfg config.Config, environ []string, log *slog.Logger) (string, error) {
	if cfg.Queue.Cluster != nil {
		return "", nil
	}
	if cfg.Queue.Dir != "" {
		return cfg.Queue.Dir, nil
	}
	dir, lasting, err := queue.DefaultDir(lookup(environ))
	if err != nil {
		return "", err
	}
	if !lasting {
		log.Warn("queue is in a temporary directory, set QUEUE_DIR to one that lasts", "dir", dir)
	}
	return dir, nil
}

func lookup(environ []string) func(string) string {
	return func(name string) (value string) {
		for _, entry := range environ {
			if v, ok := strings.CutPrefix(entry, name+"="); ok {
				value = v
			}
		}
		return value
	}
}

// targets opens a reader for everything that an output gets, and has the queue
// forget the outputs of earlier configurations.
func targets(ctx context.Context, q *queue.Queue, configured []config.Output) ([]dispatch.Target, error) {
	list := make([]dispatch.Target, 0, len(configured))
	keep := map[queue.Stream][]string{}
	for _, o := range configured {
		t := target(o)
		alerts, err := q.Consumer(ctx, t.Name, queue.Alerts)
		if err != nil {
			return nil, err
		}
		t.Alerts = alerts
		keep[queue.Alerts] = append(keep[queue.Alerts], t.Name)
		if o.Logs {
			logs, err := q.Consumer(ctx, t.Name, queue.Logs)
			if err != nil {
				return nil, err
			}
			t.Logs = logs
			keep[queue.Logs] = append(keep[queue.Logs], t.Name)
		}
		list = append(list, t)
	}
	for _, s := range []queue.Stream{queue.Alerts, queue.Logs} {
		if err := q.Keep(ctx, s, keep[s]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// problems takes a joined error apart, for one line of the log each.
func problems(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
