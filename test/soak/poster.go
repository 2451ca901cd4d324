package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	alertPosters = 1
	logPosters   = 3
	maxBatch     = 10
	retryPause   = 50 * time.Millisecond
)

// poster posts a numbered row of events, one batch after the other, each again
// until it is answered with 200, so that the row's order is known.
type poster struct {
	number int
	alerts bool // KubeArmor alerts, else logs
	rate   float64
	random *rand.Rand
	client *http.Client

	posted  atomic.Int64 // events in requests that were made, not counting repetitions
	taken   atomic.Int64 // events that were answered with 200
	repeats atomic.Int64 // requests that were made again
}

func newPosters(o options) []*poster {
	var all []*poster
	for n := range alertPosters + logPosters {
		all = append(all, &poster{
			number: n,
			alerts: n < alertPosters,
			rate:   float64(o.rate) / (alertPosters + logPosters),
			random: rand.New(rand.NewPCG(o.seed, uint64(100+n))),
			client: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{}},
		})
	}
	return all
}

func (p *poster) accepted() int { return int(p.taken.Load()) }

// run posts until the deadline; the batch that is under way then is seen to its
// end.
func (p *poster) run(ctx context.Context, url string, deadline time.Time) error {
	begin, seq := time.Now(), 0
	for time.Now().Before(deadline) {
		n := 1 + p.random.IntN(maxBatch)
		if err := p.insist(ctx, url, seq, n); err != nil {
			return err
		}
		seq += n
		due := begin.Add(time.Duration(float64(seq) / p.rate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(due)):
		}
	}
	return nil
}

// insist posts one batch until it is taken.
func (p *poster) insist(ctx context.Context, url string, seq, n int) error {
	body := p.batch(seq, n)
	p.posted.Add(int64(n))
	for try := 0; ; try++ {
		err := p.post(ctx, url, fmt.Sprintf("soak-%d-%d", p.number, seq), body)
		if err == nil {
			p.taken.Add(int64(n))
			return nil
		}
		if errors.Is(err, errRefused) {
			return err
		}
		p.repeats.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// errRefused is an answer that repeating does not change.
var errRefused = errors.New("refused for good")

func (p *poster) post(ctx context.Context, url, key string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set("Idempotency-Key", key)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s: %.300s", errRefused, resp.Status, answer)
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	case err != nil:
		return err // killed within the answer
	case len(answer) == 0:
		return nil
	}
	var verdict struct{ Rejected int }
	if err := json.Unmarshal(answer, &verdict); err != nil || verdict.Rejected != 0 {
		return fmt.Errorf("%w: %.300s", errRefused, answer)
	}
	return nil
}

// batch is n events as KubeArmor writes them, about as large as real ones.
func (p *poster) batch(seq, n int) []byte {
	var b bytes.Buffer
	for i := seq; i < seq+n; i++ {
		kind := `"Type":"ContainerLog"`
		if p.alerts {
			kind = `"Type":"MatchedPolicy","PolicyName":"soak","Severity":"5","Action":"Block","Enforcer":"eBPF Monitor"`
		}
		fmt.Fprintf(&b, `{%s,"Operation":"File","Resource":"%s","ClusterName":"soak","NamespaceName":"shop",`+
			`"PodName":"web-7d4b9c6f5d-x2x7p","ContainerName":"web","ContainerID":"%s","ProcessName":"/usr/bin/cat",`+
			`"Source":"/usr/bin/cat /etc/shadow","Data":"syscall=SYS_OPENAT flags=O_RDONLY","Result":"Passed"}`+"\n",
			kind, id{p.number, i}, strings.Repeat("0123456789abcdef", 4))
	}
	return b.Bytes()
}
