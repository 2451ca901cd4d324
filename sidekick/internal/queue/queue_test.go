package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sidearmor/sidearmor/schema"
)

// childDir, set in the environment, makes the test binary a process that stores
// and reads until it is killed.
const childDir = "SIDEARMOR_QUEUE_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if server := os.Getenv(clusterChild); server != "" {
		fmt.Fprintln(os.Stderr, holdAll(server))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// pauseEvery is how many events a child stores between its pauses.
const pauseEvery = 20

// child stores alerts a0, a1, …, reads them and acknowledges every second, and says
// on stdout what is stored ("s 3"), acknowledged ("k 1"), and that it paused ("p 20").
func child(dir string) error {
	ctx := context.Background()
	q, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	r, err := q.Consumer(ctx, "slack", Alerts)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := q.Publish(ctx, pack(alert(fmt.Sprintf("a-%d", i))), true); err != nil {
			return err
		}
		fmt.Println("s", i)
		e, _, seq, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if i%2 == 0 {
			if err := r.Ack(ctx, seq); err != nil {
				return err
			}
			fmt.Println("k", strings.TrimPrefix(e.ID, "a-"))
		}
		if i%pauseEvery == 0 {
			time.Sleep(time.Second) // until acknowledgements are on the disk
			fmt.Println("p", i)
		}
	}
}

func alert(id string) schema.Event {
	return schema.Event{
		ID: id, Kind: schema.KindAlert, Received: time.Now().UTC(),
		Alert: &schema.Alert{
			Record: schema.Record{Type: schema.TypeMatchedPolicy, Operation: schema.OperationFile, Resource: "/etc/shadow"},
			Action: schema.ActionBlock,
		},
	}
}

func logEvent(id string, bytes int) schema.Event {
	return schema.Event{
		ID: id, Kind: schema.KindLog, Received: time.Now().UTC(),
		Log: &schema.Log{Record: schema.Record{
			Type: schema.TypeContainerLog, Operation: schema.OperationFile, Resource: strings.Repeat("x", bytes),
		}},
	}
}

func alerts(from, to int) []schema.Event {
	var events []schema.Event
	for i := from; i < to; i++ {
		events = append(events, alert(fmt.Sprintf("a-%d", i)))
	}
	return events
}

func pack(events ...schema.Event) []schema.Packed {
	packed := make([]schema.Packed, len(events))
	for i := range events {
		packed[i] = events[i].Pack()
	}
	return packed
}

func open(t *testing.T, opts Options) *Queue {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	q, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close() })
	return q
}

func publish(t *testing.T, q *Queue, events []schema.Event) {
	t.Helper()
	if err := q.Publish(t.Context(), pack(events...), true); err != nil {
		t.Fatal(err)
	}
}

func reader(t *testing.T, q *Queue, output string, s Stream) *Consumer {
	t.Helper()
	r, err := q.Consumer(t.Context(), output, s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// take reads n events and acknowledges them if ack says so.
func take(t *testing.T, r *Consumer, n int, ack bool) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var ids []string
	var seqs []uint64
	for range n {
		e, _, seq, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", ids, err)
		}
		ids, seqs = append(ids, e.ID), append(seqs, seq)
	}
	if ack {
		if err := r.Ack(t.Context(), seqs...); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// none fails if another event is there. An event that is stored is handed out at
// once, so that a marker stored now shows what came before it.
func none(t *testing.T, q *Queue, r *Consumer) {
	t.Helper()
	publish(t, q, []schema.Event{alert("marker")})
	if got := take(t, r, 1, false); got[0] != "marker" {
		t.Errorf("event %q came, want none", got[0])
	}
}

func ids(from, to int) []string {
	var want []string
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprintf("a-%d", i))
	}
	return want
}

func TestOrderAndPositionPerOutput(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 10))
	slack, discord := reader(t, q, "slack", Alerts), reader(t, q, "discord", Alerts)
	if got := take(t, slack, 6, true); !slices.Equal(got, ids(0, 6)) {
		t.Errorf("slack got %v", got)
	}
	if got := take(t, discord, 3, true); !slices.Equal(got, ids(0, 3)) {
		t.Errorf("discord got %v", got)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}

	q = open(t, Options{Dir: dir})
	if got := take(t, reader(t, q, "slack", Alerts), 4, false); !slices.Equal(got, ids(6, 10)) {
		t.Errorf("slack got %v after the restart", got)
	}
	if got := take(t, reader(t, q, "discord", Alerts), 7, false); !slices.Equal(got, ids(3, 10)) {
		t.Errorf("discord got %v after the restart", got)
	}
}

