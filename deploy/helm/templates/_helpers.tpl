{{- define "exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* At most 52 characters: Kubernetes appends the pod's number and the volume's name. */ -}}
{{- define "exporter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}{{ $name = .Values.fullnameOverride }}
{{- else if not (contains $name .Release.Name) }}{{ $name = printf "%s-%s" .Release.Name $name }}
{{- else }}{{ $name = .Release.Name }}{{ end }}
{{- $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "exporter.selector" -}}
app.kubernetes.io/name: {{ include "exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "exporter.labels" -}}
{{ include "exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
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

{{- /* Checks across values, which the schema cannot express. */ -}}
{{- define "exporter.check" -}}
{{- if not .Values.demo }}
{{- if not .Values.targets }}{{ fail "targets: no target: name at least one consumer and its credential_providers, or set demo: true" }}{{ end }}
{{- if not (or .Values.settings.IDAAS_DOMAIN .Values.settings.IDAAS_ENDPOINT (hasKey .Values.secret.files "CLOUD_IDAAS_CONFIG_PATH")) }}
{{- fail "settings.IDAAS_DOMAIN: the domain of the IDaaS instance is missing; set it, or IDAAS_ENDPOINT with IDAAS_INSTANCE_ID, or demo: true" }}{{ end }}
{{- end }}
{{- if .Values.oidc.enabled }}
{{- range list "IDAAS_CLIENT_ID" "IDAAS_FEDERATED_CREDENTIAL_NAME" }}
{{- if not (index $.Values.settings .) }}{{ fail (printf "settings.%s: oidc.enabled needs it" .) }}{{ end }}
{{- end }}
{{- if not .Values.oidc.audience }}{{ fail "oidc.audience: oidc.enabled needs the audience that the federated credential in IDaaS expects" }}{{ end }}
{{- if .Values.secret.name }}{{ if hasKey .Values.secret.files "IDAAS_CLIENT_SECRET_FILE" }}{{ fail "secret.files.IDAAS_CLIENT_SECRET_FILE: oidc.enabled uses no client secret; set it to null" }}{{ end }}{{ end }}
{{- end }}
{{- end }}
