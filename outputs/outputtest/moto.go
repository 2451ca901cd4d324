package outputtest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Moto starts an emulator of AWS as a process of its own, and gives its address.
func Moto(t testing.TB) string {
	t.Helper()
	binary, err := exec.LookPath("moto_server")
	if err != nil {
		// No package that CI could install has it; os.Getenv("CI") changes nothing.
		t.Skip("moto_server is not installed: the emulator is not tried, the stub is; CI=", os.Getenv("CI"))
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
