package main

import (
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// survive keeps two signals from ending the process, until stop is called. SIGPIPE
// comes when the reader of standard output has gone: the write fails as well, and
// that is the trouble of the output alone. SIGHUP asks for a fresh look at files:
// those that can be read again are looked at when they are needed, so there is
// nothing to do but to say so.
func survive(log *slog.Logger) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGPIPE)
	var running sync.WaitGroup
	running.Go(func() {
		for s := range signals {
			if s == syscall.SIGHUP {
				log.Info("SIGHUP: changed files of tokens and certificates are read again; other settings need a new start")
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(signals)
		running.Wait()
	}
}
