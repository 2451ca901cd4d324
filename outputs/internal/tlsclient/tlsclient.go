// Package tlsclient reads the settings by which outputs check the certificate of
// their service and show one of their own, and connects with them.
package tlsclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"github.com/sidearmor/sidearmor/outputs"
)

// Settings are those of FalcoSidekick: two of each output, and the files, which
// all outputs share. MUTUALTLSFILESPATH is the sidekick's to resolve.
func Settings() []outputs.Setting {
	return []outputs.Setting{
		{Key: "checkcert", Default: "true", Usage: "whether to check the service's certificate; it is always checked with mutualtls"},
		{Key: "mutualtls", Default: "false", Usage: "whether to show the certificate of MUTUALTLSCLIENT_CERTFILE"},
		{Key: "certfile", Block: "mutualtlsclient", Usage: "file with the certificate to show, PEM; read again for each connection"},
		{Key: "keyfile", Block: "mutualtlsclient", Usage: "file with the key of that certificate, PEM"},
		{Key: "mutualcacertfile", Block: "mutualtlsclient", Name: "cacertfile", Usage: "file with certificates of authorities to trust with mutualtls, besides the system's and TLSCLIENT_CACERTFILE, PEM"},
		{Key: "cacertfile", Block: "tlsclient", Usage: "file with certificates of authorities to trust besides the system's, PEM"},
	}
}

// Config gives what the settings ask for; nil when that is what Go does anyway.
// It reads the files, so that a wrong one is known at once.
func Config(v outputs.Values) (*tls.Config, error) {
	check, err := outputs.Bool(v, "checkcert")
	if err != nil {
		return nil, err
	}
	mutual, err := outputs.Bool(v, "mutualtls")
	if err != nil {
		return nil, err
	}
	if check && !mutual && v.String("cacertfile") == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !check && !mutual}
	if err := trust(c, v, "cacertfile"); err != nil {
		return nil, err
	}
	if !mutual {
		return c, nil
	}
	if err := trust(c, v, "mutualcacertfile"); err != nil {
		return nil, err
	}
	certFile, keyFile := v.String("certfile"), v.String("keyfile")
	if certFile == "" || keyFile == "" {
		return nil, fmt.Errorf("%s: needs %s and %s", v.Name("mutualtls"), v.Name("certfile"), v.Name("keyfile"))
	}
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", v.Name("certfile"), v.Name("keyfile"), err)
	}
	// Read for each handshake: certificates are short-lived, the sidekick is not.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			return nil, fmt.Errorf("load client certificate: %w", err)
		}
		return &pair, nil
	}
	return c, nil
}

// Dial connects, with TLS unless config is nil.
func Dial(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil || config == nil {
		return conn, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// trust adds the authorities in the file that key names, if it does.
func trust(c *tls.Config, v outputs.Values, key string) error {
	file := v.String(key)
	if file == "" {
		return nil
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%s: %w", v.Name(key), err)
	}
	if c.RootCAs == nil {
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			c.RootCAs = x509.NewCertPool() // no system roots at all
		}
	}
	if !c.RootCAs.AppendCertsFromPEM(body) {
		return fmt.Errorf("%s: %s holds no certificate", v.Name(key), file)
	}
	return nil
}
