package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sidearmor/sidearmor/sidekick/internal/config"
)

// healthcheck asks a running sidekick on this machine whether it is alive.
func healthcheck(ctx context.Context, in config.Input) error {
	at, err := config.Probe(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	// Without a proxy: the address may be none that NO_PROXY knows as local.
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, at.Network, at.Address)
		},
	}
	url := "http://localhost/healthz"
	if at.CertFile != "" {
		url = "https://localhost/healthz"
		if transport.TLSClientConfig, err = pinned(at.CertFile); err != nil {
			return fmt.Errorf("check health: %w", err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	resp, err := transport.RoundTrip(req)
	if alert := new(net.OpError); at.Mutual && errors.As(err, &alert) && alert.Op == "remote error" {
		return nil // a TLS alert: it showed its certificate and asks for one, which is not here. It is alive.
	}
	if err != nil {
		return fmt.Errorf("check health: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("check health: %s answers %s", at.Address, resp.Status)
	}
	return nil
}

// pinned accepts the one certificate that is in path, whatever its names and its
// age: it need not be made out to this machine's own address.
func pinned(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection asks for more: the very certificate
		VerifyConnection: func(s tls.ConnectionState) error {
			if !s.PeerCertificates[0].Equal(want) {
				return errors.New("what answers shows another certificate than " + path)
			}
			return nil
		},
	}, nil
}
