package kubernetes

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// serviceAccountNamespace is where a pod finds the namespace of its service account.
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// load finds the cluster, and the namespace that goes with it.
func load(kubeconfig string) (*rest.Config, string, error) {
	if kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, "", fmt.Errorf("policies from Kubernetes: this is no pod with a service account, and no kubeconfig is given: %w", err)
		}
		namespace, err := os.ReadFile(serviceAccountNamespace)
		if err != nil {
			return nil, "", fmt.Errorf("policies from Kubernetes: %w", err)
		}
		return config, strings.TrimSpace(string(namespace)), nil
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(&clientcmd.ClientConfigLoadingRules{ExplicitPath: kubeconfig}, &clientcmd.ConfigOverrides{})
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", fmt.Errorf("policies from Kubernetes: kubeconfig %s: %w", kubeconfig, err)
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("policies from Kubernetes: kubeconfig %s: %w", kubeconfig, err)
	}
	return config, namespace, nil
}

// LogTo has client-go write what it has no better log for to log. It knows of one for
// the whole process only: this is called once, before sources are made.
func LogTo(log *slog.Logger) { klog.SetSlogLogger(slog.New(quiet{log.Handler()})) }

// quiet is a handler for which what would be told is not worth it.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return q.Handler.Enabled(ctx, lower(level))
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lower(r.Level)
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

// lower makes of what client-go tells of its course what it is here.
func lower(level slog.Level) slog.Level {
	if level >= slog.LevelWarn {
		return level
	}
	return min(level, slog.LevelDebug)
}

func connect(config *rest.Config) (dynamic.Interface, error) {
	config.UserAgent = "sidearmor-sidekick"
	config.WarningHandler = rest.NoWarnings{} // to standard error
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("policies from Kubernetes: %w", err)
	}
	return client, nil
}
