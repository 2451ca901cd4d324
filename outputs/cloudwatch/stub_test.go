package cloudwatch_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// stub is a CloudWatch Logs endpoint that is as strict as the API's
// documentation. Emulators take more than the service does.
type stub struct {
	t testing.TB

	mu      sync.Mutex
	now     time.Time         // what the service takes for the present
	streams map[string]bool   // "group" and "group\nstream"
	stored  []event           // accepted events, in the order of arrival
	calls   []string          // operations
	fail    map[string]string // operation: error code, for its next call
}

type event struct {
	Message   string
	Timestamp int64
}

type request struct {
	LogGroupName  string
	LogStreamName string
	LogEvents     []event
}

var (
	group  = regexp.MustCompile(`^[.\-_/#A-Za-z0-9]{1,512}$`)
	stream = regexp.MustCompile(`^[^:*]{1,512}$`)
)

func newStub(t testing.TB) *stub {
	return &stub{t: t, now: time.Date(2026, 3, 4, 6, 0, 0, 0, time.UTC), streams: map[string]bool{}, fail: map[string]string{}}
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	body, err := io.ReadAll(r.Body)
	var req request
	if err != nil || json.Unmarshal(body, &req) != nil || !utf8.Valid(body) {
		s.t.Errorf("request is not JSON: %.300q", body)
	}
	_, operation, _ := cutLast(r.Header.Get("X-Amz-Target"), '.')
	s.calls = append(s.calls, operation)
	code := s.fail[operation]
	delete(s.fail, operation)
	answer := map[string]any{}
	switch {
	case code != "":
	case !group.MatchString(req.LogGroupName) || (operation != "CreateLogGroup" && !stream.MatchString(req.LogStreamName)):
		code = "InvalidParameterException"
	case operation == "CreateLogGroup":
		code = s.create(req.LogGroupName)
	case operation == "CreateLogStream" && !s.streams[req.LogGroupName]:
		code = "ResourceNotFoundException"
	case operation == "CreateLogStream":
		code = s.create(req.LogGroupName + "\n" + req.LogStreamName)
	case operation == "PutLogEvents" && !s.streams[req.LogGroupName+"\n"+req.LogStreamName]:
		code = "ResourceNotFoundException"
	case operation == "PutLogEvents":
		code = s.put(req.LogEvents, answer)
	default:
		s.t.Errorf("operation %q", operation)
		code = "UnknownOperationException"
	}
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": code, "message": "because\nsecond line"}
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.t.Log(err)
	}
}

func cutLast(s string, sep byte) (before, after string, found bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == sep {
			return s[:i], s[i+1:], true
		}
	}
	return s, s, false
}

func (s *stub) create(name string) (code string) {
	if s.streams[name] {
		return "ResourceAlreadyExistsException"
	}
	s.streams[name] = true
	return ""
}

func (s *stub) put(events []event, answer map[string]any) (code string) {
	if err := invalid(events); err != "" {
		s.t.Errorf("PutLogEvents: %s", err)
		return "InvalidParameterException"
	}
	tooOld, tooNew := 0, len(events)
	for i, e := range events {
		at := time.UnixMilli(e.Timestamp)
		if at.Before(s.now.AddDate(0, 0, -14)) {
			tooOld = i + 1
		}
		if at.After(s.now.Add(2*time.Hour)) && tooNew == len(events) {
			tooNew = i
		}
	}
	rejected := map[string]any{}
	if tooOld > 0 {
		rejected["tooOldLogEventEndIndex"] = tooOld
	}
	if tooNew < len(events) {
		rejected["tooNewLogEventStartIndex"] = tooNew
	}
	if len(rejected) > 0 {
		answer["rejectedLogEventsInfo"] = rejected
	}
	s.stored = append(s.stored, events[tooOld:tooNew]...)
	return ""
}

// invalid says which rule of PutLogEvents a request breaks.
func invalid(events []event) string {
	if len(events) < 1 || len(events) > 10000 {
		return fmt.Sprintf("%d events", len(events))
	}
	size := 0
	for _, e := range events {
		size += len(e.Message) + 26
		if e.Message == "" || e.Timestamp < 0 {
			return "an event without message or time"
		}
	}
	if size > 1048576 {
		return fmt.Sprintf("%d bytes", size)
	}
	if !slices.IsSortedFunc(events, func(a, b event) int { return int(a.Timestamp - b.Timestamp) }) {
		return "not in chronological order"
	}
	if span := time.Duration(events[len(events)-1].Timestamp-events[0].Timestamp) * time.Millisecond; span > 24*time.Hour {
		return fmt.Sprintf("a span of %v", span)
	}
	return ""
}
