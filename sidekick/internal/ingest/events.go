package ingest

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sidearmor/sidearmor/schema"
	"github.com/sidearmor/sidearmor/sidekick/internal/api"
)

// maxKeyBytes bounds an Idempotency-Key: it is kept with every event for minutes.
const maxKeyBytes = 128

// verdict is what became of one event.
type verdict struct {
	Status string `json:"status"` // accepted or rejected
	Error  string `json:"error,omitempty"`
	Field  string `json:"field,omitempty"`

	reason string // metric label
	retry  bool   // sent again it may be accepted
}

// summary is what became of all events of a request.
type summary struct {
	Accepted int       `json:"accepted"`
	Rejected int       `json:"rejected"`
	Results  []verdict `json:"results"`
}

// events answers POST /.
func (h *handler) events(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	if refused := checkKey(key); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	if refused := h.paced(r, 0); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	memory := h.memory.reserve(w)
	defer memory.release()
	body, refused := h.body(w, r, memory)
	if refused != nil {
		h.refuse(w, r, refused)
		return
	}
	items, refused := h.items(r, body, memory)
	if refused != nil {
		h.refuse(w, r, refused)
		return
	}
	h.take(w, r, items, key, memory)
}

// items cuts a body into events, for which there is memory and which their source
// may send.
func (h *handler) items(r *http.Request, body []byte, memory *reservation) ([][]byte, *refusal) {
	contentType := r.Header.Get("Content-Type")
	var need int64
	if len(body) > freeBody {
		need = unpackedShare * int64(len(body))
	}
	if memory.has[unpacked] > 0 {
		need += int64(cap(body))
	}
	if most := mostItems(contentType, body); most > freeItems {
		need += itemBytes * int64(most)
	}
	if err := memory.take(r.Context(), work, need); err != nil {
		return nil, readRefusal(err)
	}
	memory.shrink(unpacked, 0)
	items, err := split(contentType, body)
	if err != nil {
		return nil, splitRefusal(err)
	}
	return items, h.paced(r, len(items))
}

// test answers POST /test: a Falco event of the lowest priority, under the rule
// that every output lets pass (FalcoSidekick handlers.go, testHandler).
func (h *handler) test(w http.ResponseWriter, r *http.Request) {
	if refused := h.paced(r, 1); refused != nil {
		h.refuse(w, r, refused)
		return
	}
	h.take(w, r, [][]byte{testEvent(time.Now())}, "", h.memory.reserve(w))
}

func testEvent(now time.Time) []byte {
	return fmt.Appendf(nil, `{"output":"This is a test from sidearmor","priority":"Debug","hostname":"sidearmor","rule":"Test rule",`+
		`"time":%q,"output_fields":{"proc.name":"sidekick","user.name":"sidekick"},"tags":["test","example"]}`,
		now.UTC().Format(time.RFC3339))
}

// take decodes, stores and answers.
func (h *handler) take(w http.ResponseWriter, r *http.Request, items [][]byte, key string, memory *reservation) {
	now := time.Now().UTC()
	verdicts := make([]verdict, len(items))
	events := make([]schema.Packed, 0, len(items))
	at := make([]int, 0, len(items)) // of each event, its index among the items
	var packer schema.Packer
	for i, item := range items {
		e, err := h.pack(item, &packer)
		if err != nil {
			verdicts[i] = rejection(err)
			continue
		}
		e.Received = now
		e.ID = eventID(key, i)
		events, at = append(events, e), append(at, i)
	}
	if len(events) > 0 {
		err := h.store.Publish(r.Context(), events, key != "")
		h.judge(err, events, at, verdicts)
	}
	memory.shrink(bodies, 0)
	memory.await(work)
	h.answer(w, r, verdicts)
}

// eventID makes the ID by which an event of a batch that is sent again is
// recognised; without a key there is nothing to recognise it by.
func eventID(key string, i int) string {
	if key == "" {
		return uuid.NewString()
	}
	id := make([]byte, 0, maxKeyBytes+8)
	return string(strconv.AppendInt(append(append(id, key...), '-'), int64(i), 10))
}

