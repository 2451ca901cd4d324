// Package tlsclient reads the settings by which outputs check the certificate of
// their service and show one of their own. It makes no connections.
package tlsclient

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/sidearmor/sidearmor/outputs"
)

// Settings are those of FalcoSidekick: two of each output, and the files, which
// all outputs share. Its MUTUALTLSCLIENT_CACERTFILE is not here, since
// TLSCLIENT_CACERTFILE does the same, nor MUTUALTLSFILESPATH, which it keeps for
// old configurations.
func Settings() []outputs.Setting {
	return []outputs.Setting{
		{Key: "checkcert", Default: "true", Usage: "whether to check the service's certificate; it is always checked with mutualtls"},
		{Key: "mutualtls", Default: "false", Usage: "whether to show the certificate of MUTUALTLSCLIENT_CERTFILE"},
		{Key: "certfile", Block: "mutualtlsclient", Usage: "file with the certificate to show, PEM; read again for each connection"},
		{Key: "keyfile", Block: "mutualtlsclient", Usage: "file with the key of that certificate, PEM"},
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
	file := v.String("cacertfile")
	if check && !mutual && file == "" {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !check && !mutual}
	if file != "" {
		if c.RootCAs, err = authorities(file); err != nil {
			return nil, fmt.Errorf("%s: %w", v.Name("cacertfile"), err)
		}
	}
	if !mutual {
		return c, nil
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

func authorities(file string) (*x509.CertPool, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // no system roots at all
	}
	if !pool.AppendCertsFromPEM(body) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}
