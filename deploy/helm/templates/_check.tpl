{{- /* Checks across values, which the schema cannot express. */ -}}
{{- define "exporter.check" -}}
{{- if not (or .Values.demo .Values.targets) }}
{{- fail "targets: no target: name at least one consumer and its credential_providers, or set demo: true" }}
{{- end }}
{{- include "exporter.checkVariables" . }}
{{- range .Values.extraVolumes }}{{ if has .name (list "state" "targets" "secret" "token" "web") }}
{{- fail (printf "extraVolumes: the chart has a volume %q; choose another name" .name) }}
{{- end }}{{ end }}
{{- if .Values.oidc.enabled }}
{{- if not .Values.oidc.audience }}
{{- fail "oidc.audience: oidc.enabled needs the audience that the federated credential in IDaaS expects" }}
{{- end }}
{{- if and .Values.secret.name .Values.secret.files.IDAAS_CLIENT_SECRET_FILE }}
{{- fail "secret.files.IDAAS_CLIENT_SECRET_FILE: oidc.enabled uses no client secret; set it to null" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Each variable is in one of settings, env and secret.files. None is set by the chart, and no secret is in plain text. */ -}}
{{- define "exporter.checkVariables" -}}
{{- $secret := "(SECRET|TOKEN|PASSWORD|PASSPHRASE|PRIVATE_KEY|ACCESS_KEY)$" }}
{{- $instead := "use a file (secret.files), or env with valueFrom.secretKeyRef" }}
{{- $own := dict "IDAAS_LISTEN_ADDRESS" "service.port" "IDAAS_PROBE_ADDRESS" "no value" "IDAAS_STATE_FILE" "state"
  "IDAAS_TARGETS" "targets" "IDAAS_TARGETS_FILE" "targets" "IDAAS_SHARD_INDEX" "shards" "IDAAS_SHARD_COUNT" "shards"
  "IDAAS_WEB_CONFIG_FILE" "web.configSecret" "GOMEMLIMIT" "resources.limits.memory" }}
{{- if .Values.oidc.enabled }}
{{- $own = merge $own (dict "IDAAS_AUTH_METHOD" "oidc.enabled" "IDAAS_OIDC_TOKEN_FILE" "oidc.enabled") }}
{{- end }}
{{- $variables := list }}
{{- range $name, $value := .Values.settings }}
{{- if regexMatch $secret $name }}{{ fail (printf "settings.%s: a secret in plain text; %s" $name $instead) }}{{ end }}
{{- if regexMatch "://[^/@]*:[^/@]*@" (toString $value) }}
{{- fail (printf "settings.%s: the URL has a password in plain text; %s" $name $instead) }}
{{- end }}
{{- if kindIs "float64" $value }}{{ if gt $value 9007199254740991.0 }}
{{- fail (printf "settings.%s: a number of over 15 digits is not exact; put it in quotes" $name) }}
{{- end }}{{ end }}
{{- $variables = append $variables (list "settings" $name $value) }}
{{- end }}
{{- range .Values.env }}
{{- if and (regexMatch $secret .name) (not (dig "valueFrom" "secretKeyRef" "" .)) }}
{{- fail (printf "env: %s is a secret; use valueFrom.secretKeyRef" .name) }}
{{- end }}
{{- $variables = append $variables (list "env" .name true) }}
{{- end }}
{{- if .Values.secret.name }}{{ range keys .Values.secret.files }}
{{- $variables = append $variables (list "secret.files" . true) }}
{{- end }}{{ end }}
{{- $from := dict }}
{{- range $variables }}
{{- $source := index . 0 }}{{ $name := index . 1 }}
{{- with get $own $name }}{{ fail (printf "%s: the chart sets %s (%s)" $source $name .) }}{{ end }}
{{- with get $from $name }}{{ fail (printf "%s: %s is in %s, too; keep one" $source $name .) }}{{ end }}
{{- if index . 2 }}{{ $_ := set $from $name $source }}{{ end }}
{{- end }}
{{- if not .Values.envFrom }}
{{- if not (or .Values.demo $from.IDAAS_DOMAIN $from.IDAAS_ENDPOINT $from.CLOUD_IDAAS_CONFIG_PATH) }}
{{- fail "settings.IDAAS_DOMAIN: the domain of the instance is missing; set it, or IDAAS_ENDPOINT with IDAAS_INSTANCE_ID, or demo: true" }}
{{- end }}
{{- if .Values.oidc.enabled }}{{ range list "IDAAS_CLIENT_ID" "IDAAS_FEDERATED_CREDENTIAL_NAME" }}
{{- if not (get $from .) }}{{ fail (printf "settings.%s: oidc.enabled needs it" .) }}{{ end }}
{{- end }}{{ end }}
{{- end }}
{{- end }}
