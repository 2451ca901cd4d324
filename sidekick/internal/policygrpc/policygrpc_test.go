package policygrpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// karmor is a client of a server of policies.
type karmor struct {
	t      *testing.T
	hub    *policies.Hub
	policy pb.PolicyServiceClient
	probe  pb.ProbeServiceClient
}

// serve serves what is kept in a directory, to a client without TLS, as karmor is.
func serve(t *testing.T, dir string, change ...func(*Options)) *karmor {
	t.Helper()
	own, err := policies.OpenPushed("grpc", dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	k := &karmor{t: t, hub: policies.New(policies.Options{Sources: []policies.Source{own}, Log: log})}
	o := Options{Hub: k.hub, Own: own, Tracers: func() []policystream.Status { return nil }, Log: log}
	for _, c := range change {
		c(&o)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(MaxRequest))
	Register(server, o)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { k.hub.Run(ctx) })
	running.Go(func() { _ = server.Serve(l) }) // ends with Stop
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); server.Stop(); cancel(); running.Wait() })
	k.policy, k.probe = pb.NewPolicyServiceClient(conn), pb.NewProbeServiceClient(conn)
	return k
}

// send sends an event as karmor does, and checks the status.
func (k *karmor) send(kind, object string, want pb.PolicyStatus) {
	k.t.Helper()
	got, err := k.policy.ContainerPolicy(k.t.Context(), &pb.Policy{Policy: fmt.Appendf(nil, `{"type":%q,"object":%s}`, kind, object)})
	if err != nil || got.GetStatus() != want {
		k.t.Errorf("%s %s: %v, %v, want %v", kind, object, got.GetStatus(), err, want)
	}
}

// have checks which paths are blocked.
func (k *karmor) have(want ...string) {
	k.t.Helper()
	got := []string{}
	for _, p := range k.hub.Snapshot().Sources[0].Policies {
		got = append(got, p.File[0].Path)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		k.t.Errorf("there are %v, want %v", got, want)
	}
}

func object(name, path string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q},"spec":{"selector":{"matchLabels":{"kubearmor.io/container.name":"shop"}},"file":{"matchPaths":[{"path":%q}]},"action":"Block"}}`, name, path)
}

func TestStatuses(t *testing.T) {
	k := serve(t, t.TempDir())
	k.send("ADDED", object("a", "/1"), pb.PolicyStatus_Applied)
	k.have("/1")
	k.send("ADDED", object("a", "/2"), pb.PolicyStatus_Modified)
	k.send("MODIFIED", object("a", "/3"), pb.PolicyStatus_Modified)
	k.have("/3")
	k.send("ADDED", object("b", "/b"), pb.PolicyStatus_Applied)
	k.have("/3", "/b")
	k.send("DELETED", object("a", "/3"), pb.PolicyStatus_Deleted)
	k.send("DELETED", object("a", "/3"), pb.PolicyStatus_NotExist)
	k.have("/b")
	for name, text := range map[string]string{
		"no name":        `{"metadata":{},"spec":{"selector":{"matchLabels":{"a":"b"}}}}`,
		"no matchLabels": `{"metadata":{"name":"x"},"spec":{"file":{"matchPaths":[{"path":"/1"}]}}}`,
		"a wrong rule":   strings.Replace(object("b", "relative"), "Block", "Deny", 1),
		"no object":      `1`,
	} {
		t.Log(name)
		k.send("ADDED", text, pb.PolicyStatus_Invalid)
	}
	k.send("DELETED", `{}`, pb.PolicyStatus_Invalid)
	k.send("RENAMED", object("b", "/b"), pb.PolicyStatus_Invalid)
	k.have("/b")
	host, err := k.policy.HostPolicy(t.Context(), &pb.Policy{Policy: []byte(`{"type":"ADDED","object":` + object("h", "/1") + `}`)})
	if err != nil || host.GetStatus() != pb.PolicyStatus_NotEnabled {
		t.Errorf("a host policy: %v, %v", host, err)
	}
}

func TestKept(t *testing.T) {
	dir := t.TempDir()
	serve(t, dir).send("ADDED", object("a", "/1"), pb.PolicyStatus_Applied)
	k := serve(t, dir)
	k.send("ADDED", object("b", "/2"), pb.PolicyStatus_Applied)
	k.have("/1", "/2")
	k.send("DELETED", object("a", "/1"), pb.PolicyStatus_Deleted)
	k.have("/2")
}

func TestNowhereToKeep(t *testing.T) {
	serve(t, "").send("ADDED", object("a", "/1"), pb.PolicyStatus_Failure)
}

func TestProbe(t *testing.T) {
	k := serve(t, t.TempDir(), func(o *Options) {
		o.Tracers = func() []policystream.Status {
			return []policystream.Status{
				{Tracer: policystream.Tracer{Container: "shop"}, Policies: []policystream.Selected{
					{Kind: "KubeArmorPolicy", Name: "a", Mode: "enabled", Selects: true}, {Kind: "KubeArmorPolicy", Name: "other", Mode: "enabled"},
				}},
				{Tracer: policystream.Tracer{Container: "db"}},
			}
		}
	})
	k.send("ADDED", object("a", "/1"), pb.PolicyStatus_Applied)
	got, err := k.probe.GetProbeData(t.Context(), &emptypb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if list := got.GetContainerList(); fmt.Sprint(list) != "[db shop]" {
		t.Errorf("containers %v", list)
	}
	shop := got.GetContainerMap()["shop"]
	if fmt.Sprint(shop.GetPolicyList()) != "[a]" || shop.GetPolicyEnabled() != policyEnabled || len(shop.GetPolicyDataList()) != 1 {
		t.Fatalf("%v", shop)
	}
	var data struct {
		Metadata struct{ PolicyName string }
		Spec     struct {
			File struct{ MatchPaths []struct{ Path string } }
		}
	}
	if err := json.Unmarshal(shop.GetPolicyDataList()[0].GetPolicy(), &data); err != nil || data.Metadata.PolicyName != "a" || data.Spec.File.MatchPaths[0].Path != "/1" {
		t.Errorf("%s, %v", shop.GetPolicyDataList()[0].GetPolicy(), err)
	}
}

func TestWhoMay(t *testing.T) {
	k := serve(t, t.TempDir(), func(o *Options) {
		o.Authorized = func(shown []string) error {
			if len(shown) == 1 && shown[0] == "Bearer admin" {
				return nil
			}
			return errors.New("not you")
		}
	})
	event := &pb.Policy{Policy: []byte(`{"type":"ADDED","object":` + object("a", "/1") + `}`)}
	_, err := k.policy.ContainerPolicy(t.Context(), event)
	_, hostErr := k.policy.HostPolicy(t.Context(), event)
	_, probeErr := k.probe.GetProbeData(t.Context(), &emptypb.Empty{})
	for _, err := range []error{err, hostErr, probeErr} {
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "not you") {
			t.Errorf("%v", err)
		}
	}
	k.have()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer admin")
	if got, err := k.policy.ContainerPolicy(ctx, event); err != nil || got.GetStatus() != pb.PolicyStatus_Applied {
		t.Errorf("%v, %v", got, err)
	}
}
