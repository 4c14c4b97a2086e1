{{/* What every object is called. */}}
{{- define "service.name" -}}
{{- $name := .Chart.Name -}}
{{- if not (contains .Chart.Name .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name .Chart.Name -}}
{{- else -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name = $name | trunc 53 | trimSuffix "-" -}}
{{- if hasPrefix "cache" $name -}}
{{- fail (printf "the release is called %s: Kubernetes would set CACHE_..._PORT in every pod of the namespace; choose a name that does not begin with cache" .Release.Name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What the pods of this release are chosen by. */}}
{{- define "service.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "service.labels" -}}
{{ include "service.selector" . }}
app.kubernetes.io/part-of: cache-client
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Variables as text: a number of YAML is a floating-point number here, and a million would be 1e+06. */}}
{{- define "service.variables" -}}
{{- range $name, $value := . }}
{{ $name }}: {{ if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
{{- end -}}
