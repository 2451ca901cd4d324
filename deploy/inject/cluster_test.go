package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	admissionclient "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/sidearmor/sidearmor/test/kube"
)

// patience bounds each wait: a machine may be loaded.
const patience = 3 * time.Minute

// cluster is an API server with the manifests of the webhook.
type cluster struct {
	*kube.Server
	core corev1client.CoreV1Interface
}

func startCluster(t *testing.T, flags ...string) *cluster {
	t.Helper()
	s := kube.Start(t, flags...)
	core, err := corev1client.NewForConfig(s.Admin)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{s, core}
}

func manifest(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../eks/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func namespace(name, label string) string {
	return "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + name + "\n  labels: {sidearmor.io/inject: " + label + "}\n"
}

// create makes a pod and returns what is stored.
func (c *cluster) create(t *testing.T, namespace string, pod *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	return c.core.Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
}

func podOf(name string, containers ...corev1.Container) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "web"}}, Spec: corev1.PodSpec{Containers: containers}}
}

// isInjected says whether a stored pod has what inject adds, and its containers'
// commands begin with the tracer.
func isInjected(pod *corev1.Pod) bool {
	names := map[string]bool{}
	for _, c := range pod.Spec.InitContainers {
		names[c.Name] = true
	}
	for _, v := range pod.Spec.Volumes {
		names[v.Name] = true
	}
	for _, c := range pod.Spec.Containers {
		if len(c.Command) < 3 || strings.Join(c.Command[:3], " ") != "/sidearmor/tracer run --" || len(c.VolumeMounts) < 2 {
			return false
		}
	}
	return names["sidearmor-install"] && names["sidearmor-sidekick"] && names["sidearmor"] && names["sidearmor-queue"]
}

// authority makes a certificate for 127.0.0.1, and says whom to trust for it.
func authority(t *testing.T) (cert, key string, ca []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return write(t, "tls.crt", string(ca)), write(t, "tls.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))), ca
}

// startWebhook runs `inject webhook` until the test ends, and returns its address.
func startWebhook(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	in, out := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"webhook", "--listen", "127.0.0.1:0"}, args...), nil, io.Discard, out)
		out.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if status := <-done; status != ok {
			t.Errorf("the webhook ended with %d", status)
		}
	})
	lines := bufio.NewScanner(in)
	address := make(chan string, 1)
	go func() {
		defer close(address)
		for lines.Scan() {
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				address <- line.Address
			}
		}
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case a := <-address:
		if a == "" {
			t.Fatal("the webhook ended")
		}
		return a
	case <-time.After(patience):
		t.Fatal("the webhook does not listen")
		return ""
	}
}

// The API server asks the webhook for each pod, and stores what it answers.
func TestWebhook(t *testing.T) {
	c := startCluster(t)
	c.Apply(t, manifest(t, "webhook.yaml"))
	cert, key, ca := authority(t)
	address := startWebhook(t, "--tls-cert", cert, "--tls-key", key, "--offline", "--slack-secret", "alerts/slack",
		"--kubeconfig", c.Kubeconfig(t, c.Token(t, "sidearmor", "sidearmor-webhook")))
	point(t, c, address, ca)
	c.Apply(t, namespace("shop", "enabled")+"---\n"+namespace("other", "disabled"))

	web := corev1.Container{Name: "web", Image: "shop/web:7", Command: []string{"web"}, Args: []string{"serve"}}
	var stored *corev1.Pod
	eventually(t, func() string { // the API server takes a moment to know a new webhook
		pod := podOf("first", web)
		pod.GenerateName, pod.Name = "first-", ""
		var err error
		if stored, err = c.create(t, "shop", pod); err != nil {
			return err.Error()
		}
		if !isInjected(stored) {
			return "not injected"
		}
		return ""
	})
	if got := strings.Join(append(stored.Spec.Containers[0].Command, stored.Spec.Containers[0].Args...), " "); got != "/sidearmor/tracer run -- web serve" {
		t.Errorf("runs %s", got)
	}
	if stored.Spec.InitContainers[0].Name != "sidearmor-install" || *stored.Spec.InitContainers[1].RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Errorf("init containers %+v", stored.Spec.InitContainers)
	}
	t.Run("pods", func(t *testing.T) { webhookPods(t, c, web) })
	t.Run("exec", func(t *testing.T) { webhookExec(t, c, web) })
}

