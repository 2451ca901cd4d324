package cloudwatch_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/sidearmor/sidearmor/outputs/cloudwatch"
	"github.com/sidearmor/sidearmor/outputs/outputtest"
	"github.com/sidearmor/sidearmor/schema"
)

// moto starts an emulator of CloudWatch Logs as a process of its own, and gives
// its address.
func moto(t *testing.T) string {
	binary, err := exec.LookPath("moto_server")
	if err != nil {
		// No package that CI could install has it; os.Getenv("CI") changes nothing.
		absent(t, "moto_server is not installed: the emulator is not tried, the strict stub is")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	cmd := exec.Command(binary, "-H", "127.0.0.1", "-p", fmt.Sprint(port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the command may be a wrapper
	if err := cmd.Start(); err != nil {
		t.Fatalf("moto_server does not start: %v", err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	base := fmt.Sprintf("http://127.0.0.1:%d", port)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if resp, err := http.Get(base + "/moto-api/"); err == nil {
			resp.Body.Close()
			return base
		}
		if time.Now().After(deadline) {
			t.Fatal("moto_server does not answer")
		}
	}
}

// absent skips a test for want of what cannot be installed, in CI (os.Getenv("CI")) as elsewhere.
func absent(t *testing.T, why string) {
	t.Helper()
	t.Skip(why, "; CI=", os.Getenv("CI"))
}

// TestMoto delivers to a real server by the real protocol and reads back what
// it stored.
func TestMoto(t *testing.T) {
	base := moto(t)
	o := outputtest.New(t, cloudwatch.Kind(), settings(t, base))
	now := time.Now()
	batch := []schema.Event{at(now, 30), at(now.Add(-time.Minute), 20), at(now.Add(-time.Hour), 10)}
	for range 2 { // the second time the group and the stream are there
		if err := o.Deliver(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	stored := read(t, base)
	if len(stored) != 6 {
		t.Fatalf("%d events are stored, want 6", len(stored))
	}
	for i, want := range []schema.Event{batch[2], batch[2], batch[1], batch[1], batch[0], batch[0]} {
		body, err := want.Body()
		if err != nil {
			t.Fatal(err)
		}
		if got := stored[i]; got.Message != string(body) || got.Timestamp != want.Time().UnixMilli() {
			t.Errorf("event %d: %d %.200s", i, got.Timestamp, got.Message)
		}
	}
	if err := o.Deliver(t.Context(), []schema.Event{at(now.AddDate(0, 0, -15), 1)}); err == nil {
		t.Error("an event that the service rejected counts as delivered")
	}
}

func read(t *testing.T, base string) []event {
	t.Helper()
	client := cloudwatchlogs.New(cloudwatchlogs.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(base),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
	out, err := client.FilterLogEvents(context.Background(), &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String("/sidearmor/test"), LogStreamNames: []string{"task-1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	var list []event
	for _, e := range out.Events {
		list = append(list, event{*e.Message, *e.Timestamp})
	}
	return list
}
