package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

// defaultSince is how far "policy simulate" looks back, and as far as the history goes
// by default.
const defaultSince = "1h"

// sinceTime reads how far to look back: a duration, or a time of RFC 3339.
func sinceTime(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a duration, such as 1h or 90m, nor a time, such as 2006-01-02T15:04:05Z", text)
	}
	return at, nil
}

// storedEvents answers with the events that are held, one a line, in the order in which
// they were stored: with ?since= those since then. An answer that cannot be completed is
// cut short, so that the client sees an error.
func storedEvents(q *queue.Queue, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		since := time.Time{}
		if text := r.URL.Query().Get("since"); text != "" {
			var err error
			if since, err = sinceTime(text, time.Now()); err != nil {
				api.Answer(w, http.StatusBadRequest, api.Problem{Error: "since: " + err.Error()})
				return
			}
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.Header().Set("Cache-Control", "no-store")
		lines := bufio.NewWriterSize(w, 64<<10)
		err := q.Since(r.Context(), since, func(e schema.Event) error {
			body, err := e.Body()
			if err != nil {
				return err
			}
			_, _ = lines.Write(body) // WriteByte has the error
			return lines.WriteByte('\n')
		})
		if err == nil {
			err = lines.Flush()
		}
		if err == nil {
			return
		}
		if r.Context().Err() == nil {
			log.Warn("stored events could not all be sent", "error", err)
		}
		panic(http.ErrAbortHandler)
	}
}

// readStored hands the answer of storedEvents to read.
func readStored(ctx context.Context, client *http.Client, since string, read func(io.Reader) error) error {
	return atPath(ctx, client, http.MethodGet, "/events?since="+url.QueryEscape(since), nil, func(answer io.Reader) error {
		err := read(answer)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the sidekick's answer ended early: %w", err)
		}
		return err
	})
}
