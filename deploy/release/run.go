// release makes what a release consists of, of programs and images that are built:
// archives, Debian packages, checksums, and a statement of where all that comes from.
// The same programs give the same files, to the byte.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// settings are the flags.
type settings struct {
	amd64, arm64, images, root, out string
	version, commit                 string
	epoch                           int64
}

// programs are what a release has for each architecture.
var programs = []string{"tracer", "sidekick", "inject"} //nolint:gochecknoglobals // a list that nobody changes

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var s settings
	f := pflag.NewFlagSet("release", pflag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.amd64, "amd64", "", "`DIR` with the programs for amd64")
	f.StringVar(&s.arm64, "arm64", "", "`DIR` with the programs for arm64")
	f.StringVar(&s.images, "images", "", "`DIR` with OCI layouts, which the provenance is about, too")
	f.StringVar(&s.root, "root", ".", "`DIR` of the repository, for the license and the policies")
	f.StringVar(&s.out, "out", "build/release", "`DIR` for the result; what is in it already is replaced")
	f.StringVar(&s.version, "version", "", "`VERSION` of the release")
	f.StringVar(&s.commit, "commit", "", "the git commit, in `HEX`")
	f.Int64Var(&s.epoch, "epoch", 0, "time of all files, in `SECONDS`: that of the commit")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if err := s.all(ctx, stdout); err != nil {
		fmt.Fprintln(stderr, "release:", err)
		return 1
	}
	return 0
}

var commits = regexp.MustCompile(`^[0-9a-f]{40}$`)

func (s *settings) all(ctx context.Context, stdout io.Writer) error {
	switch {
	case s.amd64 == "" && s.arm64 == "":
		return errors.New("neither --amd64 nor --arm64 is given")
	case s.version == "" || strings.ContainsAny(s.version, "/ \n"):
		return fmt.Errorf("--version %q is no version", s.version)
	case !commits.MatchString(s.commit):
		return fmt.Errorf("--commit %q is no commit of git: 40 digits are wanted", s.commit)
	}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return err
	}
	made, err := s.files(ctx)
	if err != nil {
		return err
	}
	subjects, err := digests(s.out, made)
	if err != nil {
		return err
	}
	if s.images != "" {
		images, err := imageDigests(s.images)
		if err != nil {
			return err
		}
		subjects = append(subjects, images...)
	}
	name := "sidearmor_" + s.version + ".intoto.json"
	if err := s.provenance(filepath.Join(s.out, name), subjects); err != nil {
		return fmt.Errorf("provenance: %w", err)
	}
	made = append(made, name)
	if err := checksums(s.out, made); err != nil {
		return err
	}
	for _, name := range append(made, "SHA256SUMS") {
		fmt.Fprintln(stdout, filepath.Join(s.out, name))
	}
	return nil
}

// files makes an archive and a package for each architecture.
func (s *settings) files(ctx context.Context) ([]string, error) {
	var made []string
	for _, arch := range []struct{ name, dir string }{{"amd64", s.amd64}, {"arm64", s.arm64}} {
		if arch.dir == "" {
			continue
		}
		archive := fmt.Sprintf("sidearmor_%s_linux_%s.tar.gz", s.version, arch.name)
		if err := s.archive(filepath.Join(s.out, archive), arch.dir); err != nil {
			return nil, fmt.Errorf("%s: %w", archive, err)
		}
		deb := fmt.Sprintf("sidearmor_%s_%s.deb", s.debianVersion(), arch.name)
		if err := s.deb(ctx, filepath.Join(s.out, deb), arch.dir, arch.name); err != nil {
			return nil, fmt.Errorf("%s: %w", deb, err)
		}
		made = append(made, archive, deb)
	}
	return made, nil
}

func (s *settings) time() time.Time { return time.Unix(s.epoch, 0).UTC() }

// subject is a file or an image, and its digest.
type subject struct{ name, sha256 string }

func digests(dir string, names []string) ([]subject, error) {
	var all []subject
	for _, name := range names {
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		all = append(all, subject{name, hex.EncodeToString(sum[:])})
	}
	return all, nil
}

// checksums writes what `sha256sum --check SHA256SUMS` reads.
func checksums(dir string, names []string) error {
	all, err := digests(dir, slices.Sorted(slices.Values(names)))
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, s := range all {
		fmt.Fprintf(&text, "%s  %s\n", s.sha256, s.name)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(text.String()), 0o644) //nolint:gosec // it is for everybody to read
}
