// Package workload has what injection into a task definition and into a pod
// share: names and paths, how the command of a container is found out, and the
// record by which a change is undone. It edits nothing.
package workload

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sidearmor/sidearmor/deploy/internal/document"
	"github.com/sidearmor/sidearmor/deploy/internal/image"
	"github.com/sidearmor/sidearmor/schema/policy"
)

// Names of what is added. Nothing else may have them.
const (
	Install        = "sidearmor-install"
	Sidekick       = "sidearmor-sidekick"
	Volume         = "sidearmor"
	QueueVolume    = "sidearmor-queue"
	SocketVolume   = "sidearmor-socket"
	RecordVariable = "SIDEARMOR_INJECT"
)

// Paths in the containers.
const (
	Dir       = "/sidearmor"
	Tracer    = Dir + "/tracer"
	QueueDir  = "/var/lib/sidearmor"
	SocketDir = "/run/sidearmor"
	Socket    = SocketDir + "/sidekick.sock"
)

// User runs the sidekick, as in its image.
const User = 65532

// What the parts take, in MiB, as docs/benchmarks.md has it.
const (
	TracerMemory   = 10
	SidekickMemory = 64
)

// Head is what is put in front of a container's command line.
func Head() []string { return []string{Tracer, "run", "--"} }

// Traced says whether a command line begins with a tracer.
func Traced(words []string) bool {
	return len(words) > 0 && (words[0] == Tracer || strings.HasSuffix(words[0], "/tracer") && slices.Contains(words[1:], "run"))
}

// Record is how an injection is undone, and what it found out. It is kept in a
// variable of the install container.
type Record struct {
	Version int                     `json:"v"`
	Undo    []document.Undo         `json:"u"`
	Images  map[string]image.Config `json:"i,omitempty"` // by container and image
	Before  string                  `json:"b,omitempty"` // the text in front of what was kept, and behind it
	After   string                  `json:"a,omitempty"`
	Wrapped bool                    `json:"w,omitempty"`
}

// Encode writes the record so that no template changes it.
func (r *Record) Encode() (string, error) {
	r.Version = 1
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		err = json.NewEncoder(z).Encode(r)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return "", fmt.Errorf("write the record: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// maxRecord is how long a record can be: as a task definition, with room for what
// was left out.
const maxRecord = 1 << 20

// Decode reads a record.
func Decode(s string) (*Record, error) {
	packed, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil, fmt.Errorf("%s is not what inject wrote: %w", RecordVariable, err)
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxRecord))
	if err != nil {
		return nil, fmt.Errorf("%s is not what inject wrote: %w", RecordVariable, err)
	}
	r := &Record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is not what inject wrote: %w", RecordVariable, err)
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("%s has version %d: a newer inject wrote it", RecordVariable, r.Version)
	}
	return r, nil
}

// Commands finds out what a container runs whose definition leaves it to the
// image: from what the user said, from the record of an earlier injection, from
// the image.
type Commands struct {
	Given  map[string]Given // by the container's name; "" is for all
	Images *image.Images

	earlier map[string]image.Config
	found   map[string]image.Config
}

// Given is what the user said about a container's image. What is nil was not
// said.
type Given struct{ Entrypoint, Cmd []string }

// Begin forgets what was found out, and learns what an earlier injection has.
func (c *Commands) Begin(r *Record) {
	c.earlier, c.found = nil, map[string]image.Config{}
	if r != nil {
		c.earlier = r.Images
	}
}

// Found is what was found out since Begin.
func (c *Commands) Found() map[string]image.Config { return c.found }

// Of returns the configuration of the image of a container: its ENTRYPOINT, and
// with cmd its CMD.
func (c *Commands) Of(ctx context.Context, container, ref, arch string, cmd bool) (image.Config, error) {
	given, forAll := c.Given[container], c.Given[""]
	if given.Entrypoint == nil {
		given.Entrypoint = forAll.Entrypoint
	}
	if given.Cmd == nil {
		given.Cmd = forAll.Cmd
	}
	if given.Entrypoint != nil && (given.Cmd != nil || !cmd) {
		return image.Config{Entrypoint: given.Entrypoint, Cmd: given.Cmd}, nil
	}
	key := container + " " + ref
	config, known := c.earlier[key]
	if !known {
		var err error
		if config, err = c.Images.Config(ctx, ref, arch); err != nil {
			return image.Config{}, fmt.Errorf("it leaves to its image what it runs: %w; "+
				"give it with --entrypoint and --cmd, or the image with --image-file, or leave the container out with --skip", err)
		}
	}
	c.found[key] = config
	if given.Entrypoint != nil {
		config.Entrypoint = given.Entrypoint
	}
	if given.Cmd != nil {
		config.Cmd = given.Cmd
	}
	return config, nil
}

// Policies reads policy files and directories of them, checks them, and returns
// their text as a variable can hold it.
func Policies(paths []string) (string, error) {
	var all bytes.Buffer
	for _, path := range paths {
		err := filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if file != path && !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)) {
				return nil
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			if _, err := policy.Parse(file, bytes.NewReader(text)); err != nil {
				return err
			}
			all.WriteString("---\n")
			all.Write(text)
			if !bytes.HasSuffix(text, []byte("\n")) {
				all.WriteByte('\n')
			}
			return nil
		})
		if err != nil {
			return "", fmt.Errorf("read policies: %w", err)
		}
	}
	if all.Len() == 0 {
		return "", nil
	}
	return base64.StdEncoding.EncodeToString(all.Bytes()), nil
}
