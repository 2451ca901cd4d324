package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sidearmor/sidearmor/schema"
)

const (
	metadataTimeout = 3 * time.Second // of one request
	maxMetadata     = 1 << 20
	firstPause      = 100 * time.Millisecond
	longestPause    = 30 * time.Second
)

// task is what is used of the ECS task metadata, version 4.
type task struct {
	Cluster     string // name or ARN
	TaskARN     string
	Family      string
	Revision    string
	ServiceName string
	Container   ecsContainer `json:"-"` // this one
}

type ecsContainer struct {
	DockerID string `json:"DockerId"`
	Name     string
	Image    string
	Labels   map[string]string
}

func (c *ecsContainer) known() bool { return c.Name != "" || c.DockerID != "" }

// id is the last part of the task's ARN.
func (t *task) id() string { return lastPart(t.TaskARN) }

func (t *task) clusterName() string { return lastPart(t.Cluster) }

func lastPart(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// podName is family:revision/id, as far as these are known.
func (t *task) podName() string {
	name := t.Family
	if name != "" && t.Revision != "" {
		name += ":" + t.Revision
	}
	if id := t.id(); id != "" && name != "" {
		name += "/" + id
	}
	return name
}

// owner is the service that started the task or, for a task of its own, the
// family.
func (t *task) owner() *schema.Owner {
	switch {
	case t.ServiceName != "":
		return &schema.Owner{Ref: "Service", Name: t.ServiceName}
	case t.Family != "":
		return &schema.Owner{Ref: "Task", Name: t.Family}
	}
	return nil
}

func (t *task) bound() {
	c := &t.Container
	for _, s := range []*string{&t.Cluster, &t.TaskARN, &t.Family, &t.Revision, &t.ServiceName, &c.DockerID, &c.Name, &c.Image} {
		*s = clip(*s, maxValue)
	}
	var labels map[string]string
	for key, value := range c.Labels {
		labels = addLabel(labels, key, value, true)
	}
	c.Labels = labels
}

// metadata asks the ECS metadata endpoint.
type metadata struct {
	uri    string
	client *http.Client
	logger *slog.Logger
}

func newMetadata(uri string, o Options) *metadata {
	transport := o.Transport
	if transport == nil {
		// The endpoint is link-local: a proxy could not reach it, and must not see it.
		transport = &http.Transport{Proxy: nil, DisableKeepAlives: true}
	}
	return &metadata{uri: strings.TrimSuffix(uri, "/"), logger: o.Logger, client: &http.Client{
		Transport: transport, Timeout: metadataTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// follow asks for the container and for the task, again and again until it has
// both or ctx ends. It hands on what it has each time that it learns something.
func (m *metadata) follow(ctx context.Context, learned func(task)) {
	if u, err := url.Parse(m.uri); err != nil || u.Scheme != "http" || u.Host == "" {
		m.logger.Warn("the ECS metadata is not used: its address is no http URL", "variable", MetadataVariable)
		return
	}
	var t task
	haveContainer, haveTask, warned := false, false, false
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		var errContainer, errTask error
		if !haveContainer {
			errContainer = m.container(ctx, &t)
		}
		if !haveTask {
			errTask = m.task(ctx, &t)
		}
		news := errContainer == nil && !haveContainer || errTask == nil && !haveTask
		haveContainer, haveTask = errContainer == nil, errTask == nil
		if news {
			t.bound()
			learned(t)
		}
		if haveContainer && haveTask {
			return
		}
		if err := errors.Join(errContainer, errTask); !warned && ctx.Err() == nil {
			warned = true
			m.logger.Warn("the ECS metadata cannot be read yet", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		}
	}
}

func (m *metadata) container(ctx context.Context, t *task) error {
	var c ecsContainer
	if err := m.get(ctx, "", &c); err != nil {
		return err
	}
	if !c.known() {
		return errors.New("ECS container metadata: neither Name nor DockerId")
	}
	t.Container = c
	return nil
}

func (m *metadata) task(ctx context.Context, t *task) error {
	var got task
	if err := m.get(ctx, "/task", &got); err != nil {
		return err
	}
	if got.TaskARN == "" {
		return errors.New("ECS task metadata: no TaskARN")
	}
	got.Container = t.Container
	*t = got
	return nil
}

func (m *metadata) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.uri+path, nil)
	if err != nil {
		return fmt.Errorf("ECS metadata: %w", err)
	}
	response, err := m.client.Do(request)
	if err != nil {
		return fmt.Errorf("ECS metadata: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ECS metadata %q: status %d", path, response.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxMetadata+1))
	if err != nil {
		return fmt.Errorf("ECS metadata %q: %w", path, err)
	}
	if len(text) > maxMetadata {
		return fmt.Errorf("ECS metadata %q: more than %d bytes", path, maxMetadata)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("ECS metadata %q: %w", path, err)
	}
	return nil
}
