// Package policygrpc is policies over gRPC as KubeArmor speaks it: `karmor vm policy
// add`, `delete` and `get`. What is in force is decided in package policies.
package policygrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// MaxRequest bounds one request: a policy as the parser takes it, and what is around
// it.
const MaxRequest = 1<<20 + 64<<10

// Options are what the services work with. Tracers, Own, Hub and Log are needed.
type Options struct {
	Hub     *policies.Hub
	Own     *policies.Pushed             // what is sent to these services
	Tracers func() []policystream.Status // what tracers said last
	// Authorized says why a client may not change or see policies, that shows these
	// authorization headers; nil when everybody may.
	Authorized func(shown []string) error
	Strict     bool // what KubeArmor would pass over is an error
	Log        *slog.Logger
}

// Register adds KubeArmor's PolicyService and ProbeService to a server.
func Register(to grpc.ServiceRegistrar, o Options) {
	s := &service{Options: o}
	pb.RegisterPolicyServiceServer(to, s)
	pb.RegisterProbeServiceServer(to, s)
}

type service struct {
	pb.UnimplementedPolicyServiceServer
	pb.UnimplementedProbeServiceServer
	Options
}

// admit refuses who may not.
func (s *service) admit(ctx context.Context) error {
	if s.Authorized == nil {
		return nil
	}
	if err := s.Authorized(metadata.ValueFromIncomingContext(ctx, "authorization")); err != nil {
		s.Log.Warn("a client of the gRPC service may not change or see policies", "error", err)
		return status.Error(codes.PermissionDenied, err.Error())
	}
	return nil
}

// HostPolicy implements pb.PolicyServiceServer: a workload owns no host.
func (s *service) HostPolicy(ctx context.Context, _ *pb.Policy) (*pb.Response, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	return &pb.Response{Status: pb.PolicyStatus_NotEnabled}, nil
}

// ContainerPolicy implements pb.PolicyServiceServer.
func (s *service) ContainerPolicy(ctx context.Context, in *pb.Policy) (*pb.Response, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	result, err := s.change(in.GetPolicy())
	if err != nil {
		s.Log.Error("a policy from a client of the gRPC service is not taken", "status", result.String(), "error", err)
	}
	return &pb.Response{Status: result}, nil
}

// event is what clients send (KubeArmor types/types.go, K8sKubeArmorPolicyEvent).
type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// change does what an event says. With an error, the status says what kind it is of.
func (s *service) change(text []byte) (pb.PolicyStatus, error) {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return pb.PolicyStatus_Invalid, fmt.Errorf("not an event: %w", err)
	}
	if e.Type == "DELETED" {
		return s.delete(e.Object)
	}
	if e.Type != "ADDED" && e.Type != "MODIFIED" {
		return pb.PolicyStatus_Invalid, fmt.Errorf("type %q is not ADDED, MODIFIED or DELETED", e.Type)
	}
	p, err := s.read(e.Object)
	if err != nil {
		return pb.PolicyStatus_Invalid, err
	}
	result := pb.PolicyStatus_Applied
	err = s.Own.Update(func(texts map[policies.Key]policies.Text) error {
		for watches, k := range both(policies.KeyOf(&p.Document)) {
			if _, was := texts[k]; was {
				result = pb.PolicyStatus_Modified
			}
			if watches != (p.Mode == spolicy.Watch) { // an annotation has come or gone
				delete(texts, k)
			}
		}
		texts[policies.KeyOf(&p.Document)] = s.Own.Text(p)
		return nil
	})
	if err != nil {
		return pb.PolicyStatus_Failure, err
	}
	return result, nil
}

// both gives the keys of a policy that enforces, and that watches.
func both(k policies.Key) map[bool]policies.Key {
	enforces, watches := k, k
	enforces.Watches, watches.Watches = false, true
	return map[bool]policies.Key{false: enforces, true: watches}
}

// read reads the policy of an event, which has neither kind nor version.
func (s *service) read(object json.RawMessage) (*policies.Policy, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, fmt.Errorf("not a policy: %w", err)
	}
	fields["apiVersion"] = json.RawMessage(`"security.kubearmor.com/v1"`)
	fields["kind"] = json.RawMessage(`"` + spolicy.KindPolicy + `"`)
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ") // so that lines mean something
	if err := enc.Encode(fields); err != nil {
		return nil, fmt.Errorf("not a policy: %w", err)
	}
	read, err := policies.Read(policies.Text{Place: "policy", Body: text.String()}, s.Strict)
	if err != nil {
		return nil, err
	}
	if len(read) != 1 {
		return nil, errors.New("there is no policy")
	}
	if sel := read[0].Selector; len(sel.Labels) == 0 && sel.Containers.String() == "[]" {
		return nil, fmt.Errorf("policy %s: KubeArmor asks for matchLabels off Kubernetes: select a container by %s, or a label", read[0].Name, spolicy.ContainerNameLabel)
	}
	return &read[0], nil
}

// delete takes a policy away, of which only the name counts.
func (s *service) delete(object json.RawMessage) (pb.PolicyStatus, error) {
	var named struct {
		Metadata struct{ Name, Namespace string } `json:"metadata"`
	}
	if err := json.Unmarshal(object, &named); err != nil || named.Metadata.Name == "" {
		return pb.PolicyStatus_Invalid, errors.New("there is no metadata.name")
	}
	result := pb.PolicyStatus_NotExist
	err := s.Own.Update(func(texts map[policies.Key]policies.Text) error {
		for _, k := range both(policies.Key{Kind: spolicy.KindPolicy, Namespace: named.Metadata.Namespace, Name: named.Metadata.Name}) {
			if _, was := texts[k]; was {
				result = pb.PolicyStatus_Deleted
				delete(texts, k)
			}
		}
		return nil
	})
	if err != nil {
		return pb.PolicyStatus_Failure, err
	}
	return result, nil
}
