{{- define "ringside-proxy.name" -}}
{{- if contains "ringside" .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-ringside" (.Release.Name | trunc 41 | trimSuffix "-") }}
{{- end -}}
{{- end -}}

{{- define "ringside-proxy.selector" -}}
app.kubernetes.io/name: ringside
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ringside-proxy.labels" -}}
{{ include "ringside-proxy.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ringside-proxy.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* What Pod Security's "restricted" asks of a pod; the volumes belong to the proxy's group. */}}
{{- define "ringside-proxy.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* And of a container. */}}
{{- define "ringside-proxy.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* The proxy's container, without its name: the same alone and as a sidecar. */}}
{{- define "ringside-proxy.container" -}}
image: {{ include "ringside-proxy.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- $isAlone := eq .Values.mode "standalone" }}
{{- if or $isAlone .Values.extraEnv }}
env:
  {{- if $isAlone }}
  - name: RINGSIDE_HOST
    value: 0.0.0.0
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  {{- if $isAlone }}
  - name: ringside-api
    containerPort: 8080
  {{- end }}
  - name: ringside-admin
    containerPort: 9090
startupProbe:
  httpGet:
    path: /readyz
    port: ringside-admin
  periodSeconds: 1
  failureThreshold: 30
livenessProbe:
  httpGet:
    path: /healthz
    port: ringside-admin
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: ringside-admin
  periodSeconds: 5
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  {{- include "ringside-proxy.securityContext" . | nindent 2 }}
volumeMounts:
  - name: ringside-data
    mountPath: /data
  - name: ringside-config
    mountPath: /ringside/config
    readOnly: true
  - name: ringside-secrets
    mountPath: /run/secrets/ringside
    readOnly: true
{{- end -}}

{{/* An item of initContainers: include it with (index .Subcharts "ringside-proxy"). */}}
{{- define "ringside-proxy.sidecar" -}}
- name: ringside
  restartPolicy: Always
  {{- include "ringside-proxy.container" . | nindent 2 }}
{{- end -}}

{{/* Items of a pod's volumes. */}}
{{- define "ringside-proxy.volumes" -}}
- name: ringside-data
  {{- if .Values.persistence.enabled }}
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | default (include "ringside-proxy.name" .) }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.persistence.size }}
  {{- end }}
- name: ringside-config
  configMap:
    name: {{ include "ringside-proxy.name" . }}
- name: ringside-secrets
  secret:
    secretName: {{ .Values.secretName }}
    defaultMode: 0440
{{- end -}}
