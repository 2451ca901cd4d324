package fluent

import (
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"

	"github.com/tinylib/msgp/msgp"
)

// maxHello bounds what is read of a server before it has shown that it has the key.
const maxHello = 64 << 10

var errHandshake = errors.New("the server does not answer as the Forward protocol has it, or wants another shared key")

// handshake shows to the server that we have the key, and lets it show the same. The
// client library has one too, which takes byte strings only; Fluent Bit sends text.
func handshake(conn net.Conn, host, key string) error {
	r := msgp.NewReaderSize(conn, 4<<10)
	r.SetMaxElements(100)
	r.SetMaxStringLength(maxHello)
	hello, err := array(r, "HELO", 2)
	if err != nil {
		return err
	}
	options, _ := hello[1].(map[string]any)
	nonce, salt := text(options["nonce"]), rand.Text()
	if text(options["auth"]) != "" {
		return errors.New("the server wants a user name and a password, which are not supported")
	}
	w := msgp.NewWriter(conn)
	if err := w.WriteIntf([]any{"PING", host, salt, digest(salt, host, nonce, key), "", ""}); err != nil {
		return fmt.Errorf("write PING: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write PING: %w", err)
	}
	pong, err := array(r, "PONG", 5)
	if err != nil {
		return err
	}
	want := digest(salt, text(pong[3]), nonce, key)
	if accepted, _ := pong[1].(bool); !accepted || subtle.ConstantTimeCompare([]byte(text(pong[4])), []byte(want)) != 1 {
		return errHandshake
	}
	return nil
}

// array reads a message of that kind and of so many parts.
func array(r *msgp.Reader, kind string, n int) ([]any, error) {
	value, err := r.ReadIntf()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", kind, described(err))
	}
	parts, ok := value.([]any)
	if !ok || len(parts) < n || text(parts[0]) != kind {
		return nil, errHandshake
	}
	return parts, nil
}

// text is a string of either kind that MessagePack has; "" for what is none.
func text(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func digest(salt, host, nonce, key string) string {
	sum := sha512.Sum512([]byte(salt + host + nonce + key))
	return hex.EncodeToString(sum[:])
}
