package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	bin       string
	dir       string        // of the queue and the log; "" for one that is removed when all is well
	duration  time.Duration // of posting; draining comes on top
	rate      int           // events a second, all posters together
	killEvery time.Duration // mean time between two kills, 0 for none
	failEvery time.Duration // mean time between two failures of a receiver, 0 for none
	seed      uint64
}

const (
	// stuck is how long nothing may arrive before the rest counts as lost: more
	// than the longest backoff (30 s) and the longest timeout (30 s) together.
	stuck = 90 * time.Second

	startTimeout = 60 * time.Second
)

func run(args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.bin, "bin", "bin", "where the sidekick is")
	flags.StringVar(&o.dir, "dir", "", "for the queue and the log, kept; a temporary one when empty")
	flags.DurationVar(&o.duration, "duration", time.Hour, "how long events are posted")
	flags.IntVar(&o.rate, "rate", 500, "events a second")
	flags.DurationVar(&o.killEvery, "kill-every", time.Minute, "mean time between two kills of the sidekick, 0 for none")
	flags.DurationVar(&o.failEvery, "fail-every", 10*time.Second, "mean time between two failures of a receiver, 0 for none")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of everything random")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	ok, err := soak(ctx, o, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "soak:", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

// soak does everything and writes the report. ok says that nothing was lost and
// nothing came that should not have.
func soak(ctx context.Context, o options, w io.Writer) (ok bool, err error) {
	if o.rate < 1 || o.duration <= 0 {
		return false, errors.New("-rate and -duration must be positive")
	}
	kept := o.dir != ""
	if !kept {
		if o.dir, err = os.MkdirTemp("", "soak-"); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(w, "seed %d, %d events/s for %s, a kill every %s, a failure of each receiver every %s, files in %s\n",
		o.seed, o.rate, o.duration, o.killEvery, o.failEvery, o.dir)
	defer func() {
		if ok && err == nil && !kept {
			err = os.RemoveAll(o.dir)
		}
	}()
	posters := newPosters(o)
	receivers, err := startReceivers(posters, o)
	if err != nil {
		return false, err
	}
	defer closeAll(receivers)
	side := &sidekick{options: o, receivers: receivers}
	if err := side.start(ctx); err != nil {
		return false, err
	}
	defer side.kill()
	begin := time.Now()
	err = work(ctx, o, side, posters)
	for _, r := range receivers {
		r.faults.stop()
	}
	if err == nil {
		err = drain(ctx, side, receivers)
	}
	drained := time.Since(begin) - o.duration
	status := side.stop()
	report := &report{
		options: o, posters: posters, receivers: receivers, side: side, drained: drained, status: status,
	}
	return report.write(w), err
}

// work posts until the duration is over, and kills meanwhile.
func work(ctx context.Context, o options, side *sidekick, posters []*poster) error {
	deadline := time.Now().Add(o.duration)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	posting, watching := sync.WaitGroup{}, sync.WaitGroup{}
	for _, p := range posters {
		posting.Go(func() {
			if err := p.run(ctx, side.url, deadline); err != nil {
				cancel(err)
			}
		})
	}
	ending, end := context.WithDeadline(ctx, deadline)
	defer end()
	if o.killEvery > 0 {
		watching.Go(func() {
			if err := killer(ending, ctx, side, o); err != nil {
				cancel(err)
			}
		})
	}
	watching.Go(func() { side.watch(ctx) })
	posting.Wait()
	end()
	err := context.Cause(ctx)
	cancel(nil)
	watching.Wait()
	return err
}

// killer kills until ending is over, and starts again what it killed until ctx is.
func killer(ending, ctx context.Context, side *sidekick, o options) error {
	random := rand.New(rand.NewPCG(o.seed, 0))
	for {
		wait := o.killEvery/2 + time.Duration(random.Int64N(int64(o.killEvery)))
		select {
		case <-ending.Done():
			return nil
		case <-time.After(wait):
		}
		side.kill()
		if err := side.start(ctx); err != nil {
			return fmt.Errorf("after kill %d: %w", side.kills(), err)
		}
	}
}

// drain waits until every receiver has all, or nothing has come for long.
func drain(ctx context.Context, side *sidekick, receivers []*receiver) error {
	last, since := -1, time.Now()
	for {
		missing := 0
		for _, r := range receivers {
			missing += r.ledger.missing()
		}
		if missing == 0 {
			return nil
		}
		if missing != last {
			last, since = missing, time.Now()
		}
		if time.Since(since) > stuck {
			return nil // the report names what is missing
		}
		side.sample()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