// judge turns the store's answer into verdicts and counts what was accepted.
func (h *handler) judge(err error, events []schema.Packed, at []int, verdicts []verdict) {
	var some interface{ Refused() map[int]error }
	var refused map[int]error
	if errors.As(err, &some) {
		refused = some.Refused()
	}
	for i := range events {
		v := verdict{Status: "accepted"}
		switch {
		case refused[i] != nil:
			v = storeRejection(refused[i])
		case err != nil && refused == nil:
			v = storeRejection(err)
		default:
			h.accepted(&events[i])
		}
		verdicts[at[i]] = v
	}
	// A flood of logs that fills their queue must not hold up the alerts in the
	// same batch: the sender would keep sending all of it again. Where something
	// that is no log was stored, logs that were refused are refused for good.
	if h.onlyLogsRefused(events, at, verdicts) {
		for i := range verdicts {
			verdicts[i].retry = false
		}
	}
}

func (h *handler) onlyLogsRefused(events []schema.Packed, at []int, verdicts []verdict) bool {
	stored := false
	for i := range events {
		isLog, retry := events[i].Kind == schema.KindLog, verdicts[at[i]].retry
		if retry && !isLog {
			return false
		}
		stored = stored || !isLog && verdicts[at[i]].Status == "accepted"
	}
	return stored
}

// minimal is the preference of who needs no verdicts where all are the same (RFC
// 7240, 4.2): they would be half as much to read as the events are to write.
const minimal = "return=minimal"

// prefersMinimal says whether one of the request's preferences is minimal.
func prefersMinimal(header http.Header) bool {
	for _, value := range header.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(preference), minimal) {
				return true
			}
		}
	}
	return false
}

// answer counts and sends the verdicts: one event gets an empty 200, as with
// FalcoSidekick, several get a verdict each.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, verdicts []verdict) {
	s := &summary{Results: verdicts, Rejected: h.tellVerdicts(r, verdicts)}
	s.Accepted = len(verdicts) - s.Rejected
	first, retry := -1, false
	for i, v := range verdicts {
		if v.Status == "accepted" {
			continue
		}
		retry = retry || v.retry
		if first < 0 || v.retry && !verdicts[first].retry {
			first = i
		}
	}
	h.metrics.inputs.WithLabelValues("requests", "accepted").Add(float64(s.Accepted))
	h.metrics.inputs.WithLabelValues("requests", "rejected").Add(float64(s.Rejected))
	h.metrics.fromTracer(r.Header.Get("Sidearmor-Engine"), s.Accepted)

	switch {
	case s.Rejected == 0 && len(verdicts) == 1:
		w.WriteHeader(http.StatusOK)
	case s.Rejected == 0 && prefersMinimal(r.Header):
		w.Header().Set("Preference-Applied", minimal)
		w.WriteHeader(http.StatusOK)
	case s.Accepted > 0 && !retry:
		api.Answer(w, http.StatusOK, s)
	default:
		v := verdicts[first]
		p := problem{Error: v.Error, Item: &first, Field: v.Field, summary: s}
		if len(verdicts) == 1 {
			p.summary = nil
		}
		api.Answer(w, v.httpStatus(), p)
	}
}

func (v verdict) httpStatus() int {
	switch {
	case v.retry:
		return http.StatusServiceUnavailable
	case v.reason == "too_large":
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// refuse answers for a request that has no events.
func (h *handler) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	h.metrics.inputs.WithLabelValues("requests", "rejected").Inc()
	h.tell(r, why.reason, why.problem.Error, 1)
	h.log.Debug("request refused", "status", why.status, "reason", why.problem.Error)
	if why.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(why.after/time.Second)))
	}
	api.Answer(w, why.status, why.problem)
}

func splitRefusal(err error) *refusal {
	var item itemError
	switch {
	case errors.Is(err, errTooManyEvents):
		return refuse(http.StatusRequestEntityTooLarge, "too_large", "body has more than %d events", MaxEvents)
	case errors.As(err, &item):
		r := refuse(http.StatusBadRequest, "malformed", "%v", err)
		r.Item = &item.at
		return r
	}
	return refuse(http.StatusBadRequest, "malformed", "%v", err)
}

func checkKey(key string) *refusal {
	if len(key) > maxKeyBytes {
		return refuse(http.StatusBadRequest, "malformed", "Idempotency-Key has more than %d bytes", maxKeyBytes)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return refuse(http.StatusBadRequest, "malformed", "Idempotency-Key has a character that is not printable ASCII")
		}
	}
	return nil
}
