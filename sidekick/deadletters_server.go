package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

// letterRequest is the body of a request about dead letters: what the verb in its
// path is about. The protocol is between programs of one version.
type letterRequest struct {
	Refs   []string `json:"refs,omitempty"`   // numbers or IDs of events; none for all
	Output string   `json:"output,omitempty"` // those of one output; "" for all
	Limit  int      `json:"limit,omitempty"`  // newest so many; 0 for all
}

// letterAnswer is one line of the answer.
type letterAnswer struct {
	Letter *queue.Letter `json:"letter,omitempty"` // of list and show
	Held   int           `json:"held,omitempty"`   // how many there are, as the last line of list

	Number uint64 `json:"number,omitempty"` // of replay and delete
	Output string `json:"output,omitempty"`
	ID     string `json:"id,omitempty"`    // new one of a replayed event
	Error  string `json:"error,omitempty"` // why one of them could not be done

	Fatal string `json:"fatal,omitempty"` // why there is no more
}

// letterServer does for the command line what needs the open queue.
type letterServer struct {
	queue   *queue.Queue
	outputs []config.Output
}

// newControl is what is served at the control socket.
func newControl(q *queue.Queue, configured []config.Output, log *slog.Logger) http.Handler {
	s := &letterServer{queue: q, outputs: configured}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", storedEvents(q, log))
	for verb, do := range map[string]func(context.Context, letterRequest, func(letterAnswer) error) error{
		"list": s.list, "show": s.show, "replay": s.replay, "delete": s.remove,
	} {
		mux.HandleFunc("POST /deadletters/"+verb, func(w http.ResponseWriter, r *http.Request) {
			var request letterRequest
			if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
				http.Error(w, "malformed request", http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/x-ndjson")
			lines := json.NewEncoder(w)
			say := func(a letterAnswer) error {
				if err := lines.Encode(a); err != nil {
					return err
				}
				return http.NewResponseController(w).Flush() // each is told once it is done
			}
			if err := do(r.Context(), request, say); err != nil {
				_ = say(letterAnswer{Fatal: err.Error()}) // fails when nobody listens any more
			}
		})
	}
	return mux
}

func (s *letterServer) list(ctx context.Context, r letterRequest, say func(letterAnswer) error) error {
	held, err := s.queue.Letters(ctx, r.Output, r.Limit, func(l queue.Letter) error {
		return say(letterAnswer{Letter: &l})
	})
	if err != nil {
		return err
	}
	return say(letterAnswer{Held: held})
}

func (s *letterServer) show(ctx context.Context, r letterRequest, say func(letterAnswer) error) error {
	if len(r.Refs) != 1 {
		return errors.New("which dead letter?")
	}
	l, err := s.queue.Letter(ctx, r.Refs[0])
	if err != nil {
		return err
	}
	return say(letterAnswer{Letter: &l})
}

func (s *letterServer) replay(ctx context.Context, r letterRequest, say func(letterAnswer) error) error {
	return s.each(ctx, r, say, func(l queue.Letter) (id string, err error) {
		return s.queue.Replay(ctx, l.Number, s.gets)
	})
}

func (s *letterServer) remove(ctx context.Context, r letterRequest, say func(letterAnswer) error) error {
	return s.each(ctx, r, say, func(l queue.Letter) (id string, err error) {
		return "", s.queue.DeleteLetter(ctx, l.Number)
	})
}

// gets says whether an output is configured and gets events of a stream.
func (s *letterServer) gets(output string, stream queue.Stream) bool {
	for _, o := range s.outputs {
		if o.Name == output {
			return stream == queue.Alerts || o.Logs
		}
	}
	return false
}

// each does something to every dead letter that is asked for and there now: one
// that is refused again meanwhile is not done again.
func (s *letterServer) each(ctx context.Context, r letterRequest, say func(letterAnswer) error, do func(queue.Letter) (id string, err error)) error {
	one := func(l queue.Letter, err error) error {
		var id string
		if err == nil {
			id, err = do(l)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return say(letterAnswer{Number: l.Number, Error: err.Error()})
		}
		return say(letterAnswer{Number: l.Number, Output: l.Output, ID: id})
	}
	if len(r.Refs) > 0 {
		for _, ref := range r.Refs {
			l, err := s.queue.Letter(ctx, ref)
			if err != nil {
				err = fmt.Errorf("%s: %w", ref, err)
			}
			if err := one(l, err); err != nil {
				return err
			}
		}
		return nil
	}
	numbers, err := s.queue.LetterNumbers(ctx, r.Output)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		l, err := s.queue.Letter(ctx, strconv.FormatUint(n, 10))
		if err := one(l, err); err != nil {
			return err
		}
	}
	return nil
}
