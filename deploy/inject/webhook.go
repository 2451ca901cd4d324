package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// webhookFlags are those of `inject webhook`.
type webhookFlags struct {
	eksFlags
	listen, cert, key, onError string
	kubeconfig                 string
	exec                       bool
	managed, service           string
}

func (w *webhookFlags) register(f *pflag.FlagSet) {
	f.StringVar(&w.listen, "listen", ":8443", "`ADDRESS` to listen at")
	f.StringVar(&w.cert, "tls-cert", "/etc/certs/tls.crt", "`FILE` with the certificate, read again when it changes")
	f.StringVar(&w.key, "tls-key", "/etc/certs/tls.key", "`FILE` with its key")
	f.StringVar(&w.managed, "self-managed", "", "make and rotate certificates for the MutatingWebhookConfiguration `NAME`, instead")
	f.StringVar(&w.service, "service", "", "`NAME.NAMESPACE` of the service, for --self-managed")
	f.StringVar(&w.onError, "on-error", "refuse", "what becomes of a pod that cannot be injected: `refuse or admit`, with a warning")
	f.BoolVar(&w.exec, "exec", true, "answer for pods/exec too: what kubectl exec starts runs under the tracer")
	f.StringVar(&w.kubeconfig, "kubeconfig", "", "`FILE` to reach the API server by (default: as a pod does)")
	w.eksFlags.register(f)
	for _, name := range []string{"remove", "diff", "explain"} {
		_ = f.MarkHidden(name)
	}
}

func runWebhook(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var w webhookFlags
	f := pflag.NewFlagSet("webhook", pflag.ContinueOnError)
	w.register(f)
	if extra, err := parse(f, args, stdout, "webhook"); err != nil {
		return err
	} else if extra != "" {
		return fmt.Errorf("%q: no argument is wanted: %w", extra, errUsage)
	}
	if w.onError != "refuse" && w.onError != "admit" {
		return fmt.Errorf("--on-error %s is neither refuse nor admit: %w", w.onError, errUsage)
	}
	if err := w.complete(); err != nil {
		return err
	}
	// The API server waits 10 s for an answer.
	w.options.Commands.Images.Timeout = 8 * time.Second
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	hook := &webhook{options: w.options, admit: w.onError == "admit", log: log}
	config, err := w.client()
	if err != nil {
		return err
	}
	if w.exec {
		client, err := corev1client.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("reach the API server: %w", err)
		}
		hook.pods = func(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
			return client.Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	certificate := files{cert: w.cert, key: w.key}.certificate
	if w.managed != "" {
		m, err := newManaged(config, w.managed, w.service, log)
		if err != nil {
			return err
		}
		if err := m.renew(ctx); err != nil {
			return err
		}
		certificate = m.certificate
		group.Go(func() error { return m.run(ctx) })
	} else if _, err := certificate(nil); err != nil {
		return err
	}
	group.Go(func() error { return serve(ctx, w.listen, hook.handler(), certificate, log) })
	return group.Wait()
}

// client reaches the API server, which is wanted for pods/exec and for
// certificates.
func (w *webhookFlags) client() (*rest.Config, error) {
	if !w.exec && w.managed == "" {
		return nil, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", w.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w; --exec=false needs none", err)
	}
	return config, nil
}

// stopping is how long requests may take after the end was asked for.
const stopping = 10 * time.Second

// serve answers until the context ends, and then lets requests end.
func serve(ctx context.Context, address string, h http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 40 * time.Second, IdleTimeout: 2 * time.Minute,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate},
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	log.Info("listening", "address", l.Addr().String(), "version", version)
	done := make(chan error, 1)
	go func() { done <- server.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopping)
	defer cancel()
	err = server.Shutdown(end)
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
