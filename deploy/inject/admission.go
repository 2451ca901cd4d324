package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sidearmor/sidearmor/deploy/eks"
	"github.com/sidearmor/sidearmor/deploy/internal/workload"
)

// maxReview is more than etcd keeps of one object, twice.
const maxReview = 4 << 20

// webhook answers the API server.
type webhook struct {
	options eks.Options
	admit   bool // a pod that cannot be injected is let in, with a warning
	pods    func(ctx context.Context, namespace, name string) (*corev1.Pod, error)
	log     *slog.Logger
}

func (w *webhook) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /pods", w.review(w.pod))
	mux.HandleFunc("POST /exec", w.review(w.exec))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// change is one operation of a JSON patch (RFC 6902).
type change struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// answer is what becomes of a request. The zero value lets it pass as it is.
type answer struct {
	patch    []change
	warnings []string
}

// review reads an AdmissionReview and writes the answer of a decision.
func (w *webhook) review(decide func(context.Context, *admissionv1.AdmissionRequest) (answer, error)) http.HandlerFunc {
	return func(out http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		body, err := io.ReadAll(http.MaxBytesReader(out, r.Body, maxReview))
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil || review.Request == nil {
			http.Error(out, "no AdmissionReview", http.StatusBadRequest)
			return
		}
		review.Response = w.respond(r.Context(), review.Request, decide)
		review.Request = nil
		text, err := json.Marshal(review)
		if err != nil {
			http.Error(out, err.Error(), http.StatusInternalServerError)
			return
		}
		out.Header().Set("Content-Type", "application/json")
		_, _ = out.Write(text)
	}
}

func (w *webhook) respond(ctx context.Context, req *admissionv1.AdmissionRequest, decide func(context.Context, *admissionv1.AdmissionRequest) (answer, error)) *admissionv1.AdmissionResponse {
	log := w.log.With("namespace", req.Namespace, "name", req.Name, "uid", req.UID)
	res := &admissionv1.AdmissionResponse{UID: req.UID, Allowed: true}
	a, err := decide(ctx, req)
	if err != nil {
		log.Warn("cannot be injected", "resource", req.Resource.Resource, "admitted", w.admit, "error", err)
		if !w.admit {
			res.Allowed = false
			res.Result = &metav1.Status{Message: "sidearmor: " + err.Error(), Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid}
			return res
		}
		res.Warnings = []string{"sidearmor: not injected: " + err.Error()}
		return res
	}
	res.Warnings = a.warnings
	if len(a.patch) == 0 {
		return res
	}
	patch, err := json.Marshal(a.patch)
	if err != nil {
		log.Error("cannot write a patch", "error", err)
		res.Allowed = false
		return res
	}
	kind := admissionv1.PatchTypeJSONPatch
	res.Patch, res.PatchType = patch, &kind
	log.Info("injected", "resource", req.Resource.Resource)
	return res
}

// pod puts the tracer and the sidekick into a pod that is made.
func (w *webhook) pod(ctx context.Context, req *admissionv1.AdmissionRequest) (answer, error) {
	var pod struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
		return answer{}, fmt.Errorf("the object is no pod: %w", err)
	}
	if pod.Metadata.Annotations[annotations+"inject"] == "false" {
		return answer{}, nil
	}
	o, err := w.optionsFor(pod.Metadata.Annotations)
	if err != nil {
		return answer{}, err
	}
	res, err := eks.Inject(ctx, string(req.Object.Raw), o)
	if err != nil {
		return answer{}, err
	}
	if res.Text == string(req.Object.Raw) {
		return answer{}, nil
	}
	var injected struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := json.Unmarshal([]byte(res.Text), &injected); err != nil {
		return answer{}, err
	}
	return answer{patch: []change{{"replace", "/spec", injected.Spec}}}, nil
}

// annotations of a pod begin with this.
const annotations = "sidearmor.io/"

// optionsFor are those of the webhook, with what a pod's annotations say.
func (w *webhook) optionsFor(of map[string]string) (eks.Options, error) {
	o := w.options
	o.Commands = &workload.Commands{Given: maps.Clone(w.options.Commands.Given), Images: w.options.Commands.Images}
	for key, value := range of {
		name, ours := strings.CutPrefix(key, annotations)
		if !ours {
			continue
		}
		setting, container, _ := strings.Cut(name, ".")
		switch setting {
		case "inject":
		case "containers":
			o.Only = words(value)
		case "skip":
			o.Skip = words(value)
		case "policy-configmap":
			o.PolicyConfigMap = value
		case "trace-probes":
			o.TraceProbes = value == "true"
		case "entrypoint", "cmd":
			_, argv, err := argv(key, value)
			if err != nil {
				return o, fmt.Errorf("annotation %s: %q is not a list in JSON", key, value)
			}
			g := o.Commands.Given[container]
			if setting == "entrypoint" {
				g.Entrypoint = argv
			} else {
				g.Cmd = argv
			}
			if o.Commands.Given == nil {
				o.Commands.Given = map[string]workload.Given{}
			}
			o.Commands.Given[container] = g
		default:
			return o, fmt.Errorf("annotation %s: there is no such setting", key)
		}
	}
	return o, nil
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' })
}

// exec has the tracer run what kubectl exec starts in a container that it traces.
func (w *webhook) exec(ctx context.Context, req *admissionv1.AdmissionRequest) (answer, error) {
	var options corev1.PodExecOptions
	if err := json.Unmarshal(req.Object.Raw, &options); err != nil {
		return answer{}, fmt.Errorf("the object is no PodExecOptions: %w", err)
	}
	if w.pods == nil || len(options.Command) == 0 || workload.Traced(options.Command) {
		return answer{}, nil
	}
	pod, err := w.pods(ctx, req.Namespace, req.Name)
	if err != nil {
		return answer{}, fmt.Errorf("read pod %s: %w", req.Name, err)
	}
	if !traced(pod, options.Container) {
		return answer{}, nil
	}
	argv := append(workload.Head(), options.Command...)
	return answer{patch: []change{{"replace", "/command", argv}}}, nil
}

// defaultContainer is the annotation by which kubectl chooses a container.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// traced says whether a container of a pod begins with the tracer. The API server
// takes the first one when none is named.
func traced(pod *corev1.Pod, name string) bool {
	if name == "" {
		name = pod.Annotations[defaultContainer]
	}
	for i, c := range append(append([]corev1.Container(nil), pod.Spec.Containers...), pod.Spec.InitContainers...) {
		if c.Name == name || name == "" && i == 0 {
			return workload.Traced(c.Command)
		}
	}
	return false
}