func TestUnacknowledgedComesAgainAtOnce(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 8))
	r := reader(t, q, "slack", Alerts)
	take(t, r, 2, true)
	take(t, r, 5, false)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	publish(t, q, alerts(8, 9))
	if got := take(t, reader(t, q, "slack", Alerts), 7, false); !slices.Equal(got, ids(2, 9)) {
		t.Errorf("got %v", got)
	}
}

func TestRepeatedEventIsStoredOnce(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 5))
	take(t, reader(t, q, "slack", Alerts), 5, true)
	publish(t, q, alerts(0, 6)) // the sender had no answer and goes on
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 7))
	r := reader(t, q, "slack", Alerts)
	if got := take(t, r, 2, true); !slices.Equal(got, ids(5, 7)) {
		t.Errorf("got %v", got)
	}
	none(t, q, r)
}

// A kill loses nothing and leaves the order as it was. What was acknowledged in the
// last moments can come again; what was before does not.
func TestKilled(t *testing.T) {
	for round := range 2 {
		dir := t.TempDir()
		stored, acked, settled := runAndKill(t, dir, pauseEvery+10+round*25)
		q := open(t, Options{Dir: dir})
		r := reader(t, q, "slack", Alerts)
		// A marker, so that there is something to read where all was acknowledged.
		publish(t, q, []schema.Event{alert("marker")})
		var left []int
		for {
			id := take(t, r, 1, true)[0]
			if id == "marker" {
				break
			}
			n, err := strconv.Atoi(strings.TrimPrefix(id, "a-"))
			if err != nil {
				t.Fatal(err)
			}
			left = append(left, n)
		}
		if !slices.IsSorted(left) || len(slices.Compact(slices.Clone(left))) != len(left) {
			t.Errorf("out of order: %v", left)
		}
		for i := range stored + 1 {
			again := slices.Contains(left, i)
			if !again && (i%2 == 1 || i > acked+2) {
				t.Errorf("stored up to a%d, acknowledged up to a%d: a%d is lost", stored, acked, i)
			}
			if again && i%2 == 0 && i <= settled {
				t.Errorf("a%d comes again, a%d was acknowledged a second before", i, settled)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// runAndKill kills a child once it has stored n events and returns the last events
// that it said were stored, acknowledged, and acknowledged before its last pause.
func runAndKill(t *testing.T, dir string, n int) (stored, acked, settled int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stored, acked, settled = -1, -1, -1
	said := map[string]*int{"s": &stored, "k": &acked, "p": &settled}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		what, number, _ := strings.Cut(lines.Text(), " ")
		i, err := strconv.Atoi(number)
		if err != nil || said[what] == nil {
			t.Fatalf("child says %q", lines.Text())
		}
		*said[what] = i
		if stored == n {
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			n = -1
		}
	}
	if err := cmd.Wait(); err == nil || n != -1 {
		t.Fatalf("child ended by itself: %v", err)
	}
	return stored, acked, settled
}

func TestTwoOnOneDirectory(t *testing.T) {
	dir := t.TempDir()
	open(t, Options{Dir: dir})
	_, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), dir+" is in use by another sidekick") {
		t.Errorf("error %v", err)
	}
}

func TestBadDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// Root may write into a read-only directory; the kernel's own it may not.
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/self/sidearmor"} {
		q, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			_ = q.Close()
			t.Errorf("%s: no error", dir)
		} else if !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %q does not name it", dir, err)
		}
	}
}

func TestFullLogsDoNotTouchAlerts(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), LogBytes: 8 << 20})
	reader(t, q, "slack", Logs) // and nobody reads
	var refused error
	stored := 0
	for i := 0; refused == nil && i < 100; i++ {
		if refused = q.Publish(t.Context(), pack(logEvent(fmt.Sprint("l", i), 200<<10)), false); refused == nil {
			stored++
		}
	}
	var p *PublishError
	if !errors.As(refused, &p) || !errors.Is(refused, ErrFull) || !errors.Is(p.Refused()[0], ErrFull) {
		t.Fatalf("after %d logs: %v", stored, refused)
	}
	if stored < 30 {
		t.Errorf("full after %d logs of 200 KiB", stored)
	}
	if err := q.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "LOGS is full") {
		t.Errorf("ready: %v", err)
	}
	mixed := []schema.Event{logEvent("l", 300<<10), alert("a-0")}
	if err := q.Publish(t.Context(), pack(mixed...), false); !errors.As(err, &p) || len(p.Failed) != 1 || p.Failed[0] == nil {
		t.Errorf("mixed: %v", err)
	}
	if got := take(t, reader(t, q, "slack", Alerts), 1, true); got[0] != "a-0" {
		t.Errorf("got %v", got)
	}
}

