package access

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Unix listens on a socket at path, with that mode. One that is there already is
// replaced, unless somebody answers at it; anything else that is there is an error.
func Unix(ctx context.Context, path string, mode os.FileMode) (net.Listener, error) {
	if err := stale(ctx, path); err != nil {
		return nil, err
	}
	// It is made where nobody else looks and then put in its place: nobody connects
	// before it has its mode, and at no time is there none.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	made := filepath.Join(dir, "s")
	l, err := new(net.ListenConfig).Listen(ctx, "unix", made)
	if err != nil {
		return nil, err
	}
	u := &socket{Listener: l, path: path}
	if l, ok := l.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false)
	}
	if err := u.place(made, mode); err != nil {
		l.Close()
		return nil, err
	}
	return u, nil
}

// stale says whether path is free, or held by a socket that nobody listens at.
func stale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s is in use by another process", path)
	}
	return nil
}

// socket removes its file when it is closed, if the file is still its own.
type socket struct {
	net.Listener
	path string
	file os.FileInfo
}

func (s *socket) place(made string, mode os.FileMode) (err error) {
	if err = os.Chmod(made, mode); err != nil {
		return err
	}
	if s.file, err = os.Lstat(made); err != nil {
		return err
	}
	return os.Rename(made, s.path)
}

// Addr gives the path at which clients find the socket.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: s.path} }

// Close implements net.Listener.
func (s *socket) Close() error {
	if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.file) {
		_ = os.Remove(s.path) // the next start replaces what stays
	}
	return s.Listener.Close()
}
