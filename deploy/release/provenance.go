package main

import (
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	provenance "github.com/in-toto/attestation/go/predicates/provenance/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const repository = "https://github.com/sidearmor/sidearmor"

// provenance writes an in-toto statement with SLSA's provenance (https://slsa.dev/spec/v1.0/provenance):
// which commit, Go modules and compiler the subjects were made of. It is not signed: who builds signs it.
func (s *settings) provenance(path string, subjects []subject) error {
	parameters, err := structpb.NewStruct(map[string]any{"target": "release", "version": s.version})
	if err != nil {
		return err
	}
	materials, err := s.materials()
	if err != nil {
		return err
	}
	predicate := &provenance.Provenance{
		BuildDefinition: &provenance.BuildDefinition{
			BuildType:            repository + "/blob/main/Makefile",
			ExternalParameters:   parameters,
			ResolvedDependencies: materials,
		},
		RunDetails: &provenance.RunDetails{Builder: &provenance.Builder{Id: repository + "/blob/main/deploy/release"}},
	}
	if err := predicate.Validate(); err != nil {
		return err
	}
	statement := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: "https://slsa.dev/provenance/v1"}
	for _, s := range subjects {
		statement.Subject = append(statement.Subject, &intoto.ResourceDescriptor{Name: s.name, Digest: map[string]string{"sha256": s.sha256}})
	}
	if statement.Predicate, err = asStruct(predicate); err != nil {
		return err
	}
	if err := statement.Validate(); err != nil {
		return err
	}
	text, err := plain(statement)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644) //nolint:gosec // it is for everybody to read
}

func asStruct(m proto.Message) (*structpb.Struct, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, protojson.Unmarshal(text, s)
}

// plain is a message as JSON whose blanks are always the same, which protojson does not promise.
func plain(m proto.Message) ([]byte, error) {
	text, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, err
	}
	return json.MarshalIndent(object, "", "  ")
}

// materials are the commit, the compiler and the modules of all programs.
func (s *settings) materials() ([]*intoto.ResourceDescriptor, error) {
	all := []*intoto.ResourceDescriptor{{Uri: "git+" + repository, Digest: map[string]string{"gitCommit": s.commit}}}
	seen := map[string]string{}
	for _, dir := range []string{s.amd64, s.arm64} {
		if dir == "" {
			continue
		}
		for _, p := range programs {
			info, err := buildinfo.ReadFile(filepath.Join(dir, p))
			if err != nil {
				return nil, err
			}
			seen["pkg:golang/stdlib@"+strings.TrimPrefix(info.GoVersion, "go")] = ""
			for _, m := range info.Deps {
				if m.Replace != nil {
					m = m.Replace
				}
				seen["pkg:golang/"+m.Path+"@"+m.Version] = m.Sum
			}
		}
	}
	var uris []string
	for uri := range seen {
		uris = append(uris, uri)
	}
	slices.Sort(uris)
	for _, uri := range uris {
		d := &intoto.ResourceDescriptor{Uri: uri}
		if sum, ok := strings.CutPrefix(seen[uri], "h1:"); ok {
			raw, err := base64.StdEncoding.DecodeString(sum)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", uri, err)
			}
			d.Digest = map[string]string{"dirHash1": hex.EncodeToString(raw)} // as go.sum has it
		}
		all = append(all, d)
	}
	return all, nil
}

// imageDigests are those of the OCI layouts in a directory.
func imageDigests(dir string) ([]subject, error) {
	layouts, err := filepath.Glob(filepath.Join(dir, "*/index.json"))
	if err != nil || len(layouts) == 0 {
		return nil, fmt.Errorf("no OCI layouts in %s: %w", dir, errors.Join(err, os.ErrNotExist))
	}
	var all []subject
	for _, path := range layouts {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var index struct{ Manifests []struct{ Digest string } }
		if err := json.Unmarshal(body, &index); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, m := range index.Manifests {
			sum, ok := strings.CutPrefix(m.Digest, "sha256:")
			if !ok {
				return nil, fmt.Errorf("%s: digest %q", path, m.Digest)
			}
			all = append(all, subject{"image/" + filepath.Base(filepath.Dir(path)), sum})
		}
	}
	return all, nil
}