// point has the API server ask at an address, where no service leads to.
func point(t *testing.T, c *cluster, address string, ca []byte) {
	t.Helper()
	admission, err := admissionclient.NewForConfig(c.Admin)
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := admission.MutatingWebhookConfigurations().Get(t.Context(), "sidearmor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range configuration.Webhooks {
		client := &configuration.Webhooks[i].ClientConfig
		at := "https://" + address + *client.Service.Path
		client.URL, client.Service, client.CABundle = &at, nil, ca
	}
	if _, err := admission.MutatingWebhookConfigurations().Update(t.Context(), configuration, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func webhookPods(t *testing.T, c *cluster, web corev1.Container) {
	left := web
	left.Command, left.Args = nil, nil
	for _, test := range []struct {
		name, namespace string
		container       corev1.Container
		annotations     map[string]string
		label           string
		injected        bool
		refused         string
	}{
		{"other-namespace", "other", web, nil, "", false, ""},
		{"opted-out", "shop", web, nil, "false", false, ""},
		{"opted-out-by-annotation", "shop", web, map[string]string{"sidearmor.io/inject": "false"}, "", false, ""},
		{"given", "shop", left, map[string]string{"sidearmor.io/entrypoint": `["/web"]`, "sidearmor.io/cmd.web": `[]`}, "", true, ""},
		{"left-to-the-image", "shop", left, nil, "", false, "it leaves to its image what it runs"},
		{"misspelt", "shop", web, map[string]string{"sidearmor.io/containres": "web"}, "", false, "annotation sidearmor.io/containres: there is no such setting"},
		{"no-list", "shop", left, map[string]string{"sidearmor.io/entrypoint": "/web"}, "", false, "is not a list in JSON"},
	} {
		pod := podOf(test.name, test.container)
		pod.Annotations = test.annotations
		if test.label != "" {
			pod.Labels["sidearmor.io/inject"] = test.label
		}
		stored, err := c.create(t, test.namespace, pod)
		switch {
		case test.refused != "":
			if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%s: %v", test.name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case isInjected(stored) != test.injected:
			t.Errorf("%s: injected %v: %+v", test.name, !test.injected, stored.Spec)
		}
	}
}

// What kubectl exec starts in a traced container reaches the kubelet with the
// tracer in front.
func webhookExec(t *testing.T, c *cluster, web corev1.Container) {
	asked := make(chan url.Values, 10)
	kubelet := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query()
		http.Error(w, "no containers run here", http.StatusForbidden)
	}))
	defer kubelet.Close()
	port := kubelet.Listener.Addr().(*net.TCPAddr).Port
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node"}}
	if _, err := c.core.Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	node.Status = corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(port)}}, //nolint:gosec // a port
	}
	if _, err := c.core.Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, namespace := range map[string]string{"traced": "shop", "untraced": "other"} {
		pod := podOf(name, web)
		pod.Spec.NodeName = "node"
		if _, err := c.create(t, namespace, pod); err != nil {
			t.Fatal(err)
		}
		exec(t, c.Admin, namespace, name)
		want := []string{"sh", "-c", "id"}
		if name == "traced" {
			want = append([]string{"/sidearmor/tracer", "run", "--"}, want...)
		}
		select {
		case got := <-asked:
			if !slices.Equal(got["command"], want) {
				t.Errorf("%s: %q", name, got)
			}
		case <-time.After(patience):
			t.Errorf("%s: the kubelet was not asked", name)
		}
	}
}

// exec asks for an exec as kubectl does.
func exec(t *testing.T, admin *rest.Config, namespace, pod string) {
	t.Helper()
	config := rest.CopyConfig(admin)
	config.NextProtos = []string{"http/1.1"} // HTTP/2 has no upgrades
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	at := admin.Host + "/api/v1/namespaces/" + namespace + "/pods/" + pod + "/exec?command=sh&command=-c&command=id&container=web&stdout=true"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "SPDY/3.1")
	req.Header.Set("X-Stream-Protocol-Version", "v4.channel.k8s.io")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// Certificates that the webhook makes itself are known to the API server, shared
