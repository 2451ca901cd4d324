package main

import (
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// page waits until a page of a sidekick has text, and gives it.
func page(t *testing.T, url, text string) string {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), text) {
			return string(body)
		}
		if time.Now().After(limit) {
			t.Fatalf("%s does not come to say %q:\n%s", url, text, body)
		}
	}
}

// What one sidekick is posted, another takes from it, stores and delivers; and
// again after either has been away.
func TestFromSidekickToSidekick(t *testing.T) {
	r := receive(t, nil)
	dir := t.TempDir()
	first := inside(t, environment(dir, "GRPC_LISTEN=127.0.0.1:0"))
	address := logged(t, first, "grpc_address")
	second := inside(t, environment(t.TempDir(), "KUBEARMOR_GRPC="+address, "KUBEARMOR_GRPC_LOGS=true",
		"WEBHOOK_ADDRESS="+r.URL, "WEBHOOK_LOGS=true", "CUSTOMFIELDS=via:grpc"))
	page(t, first.url+"/metrics", "sidearmor_grpc_clients 2")
	page(t, second.url+"/metrics", "sidearmor_kubearmor_connected 1")

	post(t, first.url, batch("alert", 0, 100), "")
	post(t, first.url, batch("log", 100, 200), "")
	post(t, first.url, `{"rule":"r","output":"o","priority":"Error","time":"2026-01-01T00:00:00Z","output_fields":{"a":"b"}}`, "")
	got := r.wait(t, 200)
	alerts := slices.DeleteFunc(slices.Clone(got), func(n string) bool { return len(n) == 3 })
	if !slices.Equal(alerts, numbers(0, 100)) {
		t.Errorf("alerts: %v", alerts)
	}
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(numbers(0, 200)))) {
		t.Errorf("got %v", got)
	}
	metrics := page(t, second.url+"/metrics", "sidearmor_kubearmor_received_total 200")
	for _, want := range []string{
		`falcosecurity_falcosidekick_inputs_total{source="kubearmor",status="accepted"} 200`,
		`sidearmor_kubearmor_events_total{action="Block",kind="alert",operation="File"} 100`,
		`sidearmor_kubearmor_events_total{action="",kind="log",operation="File"} 100`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics do not have %s", want)
		}
	}

	if status := first.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, first.log)
	}
	page(t, second.url+"/readyz", `"reasons":["KubeArmor at `+address+` is not connected"],"status":"degraded"}`)
	first = inside(t, environment(dir, "GRPC_LISTEN="+address))
	page(t, second.url+"/readyz", `"status":"ok"}`)
	page(t, first.url+"/metrics", "sidearmor_grpc_clients 2")
	post(t, first.url, batch("alert", 200, 210), "")
	r.wait(t, 210)
	if status := second.stop(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, second.log)
	}
	page(t, first.url+"/metrics", "sidearmor_grpc_clients 0")
}

// The certificates and tokens of HTTP count for gRPC too.
func TestGRPCTrust(t *testing.T) {
	cert, key, pair := selfSigned(t, t.TempDir())
	r := receive(t, nil)
	first := inside(t, environment(t.TempDir(), "GRPC_LISTEN=:0", "TLSSERVER_DEPLOY=true", "TLSSERVER_CERTFILE="+cert,
		"TLSSERVER_KEYFILE="+key, "TLSSERVER_MUTUALTLS=true", "TLSSERVER_CACERTFILE="+cert, "TLSSERVER_NOTLSPORT=0", "TLSSERVER_NOTLSPATHS=/metrics"))
	host, port, _ := net.SplitHostPort(logged(t, first, "grpc_address"))
	if host != "::" && host != "0.0.0.0" {
		t.Errorf("listens on %s", host)
	}
	inside(t, environment(t.TempDir(), "KUBEARMOR_GRPC=localhost:"+port, "WEBHOOK_ADDRESS="+r.URL, "KUBEARMOR_GRPC_TLS=true",
		"KUBEARMOR_GRPC_CACERTFILE="+cert, "KUBEARMOR_GRPC_CERTFILE="+cert, "KUBEARMOR_GRPC_KEYFILE="+key))
	stranger := inside(t, environment(t.TempDir(), "KUBEARMOR_GRPC=localhost:"+port, "KUBEARMOR_GRPC_TLS=true", "KUBEARMOR_GRPC_CACERTFILE="+cert))
	page(t, "http://"+logged(t, first, "plain_address")+"/metrics", "sidearmor_grpc_clients 1")
	c := client("tcp", "127.0.0.1:"+first.url[strings.LastIndex(first.url, ":")+1:], &pair, true)
	if status, text := ask(t, c, http.MethodPost, "https://localhost/", ""); status != http.StatusOK {
		t.Fatal(status, text)
	}
	r.wait(t, 1)
	page(t, stranger.url+"/readyz", "is not connected")

	withToken := inside(t, environment(t.TempDir(), "GRPC_LISTEN=127.0.0.1:0", "AUTH_TOKEN=CANARY"))
	conn, err := grpc.NewClient(logged(t, withToken, "grpc_address"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for shown, want := range map[string]codes.Code{"Bearer no": codes.Unauthenticated, "Bearer CANARY": codes.OK} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", shown)
		stream, err := pb.NewLogServiceClient(conn).WatchLogs(ctx, &pb.RequestMessage{Filter: "all"})
		if err != nil {
			t.Fatal(err)
		}
		header, err := stream.Header()
		if header == nil { // it has ended
			_, err = stream.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v", shown, err)
		}
	}
	withToken.stop()
	if strings.Contains(withToken.log.String(), "CANARY") {
		t.Errorf("the token is shown:\n%s", withToken.log)
	}
}

func TestGRPCPortTaken(t *testing.T) {
	s := inside(t, environment(t.TempDir(), "GRPC_LISTEN=127.0.0.1:0"))
	var out strings.Builder
	if status := run(t.Context(), nil, environment(t.TempDir(), "GRPC_LISTEN="+logged(t, s, "grpc_address")), io.Discard, &out); status != 1 || !strings.Contains(out.String(), "listen on GRPC_LISTEN") {
		t.Errorf("the port is taken: exit status %d, %s", status, &out)
	}
}
