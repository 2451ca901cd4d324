package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// heartbeat is how often a stream says that it is alive. Proxies take a silent
// connection for dead after a minute.
const heartbeat = 15 * time.Second

// streams are those that are open.
type streams struct {
	slots chan struct{}
	ended context.Context //nolint:containedctx // ends with the server, and with it the streams
	end   context.CancelFunc
}

func (s *streams) init(most int) {
	s.slots = make(chan struct{}, max(1, most))
	s.ended, s.end = context.WithCancel(context.Background())
}

func (s *streams) open() float64 { return float64(len(s.slots)) }

// streaming serves a stream: there is no limit on its length but on each write, its
// connection is not closed for another, and its context ends when the server stops.
func (a *API) streaming(next http.HandlerFunc, write time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case a.streams.slots <- struct{}{}:
			defer func() { <-a.streams.slots }()
		default:
			Answer(w, http.StatusServiceUnavailable, Problem{"too many streams are open"})
			return
		}
		a.Arrived(r.Context())
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(a.streams.ended, cancel)()
		client := http.NewResponseController(w)
		if err := client.SetReadDeadline(time.Time{}); err != nil { // or else it would look as if the client had gone
			Answer(w, http.StatusInternalServerError, Problem{"this connection cannot carry a stream"})
			return
		}
		next(&streamWriter{ResponseWriter: w, client: client, each: write}, r.WithContext(ctx))
	}
}

// streamWriter bounds each write.
type streamWriter struct {
	http.ResponseWriter
	client *http.ResponseController
	each   time.Duration
}

// Write implements http.ResponseWriter.
func (s *streamWriter) Write(b []byte) (int, error) {
	if err := s.client.SetWriteDeadline(time.Now().Add(s.each)); err != nil {
		return 0, err
	}
	return s.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController asks for.
func (s *streamWriter) FlushError() error {
	if err := s.client.SetWriteDeadline(time.Now().Add(s.each)); err != nil {
		return err
	}
	return s.client.Flush()
}

// Unwrap is what http.ResponseController asks for.
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Message is one event of a stream, as the HTML Standard has it (section 9.2,
// Server-sent events). Name and ID have no line ends and no NUL.
type Message struct {
	Name string // "" for none
	ID   string // "" for none
	Data []byte
}

// errMessage is of a name or ID that would be something else for who reads it.
var errMessage = errors.New("name or ID of a message has a line end or NUL")

// encode appends m as it is sent.
func (m Message) encode(b *bytes.Buffer) error {
	if strings.ContainsAny(m.Name+m.ID, "\r\n\x00") {
		return errMessage
	}
	if m.Name != "" {
		b.WriteString("event: " + m.Name + "\n")
	}
	if m.ID != "" {
		b.WriteString("id: " + m.ID + "\n")
	}
	// CR, LF and both are line ends there.
	data := bytes.ReplaceAll(m.Data, []byte("\r\n"), []byte("\n"))
	data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return nil
}

// SendEvents answers a route that is a Stream with messages, and with a heartbeat
// while there are none. It ends with messages, when the client has gone, when the
// server stops (both are nil), or when the client does not read.
func SendEvents(w http.ResponseWriter, r *http.Request, messages <-chan Message) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would hold it back
	w.WriteHeader(http.StatusOK)
	client := http.NewResponseController(w)
	if err := client.Flush(); err != nil {
		return err
	}
	alive := time.NewTicker(heartbeat)
	defer alive.Stop()
	var b bytes.Buffer
	for {
		b.Reset()
		select {
		case <-r.Context().Done():
			return nil
		case <-alive.C:
			b.WriteString(":\n\n")
		case m, ok := <-messages:
			if !ok {
				return nil
			}
			if err := m.encode(&b); err != nil {
				return err
			}
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		if err := client.Flush(); err != nil {
			return err
		}
	}
}