// by replicas, and renewed in time. The service account may do all that is needed.
func TestSelfManagedCertificates(t *testing.T) {
	c := startCluster(t)
	c.Apply(t, manifest(t, "webhook.yaml"))
	config := rest.CopyConfig(c.Admin)
	config.BearerToken = c.Token(t, "sidearmor", "sidearmor-webhook")
	log := slog.New(slog.DiscardHandler)
	now := time.Now()
	replica := func() *managed {
		m, err := newManaged(config, "sidearmor", "sidearmor-webhook.sidearmor", log)
		if err != nil {
			t.Fatal(err)
		}
		m.now = func() time.Time { return now }
		if err := m.renew(t.Context()); err != nil {
			t.Fatal(err)
		}
		return m
	}
	one, two := replica(), replica()
	before := one.current.Load().Certificate[0]
	if !bytes.Equal(before, two.current.Load().Certificate[0]) {
		t.Error("replicas have different certificates")
	}
	bundle := trusted(t, c)
	known(t, bundle, before, now)

	now = now.Add(lifetime - renewal + 2*time.Hour)
	if err := two.renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := two.current.Load().Certificate[0]
	if bytes.Equal(before, after) {
		t.Error("the certificate was not renewed")
	}
	bundle = trusted(t, c)
	known(t, bundle, after, now)
	known(t, bundle, before, now) // the other replica shows it until it looks again
	if err := one.renew(t.Context()); err != nil || !bytes.Equal(one.current.Load().Certificate[0], after) {
		t.Errorf("the other replica: %v", err)
	}
}

func trusted(t *testing.T, c *cluster) []byte {
	t.Helper()
	admission, err := admissionclient.NewForConfig(c.Admin)
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := admission.MutatingWebhookConfigurations().Get(t.Context(), "sidearmor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range configuration.Webhooks {
		if !bytes.Equal(w.ClientConfig.CABundle, configuration.Webhooks[0].ClientConfig.CABundle) {
			t.Error("the webhooks trust different authorities")
		}
	}
	return configuration.Webhooks[0].ClientConfig.CABundle
}

func known(t *testing.T, bundle, certificate []byte, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatalf("no authorities in %q", bundle)
	}
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "sidearmor-webhook.sidearmor.svc", CurrentTime: now}); err != nil {
		t.Error(err)
	}
}

// The API server itself injects pods that state their command, by a policy.
func TestAdmissionPolicy(t *testing.T) {
	c := startCluster(t, "--feature-gates=MutatingAdmissionPolicy=true", "--runtime-config=admissionregistration.k8s.io/v1beta1=true")
	c.Apply(t, manifest(t, "admission-policy.yaml"))
	c.Apply(t, namespace("shop", "enabled")+"---\n"+namespace("other", "disabled"))
	web := corev1.Container{Name: "web", Image: "shop/web:7", Command: []string{"web", "it's"}, Env: []corev1.EnvVar{{Name: "A", Value: "b"}}}
	helper := corev1.Container{Name: "helper", Image: "shop/helper:1", Command: []string{"web", "it's"}}
	var stored *corev1.Pod
	eventually(t, func() string {
		pod := podOf("", web, helper)
		pod.GenerateName = "first-"
		var err error
		if stored, err = c.create(t, "shop", pod); err != nil {
			return err.Error()
		}
		if !isInjected(stored) {
			return "not injected"
		}
		return ""
	})
	for i, want := range []corev1.Container{web, helper} {
		got := stored.Spec.Containers[i]
		if got.Name != want.Name || got.Image != want.Image || !slices.Equal(got.Command, append([]string{"/sidearmor/tracer", "run", "--"}, want.Command...)) {
			t.Errorf("container %d: %+v", i, got)
		}
		if i == 0 && got.Env[0].Name != "A" {
			t.Errorf("its own variables: %+v", got.Env)
		}
	}
	left := web
	left.Command = nil
	eventually(t, func() string {
		pod := podOf("", left)
		pod.GenerateName = "left-"
		if _, err := c.create(t, "shop", pod); err == nil || !strings.Contains(err.Error(), "does not state its command") {
			return "not refused"
		}
		return ""
	})
	if stored, err := c.create(t, "other", podOf("other", left)); err != nil || isInjected(stored) {
		t.Errorf("in another namespace: %v", err)
	}
}

func eventually(t *testing.T, ready func() (missing string)) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		missing := ready()
		if missing == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(missing)
		}
	}
}

// The certificate's files may be written anew at any time.
func TestCertificateIsReadAgain(t *testing.T) {
	cert, key, _ := authority(t)
	f := files{cert: cert, key: key}
	first, err := f.certificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	newCert, newKey, _ := authority(t)
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	second, err := f.certificate(nil)
	if err != nil || bytes.Equal(first.Certificate[0], second.Certificate[0]) {
		t.Errorf("the old certificate is shown: %v", err)
	}
	if _, err := (files{cert: filepath.Join(t.TempDir(), "none")}).certificate(nil); err == nil {
		t.Error("no error without a certificate")
	}
}
