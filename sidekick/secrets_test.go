package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sidearmor/sidearmor/outputs"
	"github.com/sidearmor/sidearmor/outputs/catalog"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

const canary = outputtest.Canary

// confidential gives settings for an output of a kind that sends to base, with the
// canary in every secret. second asks for the other way where there are two.
func confidential(kind, base string, second bool) map[string]string {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	host, inside := u.Host, strings.Replace(base, "://", "://user:"+canary+"@", 1)
	switch kind {
	case "slack", "teams", "mattermost", "rocketchat", "googlechat":
		return map[string]string{"webhookurl": base + "/services/" + canary}
	case "discord":
		return map[string]string{"webhookurl": base + "/api/webhooks/1/" + canary}
	case "pagerduty":
		return map[string]string{"routingkey": canary, "address": base}
	case "fluentforward":
		return map[string]string{"hostport": host, "sharedkey": canary}
	case "smtp":
		s := map[string]string{"hostport": host, "from": "a@example.com", "to": "b@example.com", "tls": "false", "user": "user", "password": canary}
		if second {
			s["authmechanism"], s["token"] = "oauthbearer", canary
		}
		return s
	case "telegram":
		return map[string]string{"chatid": "-1", "token": canary, "address": base}
	case "opsgenie":
		return map[string]string{"apikey": canary, "address": base}
	case "datadog":
		return map[string]string{"apikey": canary, "host": base}
	case "splunk":
		return map[string]string{"host": inside, "token": canary, "customheaders": "X-Token: " + canary}
	case "alertmanager":
		return map[string]string{"hostport": inside, "customheaders": "X-Token: " + canary}
	case "awscloudwatchlogs":
		return aws("loggroup", "group")
	case "awssqs":
		return aws("url", base+"/123456789012/alerts")
	case "awssns":
		return aws("topicarn", "arn:aws:sns:eu-west-1:123456789012:alerts")
	case "awskinesis", "awsfirehose":
		return aws("streamname", "events")
	case "awseventbridge":
		return aws("busname", "default")
	case "awslambda":
		return aws("functionname", "respond")
	case "awssecurityhub":
		return aws("accountid", "123456789012")
	case "awss3":
		return map[string]string{"bucket": "bucket", "endpoint": base, "secretaccesskey": canary, "accesskeyid": "AKIA", "region": "eu-west-1"}
	case "webhook":
		return map[string]string{"address": base + "/" + canary, "customheaders": "X-Token: " + canary, "hmacsecret": canary}
	case "falcosidekick":
		return map[string]string{"address": inside, "customheaders": "X-Token: " + canary}
	case "syslog":
		return map[string]string{"host": u.Hostname(), "port": u.Port()}
	case "kafka":
		return map[string]string{"hostport": host, "topic": "events", "sasl": "PLAIN", "username": "user", "password": canary}
	case "nats":
		return map[string]string{"hostport": "nats://user:" + canary + "@" + host, "jetstream": fmt.Sprint(second)}
	case "loki":
		return map[string]string{"hostport": inside, "user": "user", "apikey": canary, "customheaders": "X-Token: " + canary}
	case "elasticsearch":
		s := map[string]string{"hostport": inside, "username": "user", "password": canary, "customheaders": "X-Token: " + canary}
		if second {
			delete(s, "username")
			delete(s, "password")
			s["apikey"] = canary
		}
		return s
	case "otlplogs":
		return map[string]string{"endpoint": base + "/" + canary, "headers": "authorization=Bearer%20" + canary}
	case "stdout":
		return map[string]string{"enabled": "true"}
	}
	return nil
}

// aws gives the settings of an output on AWS that has one of its own.
func aws(key, value string) map[string]string {
	return map[string]string{key: value, "secretaccesskey": canary, "accesskeyid": "AKIA", "region": "eu-west-1"}
}

// elsewhereSet says whether no setting of an output of a kind says where it sends to,
// but the SDK's environment does.
func elsewhereSet(kind string) bool { return strings.HasPrefix(kind, "aws") && kind != "awss3" }

// trouble is a receiver that fails in one way and repeats what it was told.
type trouble struct{ name, base string }

