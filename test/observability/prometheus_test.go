package observability

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// patience is how long the tests wait for what should come within seconds.
const patience = 60 * time.Second

// eventually waits until done says so, and fails with what it says otherwise.
func eventually(t *testing.T, done func() (bool, string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(state)
		}
	}
}

func program(t *testing.T, path string) string {
	t.Helper()
	found, err := exec.LookPath(path)
	if err == nil {
		return found
	}
	if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}

// start runs a program until the test ends and shows what it said if that failed.
func start(t *testing.T, env []string, path string, args ...string) {
	t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s:\n%s", path, &log)
		}
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(address string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", resp.Status, body)
	}
	return string(body), err
}

// answering is a receiver that has one answer to everything.
func answering(t *testing.T, status int) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// startSidekick gives the address of one with an output that works, one that fails
// and one that refuses.
func startSidekick(t *testing.T) string {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	start(t, []string{
		"LISTENPORT=" + port, "QUEUE_DIR=" + t.TempDir(),
		"WEBHOOK_ADDRESS=" + answering(t, http.StatusOK),
		"WEBHOOK_2_NAME=down", "WEBHOOK_2_ADDRESS=" + answering(t, http.StatusServiceUnavailable),
		"WEBHOOK_3_NAME=refuses", "WEBHOOK_3_ADDRESS=" + answering(t, http.StatusBadRequest),
	}, program(t, "../../bin/sidekick"))
	eventually(t, func() (bool, string) {
		_, err := get("http://" + address + "/readyz")
		return err == nil, fmt.Sprint("the sidekick is not ready: ", err)
	})
	return "http://" + address
}

// startPrometheus gives the address of one that scrapes target each second and
// evaluates the rules as often.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	path := program(t, "prometheus")
	rules, err := filepath.Abs(filepath.Join(docs, "observability", "rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	file := filepath.Join(dir, "prometheus.yml")
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\n"+
		"scrape_configs: [{job_name: sidearmor, static_configs: [{targets: [%q]}]}]\n", rules, strings.TrimPrefix(target, "http://"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	eventually(t, func() (bool, string) {
		_, err := get("http://" + address + "/-/ready")
		return err == nil, fmt.Sprint("Prometheus is not ready: ", err)
	})
	return "http://" + address
}

func post(t *testing.T, address, body string, want int) {
	t.Helper()
	resp, err := http.Post(address, "application/x-ndjson", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		t.Fatalf("%s for %s", resp.Status, body)
	}
}

// answer is what Prometheus' API says.
type answer struct {
	Data struct {
		Result []json.RawMessage
		Alerts []struct {
			State  string
			Labels map[string]string
		}
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
}

func ask(address, path string) (answer, error) {
	var a answer
	body, err := get(address + path)
	if err != nil {
		return a, err
	}
	return a, json.Unmarshal([]byte(body), &a)
}

// variables are the dashboard's, as Grafana would fill them in for a short time.
var variables = strings.NewReplacer("$instance", ".*", "$__rate_interval", "30s")

// Every query of the dashboard and of the rules is one that Prometheus takes, and
// gives data wherever the sidekick has the metrics.
func TestPrometheus(t *testing.T) {
	side := startSidekick(t)
	prometheus := startPrometheus(t, side)
	events := `{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block","Resource":"/etc/shadow"}` + "\n" +
		`{"Type":"ContainerLog","Operation":"File","Resource":"/etc/passwd"}` + "\n" +
		`{"rule":"r","priority":"Warning","output":"o","time":"2026-01-02T03:04:05Z","output_fields":{"a":"b"}}` + "\n"
	post(t, side, events, http.StatusOK)
	post(t, side, `{"Type":7}`, http.StatusBadRequest)

	var scraped string
	eventually(t, func() (bool, string) {
		text, err := get(side + "/metrics")
		scraped = text
		return err == nil && strings.Contains(text, `outputs_total{destination="webhook",status="ok"} 3`), fmt.Sprint("not delivered: ", err)
	})
	compared := regexp.MustCompile(`\s(==|>|<)\s\S+\s*$`) // an alert's own condition
	for _, e := range expressions(t) {
		query := compared.ReplaceAllString(variables.Replace(e.text), "")
		there := true
		for _, name := range e.metrics() {
			there = there && strings.Contains(scraped, "\n# TYPE "+name+" ")
		}
		eventually(t, func() (bool, string) {
			a, err := ask(prometheus, "/api/v1/query?query="+url.QueryEscape(query))
			if err != nil {
				t.Fatalf("%s: %s: %v", e.where, query, err)
			}
			return len(a.Data.Result) > 0 || !there, fmt.Sprintf("%s: no data for %s", e.where, query)
		})
	}
	t.Run("alerts", func(t *testing.T) { alerts(t, side, prometheus, events, scraped) })
}

// alerts: what is wrong at this sidekick raises its alerts, and no others.
func alerts(t *testing.T, side, prometheus, events, scraped string) {
	want := map[string]string{"SidekickDeadLetters": "webhook-refuses"}
	if strings.Contains(scraped, "sidearmor_output_failing") {
		want["SidekickOutputFailing"] = "webhook-down" // pending
	}
	eventually(t, func() (bool, string) {
		post(t, side, events, http.StatusOK) // again: a counter must grow while it is looked at
		a, err := ask(prometheus, "/api/v1/alerts")
		if err != nil {
			return false, err.Error()
		}
		got := map[string]string{}
		for _, alert := range a.Data.Alerts {
			got[alert.Labels["alertname"]] = alert.Labels["destination"]
		}
		return fmt.Sprint(got) == fmt.Sprint(want), fmt.Sprintf("alerts %v, want %v", got, want)
	})
	a, err := ask(prometheus, "/api/v1/rules")
	if err != nil || len(a.Data.Groups) == 0 {
		t.Fatalf("rules: %+v, %v", a, err)
	}
	for _, r := range a.Data.Groups[0].Rules {
		if r.Health != "ok" {
			t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
	}
}
