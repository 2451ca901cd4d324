package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	storeMemory = 1 << 20 // nothing of ours is in memory streams
	// The streams have limits of their own and the disk is watched by checkDisk;
	// the server's estimate from the free space at start would only get in the way.
	storeDisk = 1 << 40

	syncInterval = 10 * time.Second // what a crash of the machine can cost
)

// startServer runs the JetStream server in this process. It opens no port: it is
// reached by an in-memory connection only.
func startServer(cfg *server.JetStreamConfig, log *slog.Logger) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "sidearmor",
		DontListen:             true,
		NoSigs:                 true,
		NoSystemAccount:        false,
		JetStream:              true,
		DisableJetStreamBanner: true,
		StoreDir:               cfg.StoreDir,
		JetStreamMaxMemory:     cfg.MaxMemory,
		JetStreamMaxStore:      cfg.MaxStore,
		SyncInterval:           cfg.SyncInterval,
		SyncAlways:             cfg.SyncAlways,
		MaxPayload:             MaxMessageBytes + 64<<10, // and the headers
	})
	if err != nil {
		return nil, fmt.Errorf("configure the store: %w", err)
	}
	l := &serverLog{log: log.With("part", "store")}
	srv.SetLogger(l, false, false)
	srv.Start()
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("start the store: %w", l.fatal())
	}
	return srv, nil
}

// storeConfig is what startServer starts the store with.
func storeConfig(dir string, always bool) *server.JetStreamConfig {
	return &server.JetStreamConfig{
		StoreDir: dir, MaxMemory: storeMemory, MaxStore: storeDisk, SyncInterval: syncInterval, SyncAlways: always,
	}
}

// serverLog carries the server's own log into ours. What the server calls fatal
// does not end the process, as its default logger does: it fails the start.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex
	first string // the first fatal message
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		return errors.New("it did not come up")
	}
	return errors.New(l.first)
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == "" {
		l.first = fmt.Sprintf(format, v...)
	}
}

func (l *serverLog) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v) }
func (l *serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }

func (l *serverLog) line(level slog.Level, format string, v []any) {
	ctx := context.Background() // the server's interface has none
	if l.log.Enabled(ctx, level) {
		l.log.Log(ctx, level, "store", "text", strings.TrimSpace(fmt.Sprintf(format, v...)))
	}
}
