package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// files has a certificate that somebody else writes, cert-manager for example. It
// is read for each connection: there are few.
type files struct{ cert, key string }

func (f files) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return &c, nil
}

// How long certificates live, and when they are made anew.
const (
	lifetime = 90 * 24 * time.Hour
	renewal  = lifetime / 3
	interval = time.Hour
)

// managed makes certificates for a webhook and tells the API server about them.
// Replicas share them by a Secret; who writes it first wins.
type managed struct {
	configuration, service, namespace string

	secrets  corev1client.SecretInterface
	webhooks admissionclient.MutatingWebhookConfigurationInterface
	current  atomic.Pointer[tls.Certificate]
	now      func() time.Time
	log      *slog.Logger
}

func newManaged(config *rest.Config, configuration, service string, log *slog.Logger) (*managed, error) {
	name, namespace, ok := strings.Cut(service, ".")
	if !ok || name == "" || namespace == "" || strings.Contains(namespace, ".") {
		return nil, fmt.Errorf("--service %q is not NAME.NAMESPACE: %w", service, errUsage)
	}
	core, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	admission, err := admissionclient.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	return &managed{
		configuration: configuration, service: name, namespace: namespace,
		secrets: core.Secrets(namespace), webhooks: admission.MutatingWebhookConfigurations(), now: time.Now, log: log,
	}, nil
}

func (m *managed) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return m.current.Load(), nil
}

// run renews certificates until the context ends.
func (m *managed) run(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := m.renew(ctx); err != nil && ctx.Err() == nil {
			m.log.Error("certificates are not renewed, it is tried again", "in", interval, "error", err)
		}
	}
}

// renew takes the certificate that the replicas share, makes a new one when it is
// old, and tells the API server whom to trust.
func (m *managed) renew(ctx context.Context) error {
	for range 5 {
		secret, err := m.secrets.Get(ctx, m.name(), metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			secret = nil
		case err != nil:
			return fmt.Errorf("read Secret %s: %w", m.name(), err)
		}
		if secret == nil || !m.fresh(secret.Data[corev1.TLSCertKey]) {
			err = m.replace(ctx, secret)
			if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
				continue // another replica was first
			}
			if err != nil {
				return fmt.Errorf("write Secret %s: %w", m.name(), err)
			}
			continue
		}
		pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			return fmt.Errorf("secret %s: %w", m.name(), err)
		}
		if err := m.trust(ctx, secret.Data["ca.crt"]); err != nil {
			return err
		}
		m.current.Store(&pair)
		return nil
	}
	return fmt.Errorf("secret %s changes all the time", m.name())
}

func (m *managed) name() string { return m.configuration + "-tls" }

func (m *managed) fresh(certificate []byte) bool {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && c.NotAfter.Sub(m.now()) > renewal
}

// replace makes a certificate and puts it into the Secret. The authority before
// stays trusted: replicas serve its certificate until they look again.
func (m *managed) replace(ctx context.Context, old *corev1.Secret) error {
	authority, certificate, key, err := m.generate()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: m.name(), Namespace: m.namespace}, Type: corev1.SecretTypeTLS}
	if old != nil {
		secret = old.DeepCopy()
		authority = append(authority, first(old.Data["ca.crt"])...)
	}
	secret.Data = map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key, "ca.crt": authority}
	if old == nil {
		_, err = m.secrets.Create(ctx, secret, metav1.CreateOptions{})
	} else {
		_, err = m.secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err == nil {
		m.log.Info("a certificate is made", "secret", m.name(), "lifetime", lifetime)
	}
	return err
}

// first is the first certificate of several.
func first(bundle []byte) []byte {
	block, _ := pem.Decode(bundle)
	if block == nil {
		return nil
	}
	return pem.EncodeToMemory(block)
}

// trust puts the authorities into the webhook's configuration.
func (m *managed) trust(ctx context.Context, bundle []byte) error {
	configuration, err := m.webhooks.Get(ctx, m.configuration, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read MutatingWebhookConfiguration %s: %w", m.configuration, err)
	}
	changed := false
	for i := range configuration.Webhooks {
		c := &configuration.Webhooks[i].ClientConfig
		if !bytes.Equal(c.CABundle, bundle) {
			c.CABundle, changed = bundle, true
		}
	}
	if !changed {
		return nil
	}
	if _, err := m.webhooks.Update(ctx, configuration, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("write MutatingWebhookConfiguration %s: %w", m.configuration, err)
	}
	return nil
}

// generate makes an authority and a certificate by it for the service.
func (m *managed) generate() (authority, certificate, key []byte, err error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, nil, err
	}
	from := m.now().Add(-time.Hour)
	serial := func() *big.Int { n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); return n }
	ca := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: m.service + " authority"}, NotBefore: from, NotAfter: from.Add(2 * lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: m.service}, NotBefore: from, NotAfter: from.Add(lifetime),
		DNSNames: []string{m.service + "." + m.namespace + ".svc", m.service + "." + m.namespace + ".svc.cluster.local"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err1 := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf, ca, &leafKey.PublicKey, caKey)
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(leafKey)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, nil, err
	}
	block := func(kind string, der []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	return block("CERTIFICATE", caDER), block("CERTIFICATE", leafDER), block("PRIVATE KEY", keyDER), nil
}
