package policies

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/tracer/internal/peer"
)

// Sidekick is the name of the source of policies that the sidekick has.
const Sidekick = "the sidekick"

const (
	// silence is how long nothing may come on the stream: the sidekick says every 15
	// seconds that it is there.
	silence = 50 * time.Second
	// A stream that was lost is tried anew at once, and then less and less often: a
	// sidekick that has been started again is found within a second or two.
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second
)

// StreamOptions are what a Stream works with. All but Strict are needed.
type StreamOptions struct {
	Hub    *Hub
	Peer   *peer.Peer
	Tracer func() policystream.Tracer // who this is, as known now
	Strict bool
	Log    *slog.Logger
}

// Stream is the sidekick as a source of policies: what it has in force is in force
// here. When it cannot be reached everything stays as it last said.
type Stream struct {
	StreamOptions
	id string

	mu     sync.Mutex
	state  policystream.State            // that is in force; its zero is none
	files  map[string][]spolicy.Document // of each, by source and name, when it was last right
	errors []string                      // of policies that cannot be read
	lost   string                        // why there is no stream, as the log was told; "" while there is one
}

// NewStream makes a Stream, for which the start waits.
func NewStream(o StreamOptions) *Stream {
	o.Hub.Expect(Sidekick)
	if !o.Peer.Secure() {
		o.Log.Warn("policies from the sidekick are taken without a proof that it is the sidekick: without a token, or a certificate, whoever answers at its address decides what is in force")
	}
	return &Stream{StreamOptions: o, id: o.Tracer().ID, files: map[string][]spolicy.Document{}}
}

// Run follows the sidekick until ctx ends.
func (s *Stream) Run(ctx context.Context) {
	var reporting sync.WaitGroup
	defer reporting.Wait()
	reporting.Go(func() { s.report(ctx) })
	pause := firstPause
	for {
		got, err := s.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if got {
			pause = firstPause
		}
		s.complain(err)
		select {
		case <-time.After(pause/2 + rand.N(pause)): //nolint:gosec // so that many do not come at once
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// complain says that the stream is lost, once for each reason.
func (s *Stream) complain(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := err.Error()
	if s.lost == reason {
		return
	}
	s.lost = reason
	if s.state.Generation == 0 {
		s.Log.Warn("the sidekick's policies cannot be had yet", "error", err)
		return
	}
	s.Log.Warn("the stream of policies from the sidekick is lost: what it said last stays in force", "error", err, "generation", s.state.Generation)
}

// follow opens one stream and follows it to its end. It says whether a state came.
func (s *Stream) follow(ctx context.Context) (got bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("the sidekick says nothing any more")) })
	defer watchdog.Stop()
	defer func() {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
	}()
	response, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	in := events{in: bufio.NewReaderSize(response.Body, 64<<10), alive: func() { watchdog.Reset(silence) }}
	var decoder policystream.Decoder
	for {
		text, err := in.next()
		if err != nil {
			return got, err
		}
		state, err := decoder.Decode(text)
		if err != nil {
			return got, err
		}
		s.take(state)
		got = true
	}
}

// open asks for the stream.
func (s *Stream) open(ctx context.Context) (*http.Response, error) {
	address := s.Peer.URL(policystream.Path) + "?" + url.Values{"tracer": {s.id}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, errors.New("the address is not usable")
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := s.Peer.Do(request)
	if err != nil {
		return nil, err
	}
	if kind := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		defer response.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200)) // what can be read is enough
		return nil, fmt.Errorf("no stream of policies: status %d: %q", response.StatusCode, strings.ToValidUTF8(strings.TrimSpace(string(text)), ""))
	}
	return response, nil
}

// take puts a state in force.
func (s *Stream) take(state policystream.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != "" || s.state.Generation == 0 {
		s.Log.Info("policies come from the sidekick", "instance", state.Instance, "generation", state.Generation, "proven", s.Peer.Secure())
	}
	s.lost = ""
	state = keep(s.state, state)
	docs, files, errs := s.read(state)
	s.state, s.files, s.errors = state, files, errs
	complete := true
	held := &settings{namespaces: map[string]spolicy.Settings{}, pods: map[string]spolicy.Settings{}}
	for i := range state.Sources {
		source := &state.Sources[i]
		complete = complete && !source.Pending
		for name, of := range source.Namespaces {
			held.namespaces[name] = over(held.namespaces[name], of)
		}
		for name, of := range source.Pods {
			held.pods[name] = over(held.pods[name], of)
		}
	}
	s.Hub.set(Sidekick, docs, held, complete)
}

// keep gives a state in which sources of which the sidekick knows nothing yet, as
// after it was started anew, have what they had before.
func keep(before, now policystream.State) policystream.State {
	for i := range now.Sources {
		source := &now.Sources[i]
		if !source.Pending {
			continue
		}
		for j := range before.Sources {
			if old := &before.Sources[j]; old.Name == source.Name {
				source.Policies, source.Namespaces, source.Pods = old.Policies, old.Namespaces, old.Pods
				source.Pending = old.Pending
			}
		}
	}
	return now
}

// read reads the documents of a state. Of a file in which something cannot be read
// here, as where the sidekick is newer, everything stays as it was.
func (s *Stream) read(state policystream.State) (docs []spolicy.Document, files map[string][]spolicy.Document, errs []string) {
	files = map[string][]spolicy.Document{}
	for _, source := range state.Sources {
		for from := 0; from < len(source.Policies); {
			to := from + 1
			for to < len(source.Policies) && source.Policies[to].File == source.Policies[from].File {
				to++
			}
			name := source.Name + ": " + source.Policies[from].File
			file, err := s.readFile(source.Policies[from:to])
			if err != nil {
				errs = append(errs, strings.Split(err.Error(), "\n")...)
				s.Log.Error("policies of the sidekick cannot be read: what they said before stays in force", "file", name, "errors", errs)
				file = s.files[name]
			}
			files[name] = file
			docs = append(docs, file...)
			from = to
		}
	}
	return docs, files, errs
}

// readFile reads the policies of one file.
func (s *Stream) readFile(policies []policystream.Policy) (file []spolicy.Document, err error) {
	var errs []error
	for _, p := range policies {
		docs, err := p.Parse(s.Strict)
		if err != nil {
			errs = append(errs, err)
		}
		for _, d := range docs {
			if p.Mode != spolicy.Enforce {
				d.Mode = p.Mode
			}
			file = append(file, d)
		}
	}
	return file, errors.Join(errs...)
}
