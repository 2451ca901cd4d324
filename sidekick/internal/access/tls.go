package access

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Files are those of TLSSERVER_CERTFILE and its siblings.
type Files struct {
	Cert, Key string
	CA        string // of those whose clients are let in; "" lets all in
}

// TLS gives a server's configuration: TLS 1.2 or newer, certificates as they are
// in the files at the time. Errors name the variable.
func TLS(files Files, log *slog.Logger) (*tls.Config, error) {
	paths := []string{files.Cert, files.Key}
	if files.CA != "" {
		paths = append(paths, files.CA)
	}
	current, err := newFromFiles(paths, func() (*tls.Config, error) { return files.load(log) }, log)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.get(), nil },
	}, nil
}

func (f Files) load(log *slog.Logger) (*tls.Config, error) {
	// Read one by one, for errors that say which.
	cert, err := os.ReadFile(f.Cert)
	if err != nil {
		return nil, fmt.Errorf("TLSSERVER_CERTFILE: %w", err)
	}
	key, err := os.ReadFile(f.Key)
	if err != nil {
		return nil, fmt.Errorf("TLSSERVER_KEYFILE: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("TLSSERVER_CERTFILE %s and TLSSERVER_KEYFILE %s: %w", f.Cert, f.Key, err)
	}
	if end := pair.Leaf.NotAfter; time.Now().After(end) {
		log.Warn("TLSSERVER_CERTFILE has expired, clients will refuse it", "file", f.Cert, "expired", end)
	}
	c := &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
		// HTTP/2 would let one connection ask for hundreds of requests at once.
		NextProtos: []string{"http/1.1"},
	}
	if f.CA == "" {
		return c, nil
	}
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("TLSSERVER_CACERTFILE: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, errors.New("TLSSERVER_CACERTFILE: " + f.CA + " holds no PEM certificate")
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}
