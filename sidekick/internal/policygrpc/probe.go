package policygrpc

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	pb "github.com/kubearmor/KubeArmor/protobuf"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/emptypb"

	spolicy "github.com/sidearmor/sidearmor/schema/policy"
	"github.com/sidearmor/sidearmor/schema/policystream"
	"github.com/sidearmor/sidearmor/sidekick/internal/policies"
)

// Whether policies of a container are enforced (KubeArmor types/types.go).
const (
	policyDisabled = 0
	policyEnabled  = 1
	policyAudited  = 2
)

// GetProbeData implements pb.ProbeServiceServer: the containers of all tracers, and
// the policies that select each.
func (s *service) GetProbeData(ctx context.Context, _ *emptypb.Empty) (*pb.ProbeResponse, error) {
	if err := s.admit(ctx); err != nil {
		return nil, err
	}
	texts := s.texts()
	containers := map[string]*pb.ContainerData{}
	for _, t := range s.Tracers() {
		name := t.Tracer.Container
		one := containers[name]
		if one == nil {
			one = &pb.ContainerData{}
			containers[name] = one
		}
		add(one, t.Policies, texts)
	}
	return &pb.ProbeResponse{ContainerList: slices.Sorted(maps.Keys(containers)), ContainerMap: containers}, nil
}

// add adds the policies that select a container.
func add(to *pb.ContainerData, all []policystream.Selected, texts map[policies.Key]string) {
	enabled := int32(policyDisabled)
	for _, p := range all {
		if !p.Selects || slices.Contains(to.PolicyList, p.Name) {
			continue
		}
		k := policies.Key{Kind: p.Kind, Namespace: p.Namespace, Name: p.Name, Watches: p.Mode == spolicy.ModeAudited}
		switch {
		case p.Mode == spolicy.ModeEnabled:
			enabled = policyEnabled
		case k.Watches && enabled == policyDisabled:
			enabled = policyAudited
		}
		to.PolicyList = append(to.PolicyList, p.Name)
		to.PolicyDataList = append(to.PolicyDataList, &pb.Policy{Policy: data(k, texts[k])})
	}
	if len(to.PolicyList) == 0 {
		enabled = policyEnabled // as KubeArmor says of a container without policies
	}
	to.PolicyEnabled = max(to.PolicyEnabled, enabled)
}

// texts gives the texts of the policies that count.
func (s *service) texts() map[policies.Key]string {
	texts := map[policies.Key]string{}
	snapshot := s.Hub.Snapshot()
	for i := range snapshot.Sources {
		for j := range snapshot.Sources[i].Policies {
			p := &snapshot.Sources[i].Policies[j]
			texts[policies.KeyOf(&p.Document)] = p.Text.Body
		}
	}
	return texts
}

// data writes a policy as KubeArmor does (types/types.go, SecurityPolicy).
func data(k policies.Key, text string) []byte {
	var policy struct {
		Spec any `yaml:"spec"`
	}
	if err := yaml.NewDecoder(strings.NewReader(text)).Decode(&policy); err != nil {
		policy.Spec = nil // one that this tracer has from elsewhere
	}
	out, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"namespaceName": k.Namespace, "policyName": k.Name},
		"spec":     policy.Spec,
	})
	if err != nil {
		return nil // of keys that are no text, which no policy has
	}
	return out
}
