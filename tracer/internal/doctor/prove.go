package doctor

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Proof is what came of an attack.
type Proof struct {
	Attack string `json:"attack"`
	Held   bool   `json:"held"`
	Detail string `json:"detail"`
}

// proving bounds each of the two runs of all attacks.
const proving = 2 * time.Minute

// policy forbids what the attacks are after. Its directory is put in for %[1]s, and
// the port of the listener for %[2]s.
const policy = `apiVersion: security.kubearmor.com/v1
kind: KubeArmorPolicy
metadata:
  name: doctor-prove
spec:
  severity: 1
  message: An attack of "tracer doctor --prove"
  process:
    matchPaths: [{path: %[1]s/dropped}]
  file:
    matchPaths:
    - path: %[1]s/secret
    - {path: %[1]s/readonly, readOnly: true}
  network:
    matchEndpoints: [{address: 127.0.0.1, port: %[2]s}]
  presets:
  - name: filelessExec
  - name: cloudCredentials
  action: Block
`

// Prove makes attacks in a scratch directory below the first of tmp that can be written to, first without the tracer and
// then under it, and says which of those that succeed without it were held. Alerts go
// where those of a workload go.
func Prove(ctx context.Context, o Options, tmp ...string) (proofs []Proof, err error) {
	dir, err := scratch(tmp)
	if err != nil {
		return nil, fmt.Errorf("prove: a directory to write in is wanted, set TMPDIR: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	attack := []string{self, "doctor", "--attack", dir, "--port", port}
	without, err := attempts(ctx, o, attack)
	if err != nil {
		return nil, err
	}
	under := append([]string{self, "run", "--policy", fmt.Sprintf(policy, dir, port), "--"}, attack...)
	with, err := attempts(ctx, o, under)
	if err != nil {
		return nil, err
	}
	return compare(without, with), nil
}

// scratch makes the directory, and what is attacked in it.
func scratch(below []string) (string, error) {
	var all []error
	for _, tmp := range below {
		dir, err := os.MkdirTemp(tmp, "tracer-prove-")
		if err != nil {
			all = append(all, err)
			continue
		}
		where, err := filepath.EvalSymlinks(dir) // rules name what links lead to
		if err == nil {
			err = fill(where)
		}
		if err == nil {
			return where, nil
		}
		all = append(all, err, os.RemoveAll(dir))
	}
	return "", errors.Join(all...)
}

func fill(dir string) error {
	var all []error
	for name, mode := range map[string]os.FileMode{"secret": 0o600, "public": 0o600, "readonly": 0o600, "dropped": 0o700} {
		all = append(all, os.WriteFile(filepath.Join(dir, name), []byte("no format\n"), mode))
	}
	return errors.Join(append(all, os.Symlink("secret", filepath.Join(dir, "link")))...)
}

// attempts runs the attacks and gives what they say of themselves. Settings of the
// tracer do not count: its policy here is the one of the attacks.
func attempts(ctx context.Context, o Options, argv []string) ([]outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, proving)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	for _, e := range o.Environ {
		if !strings.HasPrefix(e, "TRACER_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	failed := cmd.Run()
	var all []outcome
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var one outcome
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return nil, fmt.Errorf("prove: %w", err)
		}
		all = append(all, one)
	}
	if failed != nil || len(all) != len(attacks()) {
		return nil, fmt.Errorf("prove: the attacks did not run: %w: %s", errors.Join(failed, errors.New(strconv.Itoa(len(all))+" made")), strings.TrimSpace(problems.String()))
	}
	return all, nil
}

func compare(without, with []outcome) []Proof {
	var all []Proof
	for i, w := range with {
		p := Proof{Attack: w.Name, Held: !w.Reached, Detail: w.Error}
		switch {
		case w.Name == control:
			p.Held = w.Reached
			if w.Reached {
				p.Detail = "it went on as before"
			}
		case w.Reached:
			p.Detail = "it succeeded under the tracer"
		case !without[i].Reached:
			p.Detail = "proves nothing: without the tracer it fails as well, " + without[i].Error
		}
		all = append(all, p)
	}
	return all
}

// WriteProofs is the table for people. It says whether all attacks were held.
func WriteProofs(w io.Writer, all []Proof) (held bool, err error) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ATTACK\tAS IT SHOULD BE\tHOW")
	held = true
	for _, p := range all {
		yes := "yes"
		if !p.Held {
			yes, held = "NO", false
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", p.Attack, yes, p.Detail)
	}
	return held, table.Flush()
}
