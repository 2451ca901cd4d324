package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Tokens of the sidekick in tests of policies.
const (
	postToken  = "post-token"
	adminToken = "admin-token"
)

// opener is a workload under the tracer that opens the files that it is told to.
type opener struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
}

// startOpener starts one that takes policies from the sidekick, and waits until it
// runs.
func startOpener(t *testing.T, s *sidekick, env ...string) *opener {
	t.Helper()
	cmd := exec.Command(binary(t, "tracer"), "run", "--sidekick-policies", "--log-level=info", "--", "/bin/sh", "-c",
		`while read -r file; do if cat "$file" >/dev/null 2>&1; then echo opened; else echo denied; fi; done`)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SIDEKICK_URL=" + s.url(), "SIDEKICK_TOKEN=" + postToken, "CONTAINER_NAME=shop", "POD_LABELS=app=shop"}
	cmd.Env = append(cmd.Env, env...)
	if engine := os.Getenv(engineVariable); engine != "" {
		cmd.Env = append(cmd.Env, engineVariable+"="+engine)
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "tracer.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &opener{t: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close() // the shell ends with its input
		if err := cmd.Wait(); err != nil {
			t.Errorf("the tracer ended with %v", err)
		}
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the tracer's log:\n%s", text)
		}
	})
	return o
}

// opens has the workload open a file, and says whether it could.
func (o *opener) opens(file string) bool {
	o.t.Helper()
	if _, err := fmt.Fprintln(o.in, file); err != nil {
		o.t.Fatal(err)
	}
	answer, err := o.out.ReadString('\n')
	if err != nil {
		o.t.Fatal(err)
	}
	return answer == "opened\n"
}

// until has the workload open a file until it can, or cannot.
func (o *opener) until(file string, opens bool) {
	o.t.Helper()
	eventually(o.t, func() (bool, string) {
		return o.opens(file) == opens, fmt.Sprintf("whether the workload can open %s is still %v", file, !opens)
	})
}

// blockFile is a policy that denies a file to the workload.
func blockFile(name, file string) string {
	return fmt.Sprintf("apiVersion: security.kubearmor.com/v1\nkind: KubeArmorPolicy\nmetadata:\n  name: %s\nspec:\n  severity: 7\n  selector:\n    matchLabels:\n      app: shop\n  file:\n    matchPaths:\n    - path: %s\n  action: Block\n", name, file)
}

// admin asks the sidekick as an admin.
func admin(t *testing.T, s *sidekick, method, path, body string, want int) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.url()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		t.Fatalf("%s %s: %s %s, %v, want %d", method, path, response.Status, text, err, want)
	}
	return text
}

// listed is what the tests read of GET /policies.
type listed struct {
	Generation uint64
	Tracers    []struct {
		Connected, Current, Proven bool
		Policies                   []struct {
			Name, Mode          string
			Selects             bool
			Denied, WouldDenied uint64
		}
	}
}

