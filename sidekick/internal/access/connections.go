package access

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

const (
	// maxHeaders are those that a request can have. Each costs Go some hundred
	// bytes however short it is.
	maxHeaders = 100

	// headerBytes bounds what has been read of headers that are not complete,
	// of all connections together: unpacked they take up to 15 times as much. What
	// comes right after a header is read, and counted, with it.
	headerBytes = 2 << 20

	// freeHeader is not worth closing a connection for.
	freeHeader = 1 << 10
)

// Connections bounds how many connections there are, on all listeners together,
// and what their headers cost. Where there are too many, whoever keeps the sidekick
// waiting longest is closed for who comes: a connection that is not in use, or on
// which a request dribbles in. So health checks get through whatever others hold.
type Connections struct {
	most   int
	closed func() // called for each that is closed for want of room

	mu      sync.Mutex
	open    int
	waiting list.List // of *conn whose client is waited for, the longest first
	headers int       // bytes read of headers that are not complete
}

// NewConnections allows most connections, at least 1; closed is called for each
// that is closed for want of room.
func NewConnections(most int, closed func()) *Connections {
	return &Connections{most: most, closed: closed}
}

// Listener counts what l accepts. TLS goes on top of it.
func (c *Connections) Listener(l net.Listener) net.Listener { return &listener{Listener: l, all: c} }

// Watch has s, whose listener is one of c's, tell about its connections.
func (c *Connections) Watch(s *http.Server) {
	s.ConnState = func(nc net.Conn, state http.ConnState) {
		switch state {
		case http.StateActive: // its header is complete
			c.turn(ours(nc), false)
		case http.StateIdle:
			c.turn(ours(nc), true)
		default:
		}
	}
	s.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, ours(nc))
	}
	next := s.Handler
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for _, values := range r.Header {
			n += len(values)
		}
		if n > maxHeaders {
			w.Header().Set("Connection", "close")
			http.Error(w, "too many headers", http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Arrived says that the request with ctx is here as a whole: what takes time from
// now on is not its client's fault, and its connection is not closed for another.
func Arrived(ctx context.Context) {
	if nc, _ := ctx.Value(connKey{}).(*conn); nc != nil {
		nc.all.arrived(nc)
	}
}

type connKey struct{}

// ours gives the connection that a server has, which may be below TLS; nil when it
// is of another listener.
func ours(nc net.Conn) *conn {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	mine, _ := nc.(*conn)
	return mine
}

type listener struct {
	net.Listener
	all *Connections
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if admitted := l.all.admit(nc); admitted != nil {
			return admitted, nil
		}
	}
}

// conn is a connection that is counted. All but the first two is guarded by
// all.mu.
type conn struct {
	net.Conn
	all *Connections

	at     *list.Element // in all.waiting; nil while its request is worked on
	header bool          // its next, or first, header is not complete
	read   int           // bytes of that header
	gone   bool          // not counted any more
}

// admit gives nc a place; nil when all places are of requests that are worked on.
func (c *Connections) admit(nc net.Conn) (admitted net.Conn) {
	c.mu.Lock()
	var victim net.Conn
	if c.open >= c.most {
		victim = nc
		if first := c.waiting.Front(); first != nil {
			old := first.Value.(*conn)
			c.drop(old)
			victim = old.Conn
		}
	}
	if victim != nc {
		mine := &conn{Conn: nc, all: c, header: true}
		mine.at = c.waiting.PushBack(mine)
		c.open++
		admitted = mine
	}
	c.mu.Unlock()
	if victim != nil {
		c.closed()
		_ = victim.Close()
	}
	return admitted
}

// drop stops counting mc.
func (c *Connections) drop(mc *conn) {
	if mc.gone {
		return
	}
	mc.gone = true
	c.open--
	c.headers -= mc.read
	mc.read = 0
	if mc.at != nil {
		c.waiting.Remove(mc.at)
		mc.at = nil
	}
}

// turn notes that mc's client is waited for from now on: for a header, or for
// what follows it.
func (c *Connections) turn(mc *conn, header bool) {
	if mc == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if mc.gone {
		return
	}
	c.headers -= mc.read
	mc.read, mc.header = 0, header
	if mc.at != nil {
		c.waiting.Remove(mc.at)
	}
	mc.at = c.waiting.PushBack(mc)
}

func (c *Connections) arrived(mc *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if mc.at != nil {
		c.waiting.Remove(mc.at)
		mc.at = nil
	}
}

// Read implements net.Conn.
func (mc *conn) Read(b []byte) (int, error) {
	n, err := mc.Conn.Read(b)
	if n > 0 {
		mc.all.note(mc, n)
	}
	return n, err
}

// Close implements net.Conn.
func (mc *conn) Close() error {
	mc.all.mu.Lock()
	mc.all.drop(mc)
	mc.all.mu.Unlock()
	return mc.Conn.Close()
}

// note counts n bytes that were read of a header, and makes room for them.
func (c *Connections) note(mc *conn, n int) {
	c.mu.Lock()
	var victims []net.Conn
	if mc.header && !mc.gone {
		mc.read += n
		c.headers += n
		for at := c.waiting.Front(); at != nil && c.headers > headerBytes; {
			old := at.Value.(*conn)
			at = at.Next()
			if old.read > freeHeader {
				c.drop(old)
				victims = append(victims, old.Conn)
			}
		}
	}
	c.mu.Unlock()
	for _, victim := range victims {
		c.closed()
		_ = victim.Close()
	}
}
