package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sidearmor/sidearmor/schema"
)

// TestCluster uses nats-server processes: one cluster of three for most tests.
func TestCluster(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "nats-server")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/nats-io/nats-server/v2").CombinedOutput()
	if err != nil {
		t.Fatalf("build nats-server: %v\n%s", err, out)
	}
	t.Run("refused", func(t *testing.T) { testRefused(t, binary) })
	t.Run("TLS", func(t *testing.T) { testTLS(t, binary) })
	t.Run("credentials", func(t *testing.T) { testCredentials(t, binary) })
	nodes := startCluster(t, binary)
	t.Run("shared", func(t *testing.T) { testShared(t, nodes) })
	t.Run("held", func(t *testing.T) { testHeld(t, nodes) })
	t.Run("member killed", func(t *testing.T) { testMemberKilled(t, nodes) })
	t.Run("space", func(t *testing.T) { testSpace(t, nodes) })
	t.Run("settings differ", func(t *testing.T) { testSettingsDiffer(t, nodes) })
	t.Run("recreated", func(t *testing.T) { testRecreated(t, nodes) })
	t.Run("node killed", func(t *testing.T) { testNodeKilled(t, nodes) })
	t.Run("cluster gone", func(t *testing.T) { testClusterGone(t, nodes) })
}

// node is one nats-server process.
type node struct {
	binary, config, address string
	cmd                     *exec.Cmd
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startNode runs a server with this configuration beyond its port and store.
func startNode(t *testing.T, binary, config string) *node {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	n := &node{binary: binary, config: filepath.Join(dir, "conf"), address: fmt.Sprintf("127.0.0.1:%d", port)}
	text := fmt.Sprintf("listen: %q\nlog_file: %q\n", n.address, filepath.Join(dir, "log")) + strings.ReplaceAll(config, "STORE", filepath.Join(dir, "store"))
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	t.Cleanup(func() {
		n.kill()
		if text, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("log of %s:\n%s", n.address, text[max(0, len(text)-4000):])
		}
	})
	return n
}

func (n *node) start(t *testing.T) {
	t.Helper()
	n.cmd = exec.Command(n.binary, "-c", n.config)
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

func startCluster(t *testing.T, binary string) []*node {
	t.Helper()
	var ports []int
	var routes []string
	for range 3 {
		ports = append(ports, freePort(t))
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", ports[len(ports)-1]))
	}
	var nodes []*node
	for i, port := range ports {
		nodes = append(nodes, startNode(t, binary, fmt.Sprintf("server_name: n%d\nmax_payload: 3MB\njetstream { store_dir: STORE }\n"+
			"cluster { name: test, listen: \"127.0.0.1:%d\", routes: [%s] }\n", i, port, strings.Join(routes, ", "))))
	}
	return nodes
}

// at gives a cluster by its nodes, the one with this index first.
func at(nodes []*node, first int, name string) *Cluster {
	c := &Cluster{Replicas: min(len(nodes), 3), Name: name, ackWait: 8 * time.Second}
	for i := range nodes {
		c.Servers = append(c.Servers, "nats://"+nodes[(first+i)%len(nodes)].address)
	}
	return c
}

func member(t *testing.T, q *Queue, output string) *Consumer {
	t.Helper()
	s, err := q.Consumer(t.Context(), output, Alerts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tally counts what was delivered, by event and by member.
type tally struct {
	mu     sync.Mutex
	events map[string]int
	by     map[int]int
	all    chan struct{} // closed when want different events were counted
	want   int
	// With members, each waits after its first event until so many have had one: one
	// that begins late still finds something.
	members int
	met     chan struct{}
}

func newTally(want int) *tally {
	return &tally{events: map[string]int{}, by: map[int]int{}, all: make(chan struct{}), want: want, met: make(chan struct{})}
}

func (c *tally) add(member int, id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events[id]++
	c.by[member]++
	if len(c.events) == c.want && c.events[id] == 1 {
		close(c.all)
	}
	if len(c.by) == c.members && c.by[member] == 1 {
		close(c.met)
	}
}

// meet waits for the other members.
func (c *tally) meet(ctx context.Context) {
	if c.members == 0 {
		return
	}
	select {
	case <-c.met:
	case <-ctx.Done():
	}
}

func (c *tally) duplicates() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.events {
		n += times - 1
	}
	return n
}

func (c *tally) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.all:
	case <-time.After(90 * time.Second):
		c.mu.Lock()
		defer c.mu.Unlock()
		t.Fatalf("%d of %d events were delivered", len(c.events), c.want)
	}
}