// troubles are all of them. What a redirect points to must not be asked.
func troubles(t *testing.T) []trouble {
	t.Helper()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	release := make(chan struct{})
	echo := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if status == http.StatusFound {
				w.Header().Set("Location", elsewhere.URL+r.RequestURI)
			}
			w.Header().Set("X-Echo", r.RequestURI)
			w.WriteHeader(status)
			fmt.Fprintf(w, "cannot take %s of %v: %s %s", r.RequestURI, r.Header, canary, body)
		}
	}
	var all []trouble
	serve := func(name string, tls bool, h http.HandlerFunc) {
		srv := httptest.NewUnstartedServer(h)
		srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		if tls {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		t.Cleanup(srv.Close)
		all = append(all, trouble{name, srv.URL})
	}
	for _, status := range []int{302, 400, 401, 404, 429, 500} {
		serve(fmt.Sprint(status), false, echo(status))
	}
	serve("success", false, echo(http.StatusOK)) // with an error in the body, for whom that counts
	serve("certificate", true, echo(http.StatusOK))
	serve("hang", false, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) }) // before the servers wait for their handlers
	all = append(all, trouble{"garbage", "http://" + garbage(t)})
	gone := httptest.NewServer(nil)
	gone.Close()
	return append(all, trouble{"refused", gone.URL}, trouble{"unresolvable", "http://" + strings.Repeat("x", 64) + ".invalid:1"})
}

// garbage is a server that greets with the canary and repeats what it is sent.
func garbage(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 4096)
				n, _ := conn.Read(buffer)
				fmt.Fprintf(conn, "220 %s %s\r\n", canary, buffer[:n])
			}()
		}
	}()
	return l.Addr().String()
}

// Every secret setting of every kind is tried: a new one fails here until it is
// among those above.
func TestConfidentialIsComplete(t *testing.T) {
	for _, k := range catalog.Kinds() {
		tried := map[string]bool{}
		for _, second := range []bool{false, true} {
			for key, value := range confidential(k.Name, "http://host:1", second) {
				tried[key] = tried[key] || strings.Contains(value, canary) || key == "hostport" || key == "address" || key == "endpoint"
			}
		}
		for _, s := range k.Settings {
			if s.Secret && !tried[s.Key] {
				t.Errorf("%s: secret setting %s is not tried", k.Name, s.Key)
			}
		}
		if len(tried) == 0 {
			t.Errorf("output %s is not tried", k.Name)
		}
	}
}

// No error of any output, in any trouble, shows a secret.
func TestSecretsInErrors(t *testing.T) {
	all := troubles(t)
	for _, k := range catalog.Kinds() {
		if k.Name == "stdout" {
			continue
		}
		for i, trouble := range all {
			if elsewhereSet(k.Name) {
				t.Setenv("AWS_ENDPOINT_URL", trouble.base)
			}
			o := outputtest.New(t, k, confidential(k.Name, trouble.base, i%2 == 1))
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			err := outputtest.Deliver(ctx, t, o, []schema.Event{outputtest.BlockedExec(), outputtest.Falco()})
			cancel()
			if err == nil && !slices.Contains([]string{"success", "certificate"}, trouble.name) && k.Name != "syslog" {
				t.Errorf("%s: %s is no failure", k.Name, trouble.name)
			}
			outputtest.NoSecret(t, o)
			if c, ok := o.(io.Closer); ok {
				_ = c.Close()
			}
		}
	}
}

// confidentialEnvironment configures one output of every kind for each trouble.
func confidentialEnvironment(t *testing.T, all []trouble) (env, names []string) {
	t.Helper()
	given := map[string]string{"AUTH_TOKEN": canary, "DEBUG": "true", "LISTENPORT": "0", "AWS_ENDPOINT_URL": all[0].base}
	for _, kind := range catalog.Kinds() {
		for i, trouble := range all {
			k := kind
			name := k.Name
			if i > 0 {
				k.Block += fmt.Sprint(".", i+1)
				name += "-" + trouble.name
				given[outputtest.Variable(k, outputs.Setting{Key: "name"})] = trouble.name
			}
			settings := confidential(kind.Name, trouble.base, i%2 == 1)
			for _, s := range k.Settings {
				if value, ok := settings[s.Key]; ok {
					given[outputtest.Variable(k, s)] = value
				}
			}
			// What hangs is waited for by tests of errors alone, and so is Kafka, which
			// tries for half a minute; syslog knows no refusals.
			fails := trouble.name != "hang" && trouble.name != "success" && kind.Name != "kafka" && kind.Name != "syslog"
			if fails && kind.Name != "stdout" {
				names = append(names, name)
			}
			if kind.Name == "stdout" || elsewhereSet(kind.Name) {
				break // no setting says where these send to
			}
		}
	}
	for name, value := range given {
		env = append(env, name+"="+value)
	}
	return env, names
}