func TestTooLarge(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	err := q.Publish(t.Context(), pack(alert("a-0"), logEvent("big", MaxMessageBytes)), false)
	var p *PublishError
	var large *TooLargeError
	if !errors.As(err, &p) || len(p.Failed) != 1 || !errors.As(p.Failed[1], &large) || !large.Permanent() {
		t.Errorf("error %v", err)
	}
}

// Events that are larger than what a reader holds ahead, one after another.
func TestLargeEventsPassReader(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "webhook", Logs)
	for i := range 6 {
		publish(t, q, []schema.Event{logEvent(fmt.Sprint("l", i), MaxMessageBytes-2048-i*300000)})
	}
	for i := range 6 {
		if got := take(t, r, 1, i%2 == 0); got[0] != fmt.Sprint("l", i) {
			t.Errorf("got %v at %d", got, i)
		}
	}
}

func TestManyEventsInOrder(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	publish(t, q, alerts(0, 3*chunk+7))
	if got := take(t, reader(t, q, "slack", Alerts), 3*chunk+7, true); !slices.Equal(got, ids(0, 3*chunk+7)) {
		t.Error("events are missing or out of order")
	}
}

func TestUndecodableIsSetAside(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	if _, err := q.js.Publish(t.Context(), "alerts", []byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	publish(t, q, alerts(0, 1))
	if got := take(t, reader(t, q, "slack", Alerts), 1, true); got[0] != "a-0" {
		t.Errorf("got %v", got)
	}
	if msgs := state(t, q, deadLetters).Msgs; msgs != 1 {
		t.Errorf("%d dead letters", msgs)
	}
}

func TestDeadLetterIsKeptOnce(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	for range 2 {
		if err := q.DeadLetter(t.Context(), "slack", "no_service", time.Now(), alert("a-1")); err != nil {
			t.Fatal(err)
		}
	}
	if msgs := state(t, q, deadLetters).Msgs; msgs != 1 {
		t.Errorf("%d dead letters", msgs)
	}
	s, err := q.js.Stream(t.Context(), deadLetters)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.GetLastMsgForSubject(t.Context(), "deadletters.slack")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"output":"slack"`, `"reason":"no_service"`, `a-1`} {
		if !strings.Contains(string(m.Data), want) {
			t.Errorf("%s is not in %s", want, m.Data)
		}
	}
}

func TestForgottenOutput(t *testing.T) {
	dir := t.TempDir()
	q := open(t, Options{Dir: dir})
	publish(t, q, alerts(0, 3))
	discord := reader(t, q, "discord", Alerts)
	take(t, reader(t, q, "slack", Alerts), 2, true)
	take(t, discord, 1, true)
	if err := q.Keep(t.Context(), Alerts, []string{"discord"}); err != nil {
		t.Fatal(err)
	}
	if got := take(t, discord, 2, true); !slices.Equal(got, ids(1, 3)) {
		t.Errorf("discord got %v", got)
	}
	// Configured again, it gets what some other output has yet to get.
	for _, c := range []struct {
		output string
		keep   []string
	}{{"slack", []string{"slack", "discord"}}, {"webhook", nil}, {"teams", []string{"teams"}}} {
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
		q = open(t, Options{Dir: dir})
		r := reader(t, q, c.output, Alerts)
		publish(t, q, []schema.Event{alert("new-" + c.output)})
		want := []string{"new-slack", "new-webhook", "new-teams"}
		if got := take(t, r, 1, true); !slices.Contains(want, got[0]) {
			t.Errorf("%s got %v, which is history", c.output, got)
		}
		if err := q.Keep(t.Context(), Alerts, c.keep); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOutputNames(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	for _, name := range []string{"", "a.b", "*", "a b"} {
		if _, err := q.Consumer(t.Context(), name, Alerts); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

func TestReaderEnds(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := r.Next(t.Context()); err == nil {
		t.Error("a closed queue still gives events")
	}
	if err := q.Publish(t.Context(), pack(alerts(0, 1)...), false); err == nil {
		t.Error("a closed queue still takes events")
	}
}

// The server gives its store up over a failed write, such as one to a full disk.
func TestStoreComesBack(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	r := reader(t, q, "slack", Alerts)
	publish(t, q, alerts(0, 3))
	take(t, r, 2, true)
	if err := q.srv.ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	if err := q.Publish(t.Context(), pack(alerts(3, 4)...), true); err == nil {
		t.Error("events are taken without a store")
	}
	if err := q.Ready(t.Context()); err == nil {
		t.Error("it is ready without a store")
	}
	q.revive()
	publish(t, q, alerts(3, 5))
	if got := take(t, r, 3, true); !slices.Equal(got, ids(2, 5)) {
		t.Errorf("got %v", got)
	}
}

func TestFullDisk(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	q.free = func(string) (uint64, error) { return lowDisk - 1, nil }
	q.checkDisk()
	if err := q.Publish(t.Context(), pack(alerts(0, 1)...), true); !errors.Is(err, ErrFull) {
		t.Errorf("error %v", err)
	}
	if err := q.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "disk is nearly full") {
		t.Errorf("ready: %v", err)
	}
	q.free = freeOn
	q.checkDisk()
	publish(t, q, alerts(0, 1))
}

func TestCollector(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir(), AlertBytes: 10 << 20, LogBytes: 5 << 20})
	publish(t, q, alerts(0, 4))
	take(t, reader(t, q, "slack", Alerts), 1, true)
	scrape(
		t, q,
		`sidearmor_queue_events{stream="ALERTS"} 4`,
		`sidearmor_queue_events{stream="DEADLETTERS"} 0`,
		`sidearmor_queue_events{stream="LOGS"} 0`,
		`sidearmor_queue_refused_events_total{stream="ALERTS"} 0`,
		`sidearmor_queue_limit_bytes{stream="LOGS"} 5.24288e+06`,
		`sidearmor_queue_pending_events{destination="slack",stream="ALERTS"} `,
		`sidearmor_queue_oldest_seconds{destination="slack",stream="ALERTS"} `,
		`sidearmor_dead_letters_held 0`,
		`sidearmor_dead_letters_lost_total 0`,
		`sidearmor_queue_available 1`,
	)
}

// A store that has shut itself down over a failed write leaves what is known.
func TestCollectorWithoutStore(t *testing.T) {
	q := open(t, Options{Dir: t.TempDir()})
	reader(t, q, "slack", Alerts)
	if err := q.srv.DisableJetStream(); err != nil {
		t.Fatal(err)
	}
	scrape(t, q, `sidearmor_queue_available 0`, `sidearmor_queue_refused_events_total{stream="LOGS"} 0`)
}

// scrape wants what it names on a page of metrics.
func scrape(t *testing.T, q *Queue, wants ...string) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(q.Collector())
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
	for _, want := range wants {
		if !strings.Contains(w.Body.String(), want+"\n") && !(strings.HasSuffix(want, " ") && strings.Contains(w.Body.String(), want)) {
			t.Errorf("%s is missing in\n%s", want, w.Body)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	state, xdg := t.TempDir(), t.TempDir()
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"systemd", map[string]string{"STATE_DIRECTORY": state, "XDG_STATE_HOME": xdg}, state},
		{"systemd with several", map[string]string{"STATE_DIRECTORY": state + ":/x"}, state},
		{"xdg", map[string]string{"XDG_STATE_HOME": xdg}, filepath.Join(xdg, "sidearmor")},
		{"not writable", map[string]string{"STATE_DIRECTORY": "/proc/self/x", "XDG_STATE_HOME": xdg}, filepath.Join(xdg, "sidearmor")},
	} {
		dir, lasting, err := DefaultDir(func(k string) string { return c.env[k] })
		if err != nil || dir != c.want || !lasting {
			t.Errorf("%s: %q, %v, %v", c.name, dir, lasting, err)
		}
	}
}

func TestPrivateDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := private(dir); err != nil {
		t.Errorf("a new directory: %v", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := private(dir); err == nil {
		t.Error("a directory that everybody may write to was taken")
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if err := private(link); err == nil {
		t.Error("a symbolic link was taken")
	}
}

func TestServerLogIsOurs(t *testing.T) {
	l := &serverLog{log: slog.New(slog.DiscardHandler)}
	l.Fatalf("first %d", 1)
	l.Fatalf("second")
	if err := l.fatal(); err.Error() != "first 1" {
		t.Errorf("fatal is %q", err)
	}
}
