package demo

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A sidekick with all the settings in grpc.md starts, and has the metrics there.
func TestGRPCDocument(t *testing.T) {
	text, dir := document(t, "grpc.md"), t.TempDir()
	settings := map[string]string{
		"GRPC_LISTEN": "127.0.0.1:0", "KUBEARMOR_GRPC": "127.0.0.1:9", "KUBEARMOR_GRPC_LOGS": "true", "KUBEARMOR_GRPC_TLS": "false",
		"KUBEARMOR_GRPC_CACERTFILE": "", "KUBEARMOR_GRPC_CERTFILE": "", "KUBEARMOR_GRPC_KEYFILE": "", "GRPC_POLICIES": "admin",
	}
	sameKeys(t, "grpc.md", table(t, text, "(?:GRPC|KUBEARMOR)_.*"), settings)
	env := environ(dir, "LISTENPORT=0", "QUEUE_DIR="+filepath.Join(dir, "queue"))
	for name, value := range settings {
		env = append(env, name+"="+value)
	}
	exist := metrics(t, startSidekick(t, env).Address)
	ours := regexp.MustCompile(`^sidearmor_(grpc|kubearmor_(connected|received))`)
	for name := range exist {
		if !ours.MatchString(name) {
			delete(exist, name)
		}
	}
	sameKeys(t, "grpc.md", table(t, text, "sidearmor_.*"), exist)
	for name := range table(t, document(t, "sidekick/configure.md"), "(?:GRPC|KUBEARMOR)_.*") {
		if _, ok := settings[name]; !ok || !strings.Contains(text, name) {
			t.Errorf("configure.md has %s, grpc.md does not", name)
		}
	}
}
