{{- define "exporter.pod" -}}
metadata:
  labels:
    {{- include "exporter.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
  annotations:
    kubectl.kubernetes.io/default-container: exporter
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "exporter.serviceAccount" . }}
  automountServiceAccountToken: false
  # The exporter would log variables of services named idaas-… as unknown settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: 10
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
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
      image: {{ include "exporter.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- if .Values.demo }}
      args: [demo]
      {{- end }}
      env:
        {{- range $name, $value := .Values.settings }}
        - {name: {{ $name }}, value: {{ $value | toString | quote }}}
        {{- end }}
        {{- if not (hasKey .Values.settings "IDAAS_LOG_FORMAT") }}
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
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .Values.securityContext | nindent 8 }}
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
  volumes:
    {{- if not .Values.state.persistence.enabled }}
    - name: state
      emptyDir: {sizeLimit: {{ .Values.state.persistence.size }}}
    {{- else if eq (int .Values.shards) 1 }}
    - name: state
      persistentVolumeClaim: {claimName: {{ include "exporter.fullname" . }}}
    {{- end }}
    {{- if not .Values.demo }}
    - name: targets
      configMap: {name: {{ include "exporter.fullname" . }}}
    {{- end }}
    {{- if .Values.secret.name }}
    - name: secret
      secret: {secretName: {{ .Values.secret.name }}, defaultMode: 0440}
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
      secret: {secretName: {{ .Values.web.configSecret }}, defaultMode: 0440}
    {{- end }}
{{- end }}

{{- define "exporter.claim" -}}
accessModes: [ReadWriteOnce]
resources: {requests: {storage: {{ .Values.state.persistence.size }}}}
{{- with .Values.state.persistence.storageClassName }}
storageClassName: {{ . }}
{{- end }}
{{- end }}