// A sidekick with every kind of output in every trouble shows no secret anywhere:
// log, standard output, metrics, probes, what it stores, and the stacks of its end.
func TestSecretsOfAProcess(t *testing.T) {
	dir := t.TempDir()
	env, names := confidentialEnvironment(t, troubles(t))
	s := process(t, append(env, "QUEUE_DIR="+dir, "GOTRACEBACK=all"))
	seen := map[string]string{}
	event := `{"Type":"MatchedPolicy","PolicyName":"p","Operation":"File","Action":"Block","Resource":"/etc/shadow"}`
	for _, token := range []string{"x" + canary, canary} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, strings.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		seen["answer to "+resp.Status] = fmt.Sprint(resp.Header, string(body))
	}
	waitForFailures(t, s, names)
	for _, path := range []string{"/metrics", "/readyz", "/healthz", "/ping", "/debug/pprof/goroutine?debug=2", "/debug/vars"} {
		seen[path] = fetch(t, s.url+path)
	}
	s.quit() // Go prints the stacks of all goroutines
	if text := s.log.String(); !strings.Contains(text, "goroutine ") {
		t.Error("no stacks were printed")
	}
	seen["log"] = s.log.String()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() { // one is the control socket
			return err
		}
		body, err := os.ReadFile(path)
		seen["file "+path] = string(body)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for where, text := range seen {
		reportShown(t, where, text)
	}
}

// reportShown fails with the line that shows the secret.
func reportShown(t *testing.T, where, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if outputtest.Shows(line) {
			t.Errorf("%s shows a secret: %.600s", where, line)
			return
		}
	}
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.Header, "\n", string(body))
}

// waitForFailures returns when every output has failed.
func waitForFailures(t *testing.T, s *sidekick, names []string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(300 * time.Millisecond) {
		metrics := fetch(t, s.url+"/metrics")
		left := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			series := fmt.Sprintf(`falcosecurity_falcosidekick_outputs_total{destination=%q,status="error"} `, name)
			return !strings.Contains(metrics, series+"0\n") && strings.Contains(metrics, series)
		})
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v have not failed:\n%s", left, s.log)
		}
	}
}

// sidekick check shows what is configured without the secrets, whether it is right
// or not.
func TestSecretsInCheck(t *testing.T) {
	env, _ := confidentialEnvironment(t, troubles(t))
	events := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(events, []byte(event("alert", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	try := func(name string, env []string, want int) {
		t.Helper()
		var out bytes.Buffer
		if status := run(t.Context(), []string{"check", "--events", events}, env, &out, &out); status != want {
			t.Errorf("%s: exit status %d:\n%s", name, status, &out)
		}
		reportShown(t, name, out.String())
	}
	try("check", env, 0)
	for _, bad := range []string{"LISTENPORT=x", "SLACK_OUTPUTFORMAT=x", "WEBHOOK_METHOD=x", "KAFKA_TOPIC=a b", "NOSUCH_SETTING=1", "SLACK_WEBHOKURL=" + canary} {
		want := 1
		if strings.HasPrefix(bad, "NOSUCH") {
			want = 0
		}
		try(bad, append(slices.Clone(env), bad), want)
	}
	// Each secret that is wrong itself.
	for _, k := range catalog.Kinds() {
		for _, s := range k.Settings {
			if !s.Secret {
				continue
			}
			name := outputtest.Variable(k, s)
			var out bytes.Buffer
			wrong := append(slices.Clone(env), name+"=%zz\x01 "+canary)
			_ = run(t.Context(), []string{"check"}, wrong, &out, &out)
			reportShown(t, "wrong "+name, out.String())
			out.Reset()
			_ = run(t.Context(), []string{"check"}, append(slices.Clone(env), name+"_FILE=/nowhere"), &out, &out)
			reportShown(t, "two of "+name, out.String())
		}
	}
}
