package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sidearmor/sidearmor/sidekick/internal/config"
	"github.com/sidearmor/sidearmor/sidekick/internal/queue"
)

// controlSocket is in the directory of the queue, where the command line finds the
// sidekick that has the queue open.
const controlSocket = "control"

// openControl serves h at the socket in dir, which must be this process's alone,
// until close is called. Whoever may connect may do everything: that is the owner
// of the socket, and root. Without the socket the sidekick still does its work, so
// what goes wrong with it is logged.
func openControl(ctx context.Context, dir string, h http.Handler, log *slog.Logger) (stop func()) {
	listener, err := listenControl(ctx, dir)
	if err != nil {
		log.Warn("sidekick deadletters and policy simulate will not reach this sidekick", "error", fmt.Errorf("open control socket: %w", err))
		return func() {}
	}
	stopServer := serveControl(listener, h, log)
	return func() {
		stopServer()
		_ = os.Remove(filepath.Join(dir, controlSocket)) // the next start replaces what stays
	}
}

func listenControl(ctx context.Context, dir string) (net.Listener, error) {
	// The directory is ours, so nobody listens at a socket that is there.
	if err := os.Remove(filepath.Join(dir, controlSocket)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := inDirectory(dir, func(path string) (net.Listener, error) {
		l := net.ListenConfig{Control: ownerOnly}
		return l.Listen(ctx, "unix", path)
	})
	if l, ok := listener.(*net.UnixListener); ok {
		l.SetUnlinkOnClose(false) // by a path that may no longer lead there
	}
	return listener, err
}

// serveControl serves h until stop is called, which ends what is under way.
func serveControl(l net.Listener, h http.Handler, log *slog.Logger) (stop func()) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(l) }) // ends with ErrServerClosed
	return func() {
		_ = server.Close() // of connections that are given up
		running.Wait()
	}
}

// ownerOnly gives a socket its mode before it has a name: bind(2) makes the file
// with the mode of the socket, as far as the umask lets it.
func ownerOnly(_, _ string, c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); failed != nil {
		return failed
	}
	return err
}

// inDirectory calls use with a path of the control socket in dir that is short
// enough for sun_path, which has 108 bytes.
func inDirectory[T any](dir string, use func(path string) (T, error)) (T, error) {
	path := filepath.Join(dir, controlSocket)
	if len(path) < len(unix.RawSockaddrUnix{}.Path) {
		return use(path)
	}
	var none T
	d, err := os.Open(dir)
	if err != nil {
		return none, err
	}
	defer d.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), controlSocket))
}

// atControl calls use with the sidekick that has the queue open, or with the queue
// opened here: while none runs, and in a cluster, where all do the same.
func atControl(ctx context.Context, in config.Input, environ []string, stderr io.Writer, use func(*http.Client) error) (err error) {
	cfg, err := config.Load(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeOutputs(cfg.Outputs)) }()
	log := slog.New(slog.NewJSONHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	dir, err := queueDir(cfg, environ, log)
	if err != nil {
		return err
	}
	if dir != "" {
		err = use(controlClient(func(ctx context.Context) (net.Conn, error) {
			return inDirectory(dir, func(path string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			})
		}))
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
	q, err := openIdleQueue(ctx, cfg, dir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	pipe := newPipe()
	defer serveControl(pipe, newControl(q, cfg.Outputs, log), log)()
	return use(controlClient(pipe.dial))
}

func controlClient(dial func(ctx context.Context) (net.Conn, error)) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}
}

// openIdleQueue opens a queue that no sidekick has open, or one in a cluster.
func openIdleQueue(ctx context.Context, cfg config.Config, dir string, log *slog.Logger) (*queue.Queue, error) {
	if dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "store")); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no queue in %s: set QUEUE_DIR as the sidekick has it", dir)
		}
	}
	q, err := queue.Open(ctx, queueOptions(cfg, dir, log))
	if errors.Is(err, queue.ErrInUse) {
		return nil, fmt.Errorf("the sidekick that has %s open does not answer: it is starting or stopping, or an older one", dir)
	}
	return q, err
}

// pipe is a listener for this process alone.
type pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipe() *pipe {
	p := &pipe{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipe) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipe) Close() error {
	p.close()
	return nil
}

// Addr implements net.Listener.
func (p *pipe) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// atPath sends a request to a control socket, and hands over the body of an answer that
// is a success.
func atPath(ctx context.Context, client *http.Client, method, path string, body []byte, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the sidekick: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("ask the sidekick: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the sidekick: it answers %s", resp.Status)
	}
	return read(resp.Body)
}

// askControl sends a request about dead letters and hands over each line of the answer.
func askControl(ctx context.Context, client *http.Client, verb string, request letterRequest, each func(letterAnswer) error) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("ask the sidekick: %w", err)
	}
	return atPath(ctx, client, http.MethodPost, "/deadletters/"+verb, body, func(answer io.Reader) error {
		return letterAnswers(answer, each)
	})
}

func letterAnswers(answer io.Reader, each func(letterAnswer) error) error {
	lines := json.NewDecoder(bufio.NewReader(answer))
	for {
		var a letterAnswer
		if err := lines.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("the sidekick's answer ended early: %w", err)
		}
		if a.Fatal != "" {
			return errors.New(a.Fatal)
		}
		if err := each(a); err != nil {
			return err
		}
	}
}
