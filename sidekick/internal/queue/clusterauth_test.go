package queue

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/sidearmor/sidearmor/schema/secret"
)

const password = "CANARY-p@ss"

// works stores an event and reads it back.
func works(t *testing.T, c *Cluster) {
	t.Helper()
	q := open(t, Options{Cluster: c})
	publish(t, q, alerts(0, 1))
	m := member(t, q, "slack")
	e, _, seq, err := m.Next(t.Context())
	if err != nil || e.ID != "a-0" {
		t.Fatalf("got %s (%v)", e.ID, err)
	}
	if err := m.Ack(t.Context(), seq); err != nil {
		t.Error(err)
	}
}

// refuses gives the error with which a cluster is not used.
func refuses(t *testing.T, c *Cluster, want ...string) {
	t.Helper()
	var log strings.Builder
	_, err := Open(t.Context(), Options{Cluster: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err == nil {
		t.Fatal("it is used")
	}
	for _, w := range append(want, strings.TrimPrefix(c.Servers[0], "nats://")) {
		if !strings.Contains(err.Error(), strings.TrimPrefix(w, "tls://")) {
			t.Errorf("error does not hold %q: %v", w, err)
		}
	}
	if all := err.Error() + log.String(); strings.Contains(all, "CANARY") {
		t.Errorf("the password is shown: %s", all)
	}
}

func single(n *node, scheme string) *Cluster {
	return &Cluster{Servers: []string{scheme + n.address}, Replicas: 1, Name: "q", Wait: time.Second}
}

func testRefused(t *testing.T, binary string) {
	n := startNode(t, binary, "jetstream { store_dir: STORE }\naccounts { A { jetstream: enabled, users: [{ user: sidearmor, password: \""+
		password+"\", permissions: { publish: [\"q.>\", \"three.>\", \"$JS.API.>\", \"$JS.ACK.>\"], subscribe: \"_INBOX.>\" } }] }, B { users: [{ user: plain, password: \""+password+"\" }] } }\n")
	c := single(n, "nats://")
	c.User, c.Password = "sidearmor", secret.New(password)
	works(t, c)

	wrong := *c
	wrong.Password = secret.New(password + "x")
	refuses(t, &wrong, "Authorization Violation")
	three := *c
	three.Replicas = 3
	three.Name = "three"
	refuses(t, &three, "QUEUE_REPLICAS=3", "non-clustered")
	plain := *c
	plain.User = "plain"
	refuses(t, &plain, "not enabled")
	tlsWanted := *c
	tlsWanted.Servers = []string{"tls://" + n.address}
	refuses(t, &tlsWanted, "secure connection not available")

	refuses(t, single(startNode(t, binary, ""), "nats://"), "JetStream is not turned on")
	refuses(t, single(&node{address: fmt.Sprintf("127.0.0.1:%d", freePort(t))}, "nats://"), "refused")
	refuses(t, &Cluster{Servers: []string{"nats://nowhere.invalid:4222"}, Replicas: 1, Name: "q", Wait: time.Second}, "nowhere.invalid")
}

// certificate writes a certificate and its key, signed by itself, that is good for
// servers and clients.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	der2, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: der2}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func testTLS(t *testing.T, binary string) {
	cert, key := certificate(t)
	other, otherKey := certificate(t)
	n := startNode(t, binary, fmt.Sprintf("jetstream { store_dir: STORE }\ntls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }\n", cert, key, cert))
	c := single(n, "tls://")
	c.CAFile, c.CertFile, c.KeyFile = cert, cert, key
	works(t, c)
	stranger := *c
	stranger.CAFile = other
	refuses(t, &stranger, "certificate")
	impostor := *c
	impostor.CertFile, impostor.KeyFile = other, otherKey
	refuses(t, &impostor)
	unknown := *c
	unknown.CertFile, unknown.KeyFile = "", ""
	refuses(t, &unknown)
}

// testCredentials uses a file as nsc writes it: a user's JWT and nkey seed.
func testCredentials(t *testing.T, binary string) {
	operator, account, user := pair(t, nkeys.CreateOperator), pair(t, nkeys.CreateAccount), pair(t, nkeys.CreateUser)
	oc := jwt.NewOperatorClaims(public(t, operator))
	ac := jwt.NewAccountClaims(public(t, account))
	system := pair(t, nkeys.CreateAccount)
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	uc := jwt.NewUserClaims(public(t, user))
	encode := func(c interface {
		Encode(nkeys.KeyPair) (string, error)
	}, by nkeys.KeyPair,
	) string {
		text, err := c.Encode(by)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	n := startNode(t, binary, fmt.Sprintf("jetstream { store_dir: STORE }\noperator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		encode(oc, operator), public(t, system), public(t, system), encode(jwt.NewAccountClaims(public(t, system)), operator),
		public(t, account), encode(ac, operator)))
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	text, err := jwt.FormatUserConfig(encode(uc, account), seed)
	if err != nil {
		t.Fatal(err)
	}
	c := single(n, "nats://")
	c.CredsFile = filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(c.CredsFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	works(t, c)
	refuses(t, single(n, "nats://"), "Authorization Violation")
}

func pair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	k, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func public(t *testing.T, k nkeys.KeyPair) string {
	t.Helper()
	text, err := k.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
