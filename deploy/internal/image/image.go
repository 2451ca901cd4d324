// Package image says what a container image runs: its ENTRYPOINT, CMD, user and
// working directory, read from a registry, an OCI layout or a tarball. It makes
// no images and guesses nothing.
package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Config is what a container of an image runs when nobody says otherwise.
type Config struct {
	Entrypoint []string `json:"e,omitempty"`
	Cmd        []string `json:"c,omitempty"`
	User       string   `json:"u,omitempty"`
	Directory  string   `json:"d,omitempty"`
	OS         string   `json:"o,omitempty"`
}

// ErrOffline is the error for an image that is in no file and may not be asked
// for.
var ErrOffline = errors.New("no registry is asked")

// Images reads images. The zero value asks registries.
type Images struct {
	// Local has files instead of registries, by the image's name: a directory is
	// an OCI layout, a file a tarball as `docker save` writes it.
	Local map[string]string
	// Offline asks no registry.
	Offline bool
	// Timeout is for one image, 30 s if it is 0.
	Timeout time.Duration

	mu    sync.Mutex
	known map[string]Config
}

// Config reads the image called ref for an architecture of Linux: amd64 or arm64.
func (s *Images) Config(ctx context.Context, ref, arch string) (Config, error) {
	s.mu.Lock()
	c, ok := s.known[ref+" "+arch]
	s.mu.Unlock()
	if ok {
		return c, nil
	}
	img, err := s.open(ctx, ref, v1.Platform{OS: "linux", Architecture: arch})
	if err != nil {
		return Config{}, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return Config{}, fmt.Errorf("image %s: %w", ref, err)
	}
	c = Config{
		Entrypoint: file.Config.Entrypoint, Cmd: file.Config.Cmd,
		User: file.Config.User, Directory: file.Config.WorkingDir, OS: file.OS,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = map[string]Config{}
	}
	s.known[ref+" "+arch] = c
	return c, nil
}

func (s *Images) open(ctx context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	if path, ok := s.Local[ref]; ok {
		return local(path, platform)
	}
	if ref == "" {
		return nil, errors.New("no image is named here")
	}
	if strings.ContainsAny(ref, "${}<>") {
		return nil, fmt.Errorf("image %s is not known yet", ref)
	}
	r, err := name.ParseReference(ref)
	if err != nil {
		return nil, err
	}
	if s.Offline {
		return nil, fmt.Errorf("image %s: %w", ref, ErrOffline)
	}
	timeout := s.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	img, err := remote.Image(r, remote.WithContext(ctx), remote.WithPlatform(platform), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	// The configuration is read here, while the context lives.
	if _, err := img.RawConfigFile(); err != nil {
		return nil, fmt.Errorf("image %s: %w", ref, err)
	}
	return img, nil
}

func local(path string, platform v1.Platform) (v1.Image, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		img, err := tarball.ImageFromPath(path, nil)
		if err != nil {
			return nil, fmt.Errorf("image in %s: %w", path, err)
		}
		return img, nil
	}
	index, err := layout.ImageIndexFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	img, err := choose(index, platform)
	if err != nil {
		return nil, fmt.Errorf("OCI layout %s: %w", filepath.Clean(path), err)
	}
	return img, nil
}

// choose finds the image for a platform in an index of images and indexes.
func choose(index v1.ImageIndex, platform v1.Platform) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, err
			}
			if img, err := choose(inner, platform); err == nil {
				return img, nil
			}
			continue
		}
		if !d.MediaType.IsImage() || d.Platform != nil && !d.Platform.Satisfies(platform) {
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		// Without a platform in the index the image's own counts.
		if c, err := img.ConfigFile(); err != nil || d.Platform == nil && c.Architecture != "" && c.Architecture != platform.Architecture {
			continue
		}
		return img, nil
	}
	return nil, fmt.Errorf("no image for %s/%s", platform.OS, platform.Architecture)
}
