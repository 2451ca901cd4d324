package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// entry is a file of an archive or a package.
type entry struct {
	name, from string
	mode       fs.FileMode
}

// contents are the programs, below a directory and with a prefix, and what belongs to them.
func (s *settings) contents(dir, bin, prefix, share, doc string) ([]entry, error) {
	var all []entry
	for _, p := range programs {
		all = append(all, entry{bin + prefix + p, filepath.Join(dir, p), 0o755})
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md"} {
		all = append(all, entry{doc + name, filepath.Join(s.root, name), 0o644})
	}
	policies, err := filepath.Glob(filepath.Join(s.root, "examples/policies/*.yaml"))
	if err != nil || len(policies) == 0 {
		return nil, fmt.Errorf("no policies in %s: %w", s.root, errors.Join(err, fs.ErrNotExist))
	}
	for _, p := range policies {
		all = append(all, entry{share + "policies/" + filepath.Base(p), p, 0o644})
	}
	return all, nil
}

// archive has everything in one directory.
func (s *settings) archive(path, dir string) (err error) {
	top := fmt.Sprintf("sidearmor-%s/", s.version)
	entries, err := s.contents(dir, top, "", top, top)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	compressed, err := gzip.NewWriterLevel(file, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := tar.NewWriter(compressed)
	for _, e := range entries {
		body, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: e.name, Mode: int64(e.mode), Size: int64(len(body)), ModTime: s.time(), Format: tar.FormatPAX, Uname: "root", Gname: "root"}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
		if _, err := out.Write(body); err != nil {
			return err
		}
	}
	return errors.Join(out.Close(), compressed.Close())
}

// debianVersion is the version as dpkg orders it: a tag without its v; without a tag
// the commit, which is before every tag.
func (s *settings) debianVersion() string {
	v, tagged := strings.CutPrefix(s.version, "v")
	if !tagged || v == "" || v[0] < '0' || v[0] > '9' {
		v = "0~git." + s.version
	}
	// Of two versions the one with a tilde is the older: a candidate is before its release.
	v = strings.Replace(v, "-rc", "~rc", 1)
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".+~", r) {
			return r
		}
		return '.'
	}, v)
}

const control = `Package: sidearmor
Version: %s
Architecture: %s
Maintainer: The SideArmor authors <https://github.com/sidearmor/sidearmor>
Installed-Size: %d
Section: admin
Priority: optional
Homepage: https://github.com/sidearmor/sidearmor
Description: KubeArmor for containers that own no host
 The tracer runs a program under seccomp and enforces KubeArmor policies on it. The
 sidekick takes its alerts and delivers them. inject puts both into task definitions
 of Amazon ECS and into Kubernetes manifests.
`

// deb has the programs in /usr/bin, as sidearmor-tracer and so on. dpkg-deb makes it.
func (s *settings) deb(ctx context.Context, path, dir, arch string) (err error) {
	entries, err := s.contents(dir, "usr/bin/", "sidearmor-", "usr/share/sidearmor/", "usr/share/doc/sidearmor/")
	if err != nil {
		return err
	}
	tree, err := os.MkdirTemp("", "sidearmor-deb-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tree)) }()
	if err := os.Chmod(tree, 0o755); err != nil { //nolint:gosec // the root of what is installed
		return err
	}
	size := int64(0)
	for _, e := range entries {
		body, err := os.ReadFile(e.from)
		if err != nil {
			return err
		}
		size += int64(len(body))
		if e.name == "usr/share/doc/sidearmor/LICENSE" {
			e.name = "usr/share/doc/sidearmor/copyright" // where Debian looks for it
		}
		if err := place(filepath.Join(tree, e.name), body, e.mode); err != nil {
			return err
		}
	}
	text := fmt.Sprintf(control, s.debianVersion(), arch, (size+1023)/1024)
	if err := place(filepath.Join(tree, "DEBIAN/control"), []byte(text), 0o644); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, path)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", s.epoch))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// place writes a file with exactly a mode, whatever the umask is.
func place(path string, body []byte, mode fs.FileMode) error {
	for _, parent := range parents(path) {
		if err := os.Mkdir(parent, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // it is installed for all
			return err
		} else if err == nil {
			if err := os.Chmod(parent, 0o755); err != nil { //nolint:gosec // likewise
				return err
			}
		}
	}
	if err := os.WriteFile(path, body, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// parents are the directories above a path, the uppermost first.
func parents(path string) []string {
	var all []string
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		all = append([]string{dir}, all...)
	}
	return all
}
