package access

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first, err := Unix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	if first.Addr().String() != path {
		t.Errorf("address %s", first.Addr())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Unix(t.Context(), path, 0o660); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second at the same path: %v", err)
	}
	talk(t, first, path)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func talk(t *testing.T, l net.Listener, path string) {
	t.Helper()
	accepted := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			conn.Close()
		}
		accepted <- err
	}()
	conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestUnixReplacesWhatNobodyUses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	dead, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	l, err := Unix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	talk(t, l, path)

	// What is another's by now is left alone.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := Unix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	talk(t, other, path)
}

func TestUnixRefuses(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	write(t, file, "precious")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file: "is no socket", link: "is no socket", dir: "is no socket", filepath.Join(dir, "none", "s"): "no such file",
	} {
		if _, err := Unix(t.Context(), path, 0o660); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("%q, %v", text, err)
	}
}
