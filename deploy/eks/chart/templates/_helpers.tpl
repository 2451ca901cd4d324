{{- define "sidearmor.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "sidearmor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" -}}
{{- else if contains (include "sidearmor.name" .) .Release.Name -}}
{{- .Release.Name | trunc 55 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "sidearmor.name" .) | trunc 55 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "sidearmor.webhook" -}}
{{ include "sidearmor.fullname" . }}-webhook
{{- end -}}

{{- define "sidearmor.selector" -}}
app.kubernetes.io/name: {{ include "sidearmor.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sidearmor.labels" -}}
{{ include "sidearmor.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ default .Chart.AppVersion .Values.image.tag | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sidearmor.account" -}}
{{- if .Values.serviceAccount.create -}}
{{ include "sidearmor.webhook" . }}
{{- else -}}
{{ required "serviceAccount.name: the name of an account is wanted, since serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{/* An image: (list . repository) */}}
{{- define "sidearmor.image" -}}
{{- $ := index . 0 -}}
{{- with $.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ index . 1 }}:{{ default $.Chart.AppVersion $.Values.image.tag }}
{{- end -}}

{{/* Settings below a section of config, as variables: (list prefix section) */}}
{{- define "sidearmor.settings" -}}
{{- $prefix := index . 0 -}}
{{- range $key, $value := index . 1 }}
{{- $name := printf "%s%s" $prefix (upper $key) }}
{{- if kindIs "map" $value }}
{{- include "sidearmor.settings" (list (printf "%s_" $name) $value) }}
{{- else if kindIs "slice" $value }}
{{- fail (printf "config: %s is a list; a setting is one text" $name) }}
{{- else if not (or (kindIs "invalid" $value) (eq (toString $value) "")) }}
{{ $name }}: {{ if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Those of the whole config. */}}
{{- define "sidearmor.config" -}}
{{- include "sidearmor.settings" (list "" (omit .Values.config "existingSecret" "extraEnv")) | trim -}}
{{- end -}}

{{/* The name of the Secret with them. */}}
{{- define "sidearmor.secret" -}}
{{- if .Values.config.existingSecret -}}
{{- if include "sidearmor.config" . }}{{ fail "config: settings beside existingSecret: put them into that Secret, or into extraEnv" }}{{ end -}}
{{ .Values.config.existingSecret }}
{{- else if include "sidearmor.config" . -}}
{{- if not .Values.namespaces }}{{ fail "config: namespaces is empty: name those that get the Secret, or set config.existingSecret" }}{{ end -}}
{{ include "sidearmor.fullname" . }}
{{- end -}}
{{- end -}}

{{/* The name of the ConfigMap with policies. */}}
{{- define "sidearmor.policies" -}}
{{- if .Values.existingPolicies -}}
{{- if .Values.policies }}{{ fail "policies: there are some beside existingPolicies" }}{{ end -}}
{{ .Values.existingPolicies }}
{{- else if .Values.policies -}}
{{- if not .Values.namespaces }}{{ fail "policies: namespaces is empty: name those that get the ConfigMap, or set existingPolicies" }}{{ end -}}
{{ include "sidearmor.fullname" . }}-policies
{{- end -}}
{{- end -}}
