// images makes the container images of the programs, as OCI layouts, without a
// daemon: the same programs give the same images, to the byte. It builds no
// programs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/spf13/pflag"
)

// settings are the flags.
type settings struct {
	amd64, arm64, out, version, push string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	f := pflag.NewFlagSet("images", pflag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.amd64, "amd64", "", "`DIR` with the programs for amd64")
	f.StringVar(&s.arm64, "arm64", "", "`DIR` with the programs for arm64")
	f.StringVar(&s.out, "out", "build/images", "`DIR` for the OCI layouts and their SBOMs")
	f.StringVar(&s.version, "version", "unknown", "`VERSION` of the programs, for labels and tags")
	f.StringVar(&s.push, "push", "", "send them to `REGISTRY/PATH`, too, as PATH/tracer:VERSION and so on")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if err := s.all(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "images:", err)
		return 1
	}
	return 0
}

func (s *settings) all(ctx context.Context, stdout io.Writer) error {
	if s.amd64 == "" && s.arm64 == "" {
		return errors.New("neither --amd64 nor --arm64 is given")
	}
	for _, kind := range kinds() {
		index, err := s.index(kind)
		if err != nil {
			return fmt.Errorf("%s: %w", kind.program, err)
		}
		dir := filepath.Join(s.out, kind.program)
		if err := write(dir, index, s.version); err != nil {
			return fmt.Errorf("%s: %w", kind.program, err)
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s %s\n", dir, digest)
		if s.push == "" {
			continue
		}
		ref, err := name.ParseReference(s.push + "/" + kind.program + ":" + s.version)
		if err != nil {
			return err
		}
		if err := remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
			return fmt.Errorf("push %s: %w", ref, err)
		}
		fmt.Fprintf(stdout, "%s@%s\n", ref, digest)
	}
	return nil
}

// index has a program's images for the architectures. The SBOM of each is written
// beside.
func (s *settings) index(kind kind) (v1.ImageIndex, error) {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []struct{ name, dir string }{{"amd64", s.amd64}, {"arm64", s.arm64}} {
		if arch.dir == "" {
			continue
		}
		path := filepath.Join(arch.dir, kind.program)
		img, err := kind.image(path, arch.name, s.version)
		if err != nil {
			return nil, err
		}
		platform := &v1.Platform{OS: "linux", Architecture: arch.name}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
		text, err := sbom(path, kind.program, s.version)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(s.out, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(s.out, kind.program+"-"+arch.name+".spdx.json"), text, 0o644); err != nil { //nolint:gosec // it is for everybody to read
			return nil, err
		}
	}
	return index, nil
}

// write makes an OCI layout anew, in one step as far as a directory allows that.
func write(dir string, index v1.ImageIndex, version string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		// Only what this program wrote is removed.
		if !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "oci-layout" }) {
			return fmt.Errorf("%s is there and no OCI layout", dir)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": version}))
}
