package emit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sidearmor/sidearmor/tracer/internal/peer"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 1 << 20          // bytes read of an answer: a thousand verdicts are far less
	maxRetryAfter  = 30 * time.Second // longer waits would outlive the buffer
)

// fate is what an answer means for a batch.
type fate int

const (
	taken   fate = iota
	refusal      // as it is, it will never be taken
	retry
)

// answer is what became of one request.
type answer struct {
	fate     fate
	barred   bool           // retry: it asks for another token
	known    bool           // it speaks like a sidekick, not like a stranger at its port
	rejected map[int]string // taken: items that were not, and why
	item     int            // refusal: the item that is the cause, -1 if unknown
	after    time.Duration  // retry: not before
	err      error          // refusal, retry; holds no secret
}

type client struct {
	peer        *peer.Peer
	contentType string
	engine      atomic.Pointer[string] // see Emitter.SetEngine; nil before
}

func newClient(o Options) (*client, error) {
	c := &client{contentType: "application/x-ndjson"}
	if o.Format == Falco {
		c.contentType = "application/json"
	}
	var err error
	c.peer, err = peer.New(peer.Options{
		URL: o.URL, Token: o.Token, TokenFile: o.TokenFile, Prove: o.Prove,
		CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Transport: o.Transport,
	})
	return c, err
}

func (c *client) close() { c.peer.Close() }

// post sends a batch once.
func (c *client) post(ctx context.Context, key string, batch []line) answer {
	// The transport may read on after an answer has come, and the memory of the
	// batch is used again: it must have let go of it.
	var reading sync.WaitGroup
	defer reading.Wait()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	body := newBody(batch, &reading)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.peer.URL(""), body)
	if err != nil {
		_ = body.Close()
		return answer{fate: retry, err: errors.New("the address is not usable")}
	}
	request.ContentLength = body.left
	// With the key the transport may itself repeat a request whose kept-alive
	// connection had been closed meanwhile.
	request.GetBody = func() (io.ReadCloser, error) { return newBody(batch, &reading), nil }
	request.Header.Set("Content-Type", c.contentType)
	request.Header.Set("Idempotency-Key", key)
	request.Header.Set("Prefer", "return=minimal") // no verdicts where all events are taken
	if engine := c.engine.Load(); engine != nil {
		request.Header.Set("Sidearmor-Engine", *engine)
	}
	response, err := c.peer.Do(request)
	if err != nil {
		return answer{fate: retry, err: err}
	}
	defer response.Body.Close()
	// What can be read of it is enough: the status has been given.
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if _, secret, ok := strings.Cut(request.Header.Get("Authorization"), "Bearer "); ok && secret != "" {
		text = bytes.ReplaceAll(text, []byte(secret), []byte("***")) // a stranger may repeat what it was told
	}
	return judge(response.StatusCode, response.Header, text, len(batch))
}

// judge reads an answer to a batch of n events.
func judge(status int, header http.Header, text []byte, n int) answer {
	switch {
	case status >= 200 && status <= 299:
		return answer{fate: taken, known: true, rejected: rejections(text, n)}
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity, status == http.StatusRequestEntityTooLarge:
		return answer{fate: refusal, known: true, item: culprit(text), err: statusError(status, text)}
	}
	// Everything else can change without the events changing: overload, a
	// restart, a missing route, a wrong token.
	return answer{
		fate: retry, err: statusError(status, text),
		barred: status == http.StatusUnauthorized || status == http.StatusForbidden,
		known:  status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests,
		after:  retryAfter(header.Get("Retry-After"), time.Now()),
	}
}

func statusError(status int, text []byte) error {
	const most = 200
	s := strings.ToValidUTF8(strings.TrimSpace(string(text[:min(len(text), most)])), "")
	return fmt.Errorf("status %d: %q", status, s)
}

// rejections reads the verdicts on the single events of a batch, if there are.
func rejections(text []byte, n int) map[int]string {
	if len(text) == 0 {
		return nil
	}
	var verdicts struct {
		Results []struct{ Status, Error string }
	}
	if json.Unmarshal(text, &verdicts) != nil {
		return nil
	}
	var rejected map[int]string
	for i, r := range verdicts.Results[:min(n, len(verdicts.Results))] {
		if r.Status == "rejected" {
			if rejected == nil {
				rejected = map[int]string{}
			}
			rejected[i] = r.Error
		}
	}
	return rejected
}

func culprit(text []byte) int {
	var reason struct{ Item *int }
	if json.Unmarshal(text, &reason) != nil || reason.Item == nil {
		return -1
	}
	return *reason.Item
}

// retryAfter reads both forms of the header; nonsense is no wait.
func retryAfter(value string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.Atoi(value); err == nil {
		d = time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return max(0, min(d, maxRetryAfter))
}

// body reads a batch as NDJSON without copying it together first.
type body struct {
	rest []line
	at   int // in the first of rest; its length is the newline
	left int64
	// reading has been told that it is read, and is told when that has ended.
	reading *sync.WaitGroup
	once    sync.Once
}

func newBody(batch []line, reading *sync.WaitGroup) *body {
	reading.Add(1)
	b := &body{rest: batch, reading: reading}
	for i := range batch {
		b.left += int64(len(batch[i].text)) + 1
	}
	return b
}

func (b *body) Read(p []byte) (n int, err error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	for n < len(p) && len(b.rest) > 0 {
		text := b.rest[0].text
		if b.at < len(text) {
			copied := copy(p[n:], text[b.at:])
			n, b.at = n+copied, b.at+copied
			continue
		}
		p[n] = '\n'
		n++
		b.rest, b.at = b.rest[1:], 0
	}
	return n, nil
}

// Close says that the body will not be read any more.
func (b *body) Close() error {
	b.once.Do(b.reading.Done)
	return nil
}
