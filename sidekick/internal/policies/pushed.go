package policies

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// ErrNotKept is that policies cannot be taken from clients, who could not be asked for
// them again, because there is nowhere to keep them.
var ErrNotKept = errors.New("policies from clients cannot be kept: there is no directory for them, set POLICIES_STATE_DIR")

// Pushed is a source whose policies clients send. As they cannot be asked again, it
// keeps them in a file.
type Pushed struct {
	name string
	file string // "" for none: nothing is taken

	mu     sync.Mutex
	texts  map[Key]Text // never changed, but replaced
	report Report       // nil while the source does not run
}

// pushedFile is what is in the file.
type pushedFile struct {
	Version  int    `json:"version"`
	Policies []Text `json:"policies"`
}

const pushedVersion = 1

// OpenPushed makes a source with what is in a file of a directory, if there is one
// from an earlier time. With the directory "" it has nothing, and takes nothing.
func OpenPushed(name, dir string) (*Pushed, error) {
	p := &Pushed{name: name, texts: map[Key]Text{}}
	if dir == "" {
		return p, nil
	}
	p.file = filepath.Join(dir, name+".json")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keeping policies: %w", err)
	}
	content, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading kept policies: %w", err)
	}
	if p.texts, err = readPushed(content); err != nil {
		return nil, fmt.Errorf("reading kept policies: %s: %w: move the file away to start without these policies", p.file, err)
	}
	return p, nil
}

func readPushed(content []byte) (map[Key]Text, error) {
	var f pushedFile
	if err := json.Unmarshal(content, &f); err != nil {
		return nil, err
	}
	if f.Version != pushedVersion {
		return nil, fmt.Errorf("version %d is not known", f.Version)
	}
	texts := map[Key]Text{}
	for _, t := range f.Policies {
		read, err := Read(t, false)
		if err != nil {
			return nil, err
		}
		if len(read) != 1 {
			return nil, fmt.Errorf("%s: %d policies where one is expected", t.Place, len(read))
		}
		texts[KeyOf(&read[0].Document)] = t
	}
	return texts, nil
}

// Name implements Source.
func (p *Pushed) Name() string { return p.name }

// Run implements Source.
func (p *Pushed) Run(ctx context.Context, report Report) {
	p.mu.Lock()
	p.report = report
	report(state(p.texts))
	p.mu.Unlock()
	<-ctx.Done()
	p.mu.Lock()
	p.report = nil
	p.mu.Unlock()
}

// state gives texts in the order of their places.
func state(texts map[Key]Text) (s State) {
	for _, t := range texts {
		s.Texts = append(s.Texts, t)
	}
	slices.SortFunc(s.Texts, func(a, b Text) int { return strings.Compare(a.Place, b.Place) })
	return s
}

// Texts gives what was sent, by policy. It is not to be changed.
func (p *Pushed) Texts() map[Key]Text {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.texts
}

// Place gives the place of a policy of this source.
func (p *Pushed) Place(k Key) string {
	place := p.name + "/" + k.Kind + "/"
	if k.Namespace != "" {
		place += k.Namespace + "/"
	}
	if place += k.Name; k.Watches {
		place += "?mode=watch"
	}
	return place
}

// Text gives a policy as this source keeps it.
func (p *Pushed) Text(policy *Policy) Text {
	return Text{Place: p.Place(KeyOf(&policy.Document)), Body: policy.Text.Body, Mode: policy.Mode}
}

// Update lets change change all texts, keeps what follows, and has it in force before
// it returns. One change is made after the other. The error is change's, and then
// nothing has changed, as where what follows cannot be kept.
func (p *Pushed) Update(change func(texts map[Key]Text) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == "" {
		return ErrNotKept
	}
	next := maps.Clone(p.texts)
	if err := change(next); err != nil {
		return err
	}
	if maps.Equal(next, p.texts) {
		return nil
	}
	s := state(next)
	if err := within(s.Texts); err != nil {
		return err
	}
	if err := p.keep(s.Texts); err != nil {
		return fmt.Errorf("keeping policies: %w", err)
	}
	p.texts = next
	if p.report != nil {
		p.report(s)
	}
	return nil
}

// keep writes the file anew, so that at each moment the whole of the old or of the
// new one is there.
func (p *Pushed) keep(texts []Text) (err error) {
	content, err := json.Marshal(pushedFile{pushedVersion, texts})
	if err != nil {
		return err
	}
	dir := filepath.Dir(p.file)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), p.file); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
