{{/* The name of everything that the release makes. */}}
{{- define "storelab.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* What selects the pods of the service; never changed once released. */}}
{{- define "storelab.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "storelab.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "storelab.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "storelab.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Whether results are in PostgreSQL, which several processes share. */}}
{{- define "storelab.isShared" -}}
{{- if .Values.store.existingSecret }}true{{ end }}
{{- end }}

{{/* The service's names in the cluster, those of values, and the pod's address, by which Prometheus asks. */}}
{{- define "storelab.names" -}}
{{- $name := include "storelab.name" . -}}
{{- $inside := printf "%s.%s" $name .Release.Namespace -}}
{{- concat (list "$(POD_IP)" $name $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside)) .Values.service.names | join "," }}
{{- end }}

{{/* Variables that the service and the agents have alike. */}}
{{- define "storelab.env" -}}
- { name: STORELAB_HOME, value: /var/lib/storelab }
- { name: STORELAB_CACHE, value: /var/lib/storelab/cache }
- { name: LOG_FORMAT, value: json }
{{- if include "storelab.isShared" . }}
- name: STORELAB_STORE
  valueFrom: { secretKeyRef: { name: {{ .Values.store.existingSecret | quote }}, key: {{ .Values.store.key | quote }} } }
{{- end }}
{{- range $name, $value := .Values.env }}
- { name: {{ $name | quote }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}

{{/* Nobody, who can do nothing and write only where a volume is. */}}
{{- define "storelab.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "storelab.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: { drop: [ALL] }
{{- end }}
