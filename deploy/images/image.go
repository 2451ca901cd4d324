package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nobody runs what needs no rights.
const nobody = 65532

// epoch is the time of everything in the images, so that they are the same
// whenever they are made.
var epoch = time.Unix(0, 0).UTC()

// kind is one of the images. It has a program, at its root, and directories.
type kind struct {
	program     string
	directories []directory
	config      v1.Config
	description string
}

// directory is one that a volume is to cover: on ECS a volume takes the owner of
// the directory that it covers, and that is the only way to give one to a program
// that is not root.
type directory struct {
	path  string
	owner int
}

func kinds() []kind {
	user := fmt.Sprintf("%d:%d", nobody, nobody)
	return []kind{
		{
			program:     "tracer",
			description: "The tracer of SideArmor, to be copied into other containers",
			directories: []directory{{"sidearmor", 0}},
			config: v1.Config{
				Entrypoint: []string{"/tracer"}, Cmd: []string{"install", "/sidearmor"},
				// For containers that take it with volumesFrom.
				Volumes: map[string]struct{}{"/sidearmor": {}},
			},
		},
		{
			program:     "sidekick",
			description: "The sidekick of SideArmor: takes alerts and delivers them",
			directories: []directory{{"run", 0}, {"run/sidearmor", nobody}, {"var", 0}, {"var/lib", 0}, {"var/lib/sidearmor", nobody}},
			config: v1.Config{
				Entrypoint: []string{"/sidekick"}, User: user, Env: []string{"QUEUE_DIR=/var/lib/sidearmor/queue"},
				Volumes: map[string]struct{}{"/var/lib/sidearmor": {}}, ExposedPorts: map[string]struct{}{"2801/tcp": {}},
			},
		},
		{
			program:     "inject",
			description: "The admission webhook of SideArmor",
			config:      v1.Config{Entrypoint: []string{"/inject"}, User: user, ExposedPorts: map[string]struct{}{"8443/tcp": {}}},
		},
	}
}

// image makes the image for one architecture of the program in a file. Root
// certificates are inside the programs.
func (k kind) image(path, arch, version string) (v1.Image, error) {
	content, err := k.layer(path)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: "deploy/images", Created: v1.Time{Time: epoch}}})
	if err != nil {
		return nil, err
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created, file.Config = "linux", arch, v1.Time{Time: epoch}, k.config
	file.Config.WorkingDir = "/"
	file.Config.Labels = map[string]string{
		"org.opencontainers.image.title":       "sidearmor/" + k.program,
		"org.opencontainers.image.description": k.description,
		"org.opencontainers.image.version":     version,
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}
	return mutate.ConfigFile(img, file)
}

func (k kind) layer(path string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, d := range k.directories {
		header := &tar.Header{Typeflag: tar.TypeDir, Name: d.path + "/", Mode: 0o755, Uid: d.owner, Gid: d.owner, ModTime: epoch, Format: tar.FormatPAX}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: k.program, Mode: 0o755, Size: int64(len(program)), ModTime: epoch, Format: tar.FormatPAX}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
