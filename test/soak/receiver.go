package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// receiver is the other end of one output of the sidekick.
type receiver struct {
	name    string
	address string
	env     func(address string) []string
	read    func(body []byte) ([]id, error)
	answer  func(w http.ResponseWriter, taken, all int)
	partial bool // whether the service can take a part of a batch
	batch   int  // the most events in one request
	ledger  *ledger
	faults  *faults

	mu     sync.Mutex
	cond   *sync.Cond
	server *http.Server
	conns  map[net.Conn]bool // open connections
	gone   bool              // closed for good
	broken error             // the first request that was not understood
}

// startReceivers makes a webhook for everything, a webhook for alerts alone, and a
// bulk API for everything.
func startReceivers(posters []*poster, o options) ([]*receiver, error) {
	all := []*receiver{
		{
			name: "webhook", read: readEvent, answer: plain, batch: 1, ledger: newLedger(posters),
			env: func(address string) []string { return []string{"WEBHOOK_ADDRESS=http://" + address} },
		},
		{
			name: "webhook-alerts", read: readEvent, answer: plain, batch: 1, ledger: newLedger(posters[:alertPosters]),
			env: func(address string) []string {
				return []string{"WEBHOOK_2_ADDRESS=http://" + address, "WEBHOOK_2_NAME=alerts", "WEBHOOK_2_LOGS=false"}
			},
		},
		{
			name: "elasticsearch", read: readBulk, answer: bulk, partial: true, batch: 1000, ledger: newLedger(posters),
			env: func(address string) []string { return []string{"ELASTICSEARCH_HOSTPORT=http://" + address} },
		},
	}
	for n, r := range all {
		r.cond, r.conns = sync.NewCond(&r.mu), map[net.Conn]bool{}
		r.faults = newFaults(o, uint64(200+n), r.partial)
		if err := r.listen("127.0.0.1:0"); err != nil {
			closeAll(all[:n])
			return nil, err
		}
	}
	return all, nil
}

func closeAll(receivers []*receiver) {
	for _, r := range receivers {
		r.faults.stop()
		r.mu.Lock()
		r.gone = true
		r.mu.Unlock()
		r.close()
	}
}

func (r *receiver) settings() []string { return r.env(r.address) }

func (r *receiver) listen(address string) error {
	l, err := net.Listen("tcp", address) //nolint:noctx // closed by close
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: r, ReadHeaderTimeout: time.Minute, ConnState: r.connState,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // aborted handlers
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return l.Close()
	}
	if r.server = server; r.address == "" { // else it is the same: others read it without a lock
		r.address = l.Addr().String()
	}
	go func() { _ = server.Serve(l) }() // ends by close
	return nil
}

func (r *receiver) close() {
	r.mu.Lock()
	server := r.server
	r.server = nil
	r.mu.Unlock()
	if server != nil {
		_ = server.Close()
	}
}

// refuse lets nobody connect for a while.
func (r *receiver) refuse(d time.Duration) {
	r.close()
	time.AfterFunc(d, func() {
		for r.listen(r.address) != nil {
			time.Sleep(50 * time.Millisecond) // some other program has the port
		}
	})
}

func (r *receiver) connState(c net.Conn, s http.ConnState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch s {
	case http.StateNew:
		r.conns[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(r.conns, c)
	case http.StateActive, http.StateIdle:
	}
	r.cond.Broadcast()
}

// settle waits until every connection of a sidekick that is gone is at its end.
func (r *receiver) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.conns) > 0 {
		r.cond.Wait()
	}
}

// ServeHTTP implements http.Handler. An event counts as received when the answer
// says so; what fails is not counted, so that it may come again.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // killed within the request
	}
	ids, err := r.read(body)
	if err != nil {
		r.fail(err)
		return
	}
	fault, ends := r.faults.next()
	switch fault {
	case none:
	case partly:
		begin := ids[:ends%len(ids)]
		r.take(begin)
		r.answer(w, len(begin), len(ids))
		return
	case refuse:
		r.refuse(time.Duration(ends%3000) * time.Millisecond)
		panic(http.ErrAbortHandler)
	default:
		fault.answer(w, req, ends)
		return
	}
	r.take(ids)
	r.answer(w, len(ids), len(ids))
}

func (r *receiver) take(ids []id) {
	if err := r.ledger.take(ids); err != nil {
		r.fail(err)
	}
}

func (r *receiver) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		r.broken = err
	}
}

func (r *receiver) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// event is the part of KubeArmor's that tells it.
type event struct{ Resource string }

func readEvent(body []byte) ([]id, error) {
	var e event
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	i, err := parseID(e.Resource)
	return []id{i}, err
}

func plain(w http.ResponseWriter, _, _ int) { w.WriteHeader(http.StatusOK) }

// readBulk reads the bulk API's pairs of lines.
func readBulk(body []byte) ([]id, error) {
	lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	if len(lines) == 0 || len(lines)%2 != 0 {
		return nil, errors.New("read bulk request: no pairs of lines")
	}
	var ids []id
	for i := 1; i < len(lines); i += 2 {
		one, err := readEvent(lines[i])
		if err != nil {
			return nil, err
		}
		ids = append(ids, one...)
	}
	return ids, nil
}

func bulk(w http.ResponseWriter, taken, all int) {
	_, _ = io.WriteString(w, `{"errors":`+fmt.Sprint(taken < all)+`,"items":[`)
	items := make([]string, all)
	for i := range items {
		items[i] = `{"create":{"status":201}}`
		if i >= taken {
			items[i] = `{"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}}`
		}
	}
	_, _ = io.WriteString(w, strings.Join(items, ",")+"]}")
}
