package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// numbers are what /metrics says, by name and labels as they stand there.
type numbers map[string]int

// tally is what became of the events of one output since the start.
type tally struct {
	delivered, letters, lost, pending int
	failed                            int // attempts, by their events
}

// sum is of how many events something is known.
func (t tally) sum() int { return t.delivered + t.letters + t.lost + t.pending }

func (m numbers) get(name string) int { return m[name] }

func (m numbers) of(output string) tally {
	t := tally{
		delivered: m[fmt.Sprintf(`falcosecurity_falcosidekick_outputs_total{destination=%q,status="ok"}`, output)],
		failed:    m[fmt.Sprintf(`falcosecurity_falcosidekick_outputs_total{destination=%q,status="error"}`, output)],
		pending:   m[fmt.Sprintf(`sidearmor_queue_pending_events{destination=%q,stream="ALERTS"}`, output)],
	}
	for name, n := range m {
		switch {
		case strings.HasPrefix(name, fmt.Sprintf(`sidearmor_dead_letters_total{destination=%q,`, output)):
			t.letters += n
		case strings.HasPrefix(name, fmt.Sprintf(`sidearmor_lost_events_total{destination=%q,`, output)):
			t.lost += n
		}
	}
	return t
}

func (d *drill) get(path string) []byte {
	d.Helper()
	resp, err := http.Get(d.s.url() + path)
	if err != nil {
		d.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		d.Fatalf("/%s: %s %v\n%s", path, resp.Status, err, body)
	}
	return body
}

func (d *drill) metrics() numbers {
	d.Helper()
	m := numbers{}
	for line := range strings.Lines(string(d.get("metrics"))) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if text != "" {
			name += "}"
		} else {
			name, text, _ = strings.Cut(name, " ")
		}
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			m[name] = int(n)
		}
	}
	return m
}

// settled waits until the two outputs that keep up have all, the numbers of each
// output make the wanted sum, and nothing changes any more. Without a sum any will do.
func (d *drill) settled(want map[string]int) (m numbers) {
	d.Helper()
	var before map[string]tally
	eventually(d.T, func() (bool, string) {
		m = d.metrics()
		now, good := map[string]tally{}, true
		for _, name := range all {
			of := m.of(name)
			sum, known := want[name]
			good = good && (!known || of.sum() == sum) && (of.pending == 0 || name == dead || name == slow)
			of.failed = 0 // attempts go on
			now[name] = of
		}
		good = good && maps.Equal(now, before)
		before = now
		time.Sleep(200 * time.Millisecond)
		return good, fmt.Sprintf("the numbers of the outputs are %+v, their sums should be %v", now, want)
	})
	return m
}

// checkReadyz compares what /readyz says of each output with the metrics.
func (d *drill) checkReadyz(m numbers) {
	d.Helper()
	var ready struct {
		Status  string
		Outputs map[string]struct {
			Status      string
			DeadLetters map[string]int `json:"dead_letters"`
			Lost        map[string]int
		}
	}
	body := d.get("readyz")
	if err := json.Unmarshal(body, &ready); err != nil || ready.Status != "ok" {
		d.Errorf("/readyz: %v\n%s", err, body)
	}
	for _, name := range all {
		r, of := ready.Outputs[name], m.of(name)
		for _, n := range r.DeadLetters {
			of.letters -= n
		}
		for _, n := range r.Lost {
			of.lost -= n
		}
		if of.letters != 0 || of.lost != 0 {
			d.Errorf("%s: /readyz says %+v, the metrics %+v", name, r, m.of(name))
		}
	}
	if ready.Outputs[dead].Status != "failing" || ready.Outputs[healthy].Status != "ok" {
		d.Errorf("/readyz: %s", body)
	}
}

// letters gives the events that are dead letters of each output. It fails where one is
// there twice.
func (d *drill) letters() map[string]map[int]bool {
	d.Helper()
	ctx, cancel := context.WithTimeout(d.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(d.T, "sidekick"), "deadletters", "list", "--json", "--limit=0")
	cmd.Env = d.s.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		d.Fatalf("deadletters list: %v\n%s", err, &stderr)
	}
	letters := map[string]map[int]bool{}
	for line := range bytes.Lines(out) {
		var l struct {
			Output string
		}
		err, n := json.Unmarshal(line, &l), numberOf(line)
		if err != nil || n == 0 {
			d.Fatalf("deadletters list: %v: %.200s", err, line)
		}
		if letters[l.Output] == nil {
			letters[l.Output] = map[int]bool{}
		}
		if letters[l.Output][n] {
			d.Errorf("event %d is a dead letter of %s twice", n, l.Output)
		}
		letters[l.Output][n] = true
	}
	return letters
}