func list(t *testing.T, s *sidekick) (l listed) {
	t.Helper()
	text := strings.ReplaceAll(string(admin(t, s, http.MethodGet, "policies", "", 200)), "would_denied", "wouldDenied")
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// awaitTracer waits until one tracer has in force what the sidekick has.
func awaitTracer(t *testing.T, s *sidekick) {
	t.Helper()
	eventually(t, func() (bool, string) {
		l := list(t, s)
		return len(l.Tracers) == 1 && l.Tracers[0].Connected && l.Tracers[0].Current && l.Tracers[0].Proven, fmt.Sprintf("the tracer is not up to date: %+v", l)
	})
}

// source is a way by which policies come to the sidekick.
type source struct {
	env      []string
	apply    func(t *testing.T, s *sidekick, name, text string)
	withdraw func(t *testing.T, s *sidekick, name, text string)
}

func sources(t *testing.T) map[string]source {
	t.Helper()
	dir := t.TempDir()
	return map[string]source{
		"directory": {
			env: []string{"POLICIES_DIRECTORY=" + dir},
			apply: func(t *testing.T, _ *sidekick, name, text string) {
				if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			withdraw: func(t *testing.T, _ *sidekick, name, _ string) {
				if err := os.Remove(filepath.Join(dir, name+".yaml")); err != nil {
					t.Fatal(err)
				}
			},
		},
		"gRPC": karmor(t),
		"HTTP": {
			apply: func(t *testing.T, s *sidekick, name, text string) {
				admin(t, s, http.MethodPut, "policies/KubeArmorPolicy/"+name, text, 201)
			},
			withdraw: func(t *testing.T, s *sidekick, name, _ string) {
				admin(t, s, http.MethodDelete, "policies/ksp/"+name, "", 200)
			},
		},
	}
}

// karmor sends policies as `karmor vm policy add` and `delete` do: YAML made JSON, over
// gRPC without TLS and without a token.
func karmor(t *testing.T) source {
	t.Helper()
	address := "127.0.0.1:" + freePort(t)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	send := func(t *testing.T, kind, text string, want pb.PolicyStatus) {
		t.Helper()
		var object struct {
			Metadata map[string]any `yaml:"metadata" json:"metadata"`
			Spec     map[string]any `yaml:"spec" json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(text), &object); err != nil {
			t.Fatal(err)
		}
		event, err := json.Marshal(map[string]any{"type": kind, "object": object})
		if err != nil {
			t.Fatal(err)
		}
		got, err := pb.NewPolicyServiceClient(conn).ContainerPolicy(t.Context(), &pb.Policy{Policy: event}, grpc.WaitForReady(true))
		if err != nil || got.GetStatus() != want {
			t.Fatalf("%s: %v, %v, want %v", kind, got.GetStatus(), err, want)
		}
	}
	return source{
		env:      []string{"GRPC_LISTEN=" + address, "GRPC_POLICIES=open"},
		apply:    func(t *testing.T, _ *sidekick, _, text string) { send(t, "ADDED", text, pb.PolicyStatus_Applied) },
		withdraw: func(t *testing.T, _ *sidekick, _, text string) { send(t, "DELETED", text, pb.PolicyStatus_Deleted) },
	}
}

// A policy is applied, the next open of the workload that runs is denied and Slack is
// told. It is withdrawn, and the open succeeds. Whatever becomes of the sidekick in
// between, nothing opens.
func TestPoliciesReachARunningWorkload(t *testing.T) {
	for name, from := range sources(t) {
		t.Run(name, func(t *testing.T) {
			slack := newChat(t, 200)
			s := startSidekick(t, append(from.env, "SLACK_WEBHOOKURL="+slack.URL, "DIGEST_WINDOW=0", "AUTH_TOKEN="+postToken, "AUTH_TOKEN_ADMIN="+adminToken)...)
			secret := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
				t.Fatal(err)
			}
			o := startOpener(t, s)
			if !o.opens(secret) {
				t.Fatal("the file is denied before there is a policy")
			}
			policy := blockFile("block-secret", secret)
			from.apply(t, s, "block-secret", policy)
			o.until(secret, false)
			eventually(t, func() (bool, string) {
				got := slack.received()
				return len(got) > 0 && contains(got[0], "block-secret", "secret", "Block"), fmt.Sprintf("Slack has %d messages", len(got))
			})
			awaitTracer(t, s)

			s.kill()
			if o.opens(secret) {
				t.Error("the file opens when the sidekick is killed")
			}
			s.start()
			awaitTracer(t, s)
			if o.opens(secret) {
				t.Error("the file opens when the sidekick has been started again")
			}
			from.withdraw(t, s, "block-secret", policy)
			o.until(secret, true)
		})
	}
}

// The same, from one source, where calls are held by ptrace.
func TestPoliciesReachAWorkloadOnPtrace(t *testing.T) {
	t.Setenv(engineVariable, "ptrace")
	s := startSidekick(t, "AUTH_TOKEN="+postToken, "AUTH_TOKEN_ADMIN="+adminToken)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := startOpener(t, s)
	if !o.opens(secret) {
		t.Fatal("the file is denied before there is a policy")
	}
	admin(t, s, http.MethodPut, "policies/ksp/p", blockFile("p", secret), 201)
	o.until(secret, false)
	admin(t, s, http.MethodDelete, "policies/ksp/p", "", 200)
	o.until(secret, true)
}

// A version that only watches lets pass what it would deny, says so, and is counted.
func TestPolicyThatWatches(t *testing.T) {
	slack := newChat(t, 200)
	s := startSidekick(t, "SLACK_WEBHOOKURL="+slack.URL, "DIGEST_WINDOW=0", "AUTH_TOKEN="+postToken, "AUTH_TOKEN_ADMIN="+adminToken)
	old, next := filepath.Join(t.TempDir(), "old"), filepath.Join(t.TempDir(), "next")
	for _, f := range []string{old, next} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := startOpener(t, s)
	admin(t, s, http.MethodPut, "policies/ksp/p", blockFile("p", old), 201)
	o.until(old, false)
	admin(t, s, http.MethodPut, "policies/ksp/p?mode=watch", blockFile("p", next), 201)
	awaitTracer(t, s)
	if o.opens(old) || !o.opens(next) {
		t.Error("the version that watches decides")
	}
	eventually(t, func() (bool, string) {
		got := strings.Join(slack.received(), "\n")
		return strings.Contains(got, "would be blocked"), got
	})
	eventually(t, func() (bool, string) {
		l := list(t, s)
		for _, p := range l.Tracers[0].Policies {
			if p.Mode == "audited" && p.WouldDenied > 0 {
				return true, ""
			}
		}
		return false, fmt.Sprintf("it is not counted: %+v", l)
	})
	admin(t, s, http.MethodPut, "policies/ksp/p", blockFile("p", next), 200)
	o.until(next, false)
	o.until(old, true)
}

// Who stands at the sidekick's port first, and does not know the token, learns nothing
// and decides nothing.
func TestImpostor(t *testing.T) {
	s := startSidekick(t, "AUTH_TOKEN="+postToken, "AUTH_TOKEN_ADMIN="+adminToken)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	admin(t, s, http.MethodPut, "policies/ksp/p", blockFile("p", secret), 201)
	o := startOpener(t, s)
	if o.opens(secret) {
		t.Error("what is configured before the start is not in force at the start")
	}
	awaitTracer(t, s)
	s.kill()
	impostor := newImpostor(t, s.port)
	eventually(t, func() (bool, string) { return impostor.asked() > 2, "the tracer does not ask for a proof" })
	if o.opens(secret) {
		t.Error("the file opens for whom the impostor says so")
	}
	impostor.close()
	if learned := impostor.learned(); strings.Contains(learned, postToken) {
		t.Errorf("the impostor has learned the token:\n%s", learned)
	}
	s.start()
	awaitTracer(t, s)
	if o.opens(secret) {
		t.Error("the file opens when the sidekick is back")
	}
}
