{{- define "exporter.pod" -}}
metadata:
  labels: {{ include "exporter.labels" (dict "root" . "labels" .Values.podLabels) | nindent 4 }}
  {{- $container := dict "kubectl.kubernetes.io/default-container" "exporter" }}
  annotations: {{ merge dict (default dict .Values.podAnnotations) $container | toYaml | nindent 4 }}
spec:
  serviceAccountName: {{ include "exporter.serviceAccount" . | quote }}
  automountServiceAccountToken: false
  # The exporter would log variables of services named idaas-… as unknown settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 10
  {{- with .Values.podSecurityContext }}
  securityContext: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ quote . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints: {{ toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: exporter
      image: {{ include "exporter.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- if .Values.demo }}
      args: [demo]
      {{- end }}
      env:
        {{- range $name, $value := .Values.settings }}
        - {name: {{ $name }}, value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}}
        {{- end }}
        {{- $names := keys .Values.settings }}
        {{- range .Values.env }}{{ $names = append $names .name }}
        - {{ toYaml . | nindent 10 | trim }}
        {{- end }}
        {{- if not (has "IDAAS_LOG_FORMAT" $names) }}
        - {name: IDAAS_LOG_FORMAT, value: json}
        {{- end }}
        - {name: IDAAS_LISTEN_ADDRESS, value: ":9877"}
        - {name: IDAAS_PROBE_ADDRESS, value: ":9878"}
        - {name: IDAAS_STATE_FILE, value: /var/lib/idaas-token-exporter/state}
        {{- if not .Values.demo }}
        - {name: IDAAS_TARGETS_FILE, value: /etc/idaas-token-exporter/targets/targets.yaml}
        {{- end }}
        {{- if gt (int .Values.shards) 1 }}
        - {name: IDAAS_SHARD_COUNT, value: {{ .Values.shards | quote }}}
        - {name: IDAAS_SHARD_INDEX, value: auto}
        {{- end }}
        {{- if .Values.secret.name }}
        {{- range $name, $key := .Values.secret.files }}
        - {name: {{ $name }}, value: {{ printf "/etc/idaas-token-exporter/secret/%s" $key }}}
        {{- end }}
        {{- end }}
        {{- if .Values.oidc.enabled }}
        - {name: IDAAS_AUTH_METHOD, value: oidc}
        - {name: IDAAS_OIDC_TOKEN_FILE, value: /var/run/secrets/idaas-token-exporter/token}
        {{- end }}
        {{- if .Values.web.configSecret }}
        - {name: IDAAS_WEB_CONFIG_FILE, value: /etc/idaas-token-exporter/web/web.yaml}
        {{- end }}
        {{- with include "exporter.gomemlimit" . }}
        - {name: GOMEMLIMIT, value: {{ . }}}
        {{- end }}
      {{- with .Values.envFrom }}
      envFrom: {{ toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: metrics, containerPort: 9877}
        - {name: probes, containerPort: 9878}
      livenessProbe:
        httpGet: {path: /-/healthy, port: probes}
        timeoutSeconds: 5
      readinessProbe:
        httpGet: {path: /-/ready, port: probes}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- with .Values.resources }}
      resources: {{ toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext: {{ toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - {name: state, mountPath: /var/lib/idaas-token-exporter}
        {{- if not .Values.demo }}
        - {name: targets, mountPath: /etc/idaas-token-exporter/targets, readOnly: true}
        {{- end }}
        {{- if .Values.secret.name }}
        - {name: secret, mountPath: /etc/idaas-token-exporter/secret, readOnly: true}
        {{- end }}
        {{- if .Values.oidc.enabled }}
        - {name: token, mountPath: /var/run/secrets/idaas-token-exporter, readOnly: true}
        {{- end }}
        {{- if .Values.web.configSecret }}
        - {name: web, mountPath: /etc/idaas-token-exporter/web, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 8 }}{{ end }}
  volumes:
    {{- if not .Values.state.persistence.enabled }}
    - name: state
      emptyDir: {sizeLimit: {{ .Values.state.persistence.size | quote }}}
    {{- else if eq (int .Values.shards) 1 }}
    - name: state
      persistentVolumeClaim: {claimName: {{ include "exporter.fullname" . | quote }}}
    {{- end }}
    {{- if not .Values.demo }}
    - name: targets
      configMap: {name: {{ include "exporter.fullname" . | quote }}}
    {{- end }}
    {{- if .Values.secret.name }}
    - name: secret
      secret: {secretName: {{ .Values.secret.name | quote }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.oidc.enabled }}
    - name: token
      projected:
        defaultMode: 0440
        sources:
          - serviceAccountToken:
              path: token
              audience: {{ .Values.oidc.audience | quote }}
              expirationSeconds: {{ int .Values.oidc.expirationSeconds }}
    {{- end }}
    {{- if .Values.web.configSecret }}
    - name: web
      secret: {secretName: {{ .Values.web.configSecret | quote }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}{{ toYaml . | nindent 4 }}{{ end }}
{{- end }}

{{- define "exporter.claim" -}}
accessModes: [ReadWriteOnce]
resources: {requests: {storage: {{ .Values.state.persistence.size | quote }}}}
{{- with .Values.state.persistence.storageClassName }}
storageClassName: {{ quote . }}
{{- end }}
{{- end }}
