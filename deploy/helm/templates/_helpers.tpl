{{- /* Removes keys that are null. */ -}}
{{- define "exporter.prune" -}}
{{- range $key, $value := . }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $ $key }}{{ else if kindIs "map" $value }}{{ include "exporter.prune" $value }}{{ end }}
{{- end }}
{{- end }}

{{- /* Helm removes a section or default that is set to null. Every template needs the sections, and these defaults. */ -}}
{{- define "exporter.defaults" -}}
{{- include "exporter.prune" .Values }}
{{- $_ := merge .Values (fromYaml `
settings: {}
secret: {files: {}}
oidc: {expirationSeconds: 3600}
shards: 1
state: {persistence: {size: 1Gi}}
image: {repository: ghcr.io/idaas-exporter/idaas-token-exporter, pullPolicy: IfNotPresent}
web: {}
service: {port: 9877}
monitor: {kind: none, jobLabel: app.kubernetes.io/instance, scheme: http}
prometheusRule: {thresholds: {}, overrides: [], severities: {}, disabled: [], extraLabels: {}}
dashboards: {}
networkPolicy: {}
podDisruptionBudget: {}
serviceAccount: {}
resources: {}
`) }}
{{- end }}

{{- define "exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimAll "-." }}
{{- end }}

{{- /* The name of every object: at most 52 characters, because Kubernetes appends the pod's number and the volume's name. The name of
a Service starts with a letter and has no dots. */ -}}
{{- define "exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}{{ $name = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}{{ $name = printf "%s-%s" .Release.Name $name }}
{{- else }}{{ $name = .Release.Name }}{{ end }}
{{- if not (regexMatch "^[a-z]" $name) }}{{ $name = printf "exporter-%s" $name }}{{ end }}
{{- $name | replace "." "-" | trunc 52 | trimAll "-" }}
{{- end }}

{{- define "exporter.selector" -}}
app.kubernetes.io/name: {{ include "exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The pod of helm test; its name differs, so that the Service does not select it. */ -}}
{{- define "exporter.testSelector" -}}
app.kubernetes.io/name: helm-test
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* Labels of an object, each key once. Argument: root, and labels that replace all but those of the selector. */ -}}
{{- define "exporter.labels" -}}
{{- $chart := dict "app.kubernetes.io/managed-by" .root.Release.Service }}
{{- $name := printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- range $label, $text := dict "app.kubernetes.io/version" .root.Chart.AppVersion "helm.sh/chart" $name }}
{{- $_ := set $chart $label ($text | replace "+" "_" | trunc 63 | trimAll "-._") }}
{{- end }}
{{- merge (include "exporter.selector" .root | fromYaml) (default dict .labels) $chart | toYaml }}
{{- end }}

{{- /* Metadata of an object. Argument: root, and optionally suffix (of the name), labels, annotations. */ -}}
{{- define "exporter.metadata" -}}
name: {{ printf "%s%s" (include "exporter.fullname" .root) (default "" .suffix) | quote }}
labels: {{ include "exporter.labels" . | nindent 2 }}
{{- with .annotations }}
annotations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "exporter.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "exporter.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ default (printf "v%s" .Chart.AppVersion) .Values.image.tag }}{{ end }}
{{- end }}

{{- /* 80 % of the memory limit, so that the garbage collector runs more often before the kernel ends the process. */ -}}
{{- define "exporter.gomemlimit" -}}
{{- $limit := dig "limits" "memory" "" .Values.resources | toString }}
{{- if $limit }}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- $unit := regexFind "[A-Za-z]*$" $limit }}
{{- if not (hasKey $units $unit) }}{{ fail (printf "resources.limits.memory: %q is not a number with one of the units k, M, G, Ki, Mi, Gi" $limit) }}{{ end }}
{{- $bytes := mulf (float64 (trimSuffix $unit $limit)) (get $units $unit) 0.8 }}
{{- printf "%.0fKiB" (divf $bytes 1024) }}
{{- end }}
{{- end }}