// deliver reads and acknowledges by tens until the test ends.
func deliver(ctx context.Context, wg *sync.WaitGroup, index int, m *Consumer, c *tally) {
	wg.Go(func() {
		var seqs []uint64
		for {
			e, _, seq, err := m.Next(ctx)
			if err != nil {
				return
			}
			c.add(index, e.ID)
			c.meet(ctx)
			if seqs = append(seqs, seq); len(seqs) == 10 || len(m.buffer) == 0 {
				_ = m.Ack(ctx, seqs...) // an error is made up for
				seqs = seqs[:0]
			}
		}
	})
}

// post publishes as a sender does: what was not taken is sent again.
func post(ctx context.Context, q *Queue, sender, batches, size int) (again int, err error) {
	for b := range batches {
		var events []schema.Event
		for i := range size {
			events = append(events, alert(fmt.Sprintf("s%d.%d-%d", sender, b, i)))
		}
		for q.Publish(ctx, pack(events...), true) != nil {
			if ctx.Err() != nil {
				return again, ctx.Err()
			}
			again++
		}
	}
	return again, nil
}

func pending(t *testing.T, m *Consumer) int {
	t.Helper()
	n, err := m.Pending(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Three sidekicks publish and deliver: in the calm each event goes to one of them.
func testShared(t *testing.T, nodes []*node) {
	const batches, size = 40, 25
	c := newTally(3 * batches * size)
	c.members = 3
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var queues []*Queue
	var last *Consumer
	for i := range 3 {
		q := open(t, Options{Cluster: at(nodes, i, "shared")})
		last = member(t, q, "slack")
		queues = append(queues, q)
		deliver(ctx, &wg, i, last, c)
	}
	for i, q := range queues {
		wg.Go(func() {
			if _, err := post(ctx, q, i, batches, size); err != nil {
				t.Error(err)
			}
		})
	}
	c.wait(t)
	if n := c.duplicates(); n > 0 || len(c.by) != 3 {
		t.Errorf("%d events came twice; by member: %v", n, c.by)
	}
	t.Logf("by member: %v", c.by)
	// A batch that comes again to another member is known to the cluster.
	if _, err := post(ctx, queues[1], 0, 3, size); err != nil {
		t.Error(err)
	}
	if s := state(t, queues[0], string(Alerts)); s.LastSeq != uint64(c.want) {
		t.Errorf("%d events are stored, want %d", s.LastSeq, c.want)
	}
	for pending(t, last) != 0 {
		time.Sleep(time.Millisecond)
	}
	if n := waiting(t, queues[0], "slack"); n > 3 {
		t.Errorf("three members have %d requests under way", n)
	}
	if err := queues[0].Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// What a member holds stays with it while it lives, and is given on when it leaves.
func testHeld(t *testing.T, nodes []*node) {
	cluster := at(nodes, 0, "held")
	cluster.ackWait = time.Second
	first, second := open(t, Options{Cluster: cluster}), open(t, Options{Cluster: cluster})
	publish(t, first, alerts(0, 10))
	a := member(t, first, "slack")
	var seqs []uint64
	for range 10 {
		_, _, seq, err := a.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, seq)
	}
	b := member(t, second, "slack")
	patient, cancel := context.WithTimeout(t.Context(), 3*cluster.ackWait)
	defer cancel()
	if e, _, _, err := b.Next(patient); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("another member got %s (%v)", e.ID, err)
	}
	// In any order, and confirmed: the cluster knows when Ack returns.
	if err := a.Ack(t.Context(), seqs[7], seqs[2], seqs[9], seqs[2]); err != nil {
		t.Fatal(err)
	}
	if n := pending(t, b); n != 7 {
		t.Errorf("%d are pending, want 7", n)
	}
	if e, _, err := a.Event(t.Context(), seqs[4]); err != nil || e.ID != "a-4" {
		t.Errorf("once more: %s, %v", e.ID, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 7 {
		e, _, seq, err := b.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.ID)
		if err := b.Ack(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(got)
	if strings.Join(got, " ") != "a-0 a-1 a-3 a-4 a-5 a-6 a-8" || pending(t, b) != 0 {
		t.Errorf("got %v", got)
	}
	if _, _, _, err := a.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a member that left: %v", err)
	}
}

// clusterChild, set in the environment to a server, makes the test binary a member
// that reads and does not acknowledge, and says so on stdout.
const clusterChild = "SIDEARMOR_GROUP_CHILD"

func holdAll(server string) error {
	ctx := context.Background()
	q, err := Open(ctx, Options{
		Log:     slog.New(slog.DiscardHandler),
		Cluster: &Cluster{Servers: []string{server}, Replicas: 3, Name: "killed", ackWait: 2 * time.Second},
	})
	if err != nil {
		return err
	}
	s, err := q.Consumer(ctx, "slack", Alerts)
	if err != nil {
		return err
	}
	for {
		e, _, _, err := s.Next(ctx)
		if err != nil {
			return err
		}
		fmt.Println(e.ID)
	}
}

// What a member held that was killed goes to another.
func testMemberKilled(t *testing.T, nodes []*node) {
	cluster := at(nodes, 1, "killed")
	cluster.ackWait = 2 * time.Second
	q := open(t, Options{Cluster: cluster})
	publish(t, q, alerts(0, 100))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clusterChild+"=nats://"+nodes[0].address)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var id string
	for range 30 {
		if _, err := fmt.Fscanln(out, &id); err != nil {
			t.Error(err)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	m := member(t, q, "slack")
	c := newTally(100)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	deliver(ctx, &wg, 0, m, c)
	c.wait(t)
	cancel()
	wg.Wait()
	if n := c.duplicates(); n != 0 {
		t.Errorf("%d came twice to the member that is left", n)
	}
}

// A full stream refuses; what every output has is freed by any member, and what
// one has yet to get by none.
func testSpace(t *testing.T, nodes []*node) {
	opts := Options{Cluster: at(nodes, 0, "space"), AlertBytes: 4 << 20, LogBytes: 8 << 20}
	q, publisher := open(t, opts), open(t, opts)
	m := member(t, q, "slack")
	big := func(id string) schema.Event {
		e := alert(id)
		e.Alert.Message = strings.Repeat("x", 1<<20)
		return e
	}
	var stored int
	for errs := error(nil); errs == nil; stored++ {
		if stored > 10 {
			t.Fatal("nothing is refused")
		}
		if errs = publisher.Publish(t.Context(), pack(big(fmt.Sprintf("big-%d", stored))), true); errs != nil && !errors.Is(errs, ErrFull) {
			t.Fatal(errs)
		}
	}
	stored-- // the last was refused
	if err := q.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "ALERTS is full") {
		t.Errorf("ready: %v", err)
	}
	trim := &trimmer{q: publisher, stream: Alerts}
	tidy := func() uint64 {
		t.Helper()
		for range 3 {
			if err := trim.trim(t.Context(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		return state(t, q, string(Alerts)).Msgs
	}
	if n := tidy(); n != uint64(stored) {
		t.Errorf("%d of %d events are left before they are delivered", n, stored)
	}
	for range stored {
		_, _, seq, err := m.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Ack(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	if n := tidy(); n > 1 {
		t.Errorf("%d events are left that were delivered", n)
	}
	if err := publisher.Keep(t.Context(), Alerts, nil); err != nil {
		t.Fatal(err)
	}
	if pending(t, m) != 0 {
		t.Error("the output of another member was forgotten")
	}
	publish(t, publisher, []schema.Event{big("again-0")})
	if err := q.DeadLetter(t.Context(), "slack", "no", time.Now(), big("again-0")); err != nil {
		t.Error(err)
	}
	if s := state(t, publisher, deadLetters); s.Msgs != 1 {
		t.Errorf("%d dead letters", s.Msgs)
	}
}

// The first member's streams stay as they are, and others say that theirs would
// differ.
func testSettingsDiffer(t *testing.T, nodes []*node) {
	open(t, Options{Cluster: at(nodes, 0, "differ"), Bytes: 30 << 20})
	var text strings.Builder
	cluster := at(nodes, 0, "differ")
	cluster.Replicas = 1
	q := open(t, Options{Cluster: cluster, Bytes: 60 << 20, Log: slog.New(slog.NewTextHandler(&text, nil))})
	if q.limits[Alerts] != 20<<20 || q.limits[Logs] != 10<<20 {
		t.Errorf("limits are %v", q.limits)
	}
	if !strings.Contains(text.String(), "stream=differ-ALERTS bytes=20971520 bytes_here=41943040 replicas=3 replicas_here=1") {
		t.Errorf("log: %s", &text)
	}
	js := q.js.(scoped).JetStream
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "other-ALERTS", Subjects: []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Cluster: at(nodes, 0, "other"), Log: slog.New(slog.DiscardHandler)}); !errors.Is(err, errMismatch) {
		t.Errorf("a stream of somebody else: %v", err)
	}
}

// A stream that somebody deletes and makes anew starts its numbers again.
func testRecreated(t *testing.T, nodes []*node) {
	q := open(t, Options{Cluster: at(nodes, 0, "anew")})
	m := member(t, q, "slack")
	publish(t, q, alerts(0, 2))
	_, _, old, err := m.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.js.(scoped).DeleteStream(t.Context(), "anew-ALERTS"); err != nil {
		t.Fatal(err)
	}
	if err := q.joinStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, q, alerts(10, 12))
	for _, want := range []string{"a-10", "a-11"} {
		var id string
		for id != want {
			e, _, _, err := m.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			id = e.ID
		}
	}
	if err := m.Ack(t.Context(), old); err != nil {
		t.Error(err)
	}
	if n := pending(t, m); n != 2 {
		t.Errorf("%d are pending, want 2: the number of an old event counted for a new one", n)
	}
}

// A node that is killed under load costs no event.
func testNodeKilled(t *testing.T, nodes []*node) {
	const batches, size = 80, 20
	c := newTally(3 * batches * size)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var queues []*Queue
	for i := range 3 {
		q := open(t, Options{Cluster: at(nodes, i, "load")})
		queues = append(queues, q)
		deliver(ctx, &wg, i, member(t, q, "slack"), c)
	}
	leader := nodes[leaderOf(t, queues[0])]
	var again [3]int
	var posted sync.WaitGroup
	half, killed := make(chan struct{}), make(chan struct{})
	for i, q := range queues {
		posted.Go(func() {
			for part := range 2 {
				n, err := post(ctx, q, 10*i+part, batches/2, size)
				if err != nil {
					t.Error(err)
				}
				again[i] += n
				if part == 0 && i == 0 {
					close(half)
				}
				if part == 0 && i == 1 {
					<-killed // so that some come while a leader is chosen
				}
			}
		})
	}
	<-half
	leader.kill()
	close(killed)
	posted.Wait()
	leader.start(t)
	c.wait(t)
	n := c.duplicates()
	t.Logf("%d duplicates of %d, by member %v, batches sent again %v", n, c.want, c.by, again)
	if most := 3 * (clusterPull + 10); n > most {
		t.Errorf("%d events came twice, at most %d were held", n, most)
	}
	if s := state(t, queues[0], string(Alerts)); s.LastSeq != uint64(c.want) {
		t.Errorf("%d events are stored, want %d: some were stored twice", s.LastSeq, c.want)
	}
}

func leaderOf(t *testing.T, q *Queue) int {
	t.Helper()
	s, err := q.js.Stream(t.Context(), string(Alerts))
	if err != nil {
		t.Fatal(err)
	}
	var i int
	if _, err := fmt.Sscanf(s.CachedInfo().Cluster.Leader, "n%d", &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// Without its cluster a sidekick says so, refuses, and goes on when it is back.
func testClusterGone(t *testing.T, nodes []*node) {
	cluster := at(nodes, 0, "gone")
	cluster.tryFor = time.Second
	q := open(t, Options{Cluster: cluster})
	m := member(t, q, "slack")
	for _, n := range nodes {
		n.kill()
	}
	events := alerts(0, 600)
	err := q.Publish(t.Context(), pack(events...), true)
	var failed *PublishError
	if !errors.As(err, &failed) || len(failed.Failed) != len(events) {
		t.Errorf("publish: %v", err)
	}
	for i, err := range failed.Failed {
		if _, ok := errors.AsType[*TooLargeError](err); ok {
			t.Errorf("event %d is refused for good: %v", i, err)
		}
	}
	for q.Ready(t.Context()) == nil {
		time.Sleep(time.Millisecond)
	}
	scrape(t, q, `sidearmor_queue_available 0`, `sidearmor_queue_undecodable_events_total{destination="slack",stream="ALERTS"} 0`)
	for _, n := range nodes {
		n.start(t)
	}
	for q.Publish(t.Context(), pack(events...), true) != nil {
		if t.Context().Err() != nil {
			t.Fatal("publishing does not work again")
		}
	}
	c := newTally(len(events))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	deliver(ctx, &wg, 0, m, c)
	c.wait(t)
	cancel()
	wg.Wait()
	for id := range maps.Keys(c.events) {
		if !strings.HasPrefix(id, "a-") {
			t.Errorf("got %s", id)
		}
	}
}
