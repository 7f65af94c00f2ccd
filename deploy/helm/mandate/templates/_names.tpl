{{- define "mandate.labels" -}}
app.kubernetes.io/name: mandate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: authority
{{- end }}

{{- define "mandate.baseUrl" -}}
{{ .Values.baseUrl | default (printf "https://%s.%s.svc:7400" .Release.Name .Release.Namespace) }}
{{- end }}

{{- define "mandate.configuration" -}}
tenants: [/etc/mandate/tenants]
data: 0.0.0.0:7400
admin: 0.0.0.0:7401
base_url: {{ include "mandate.baseUrl" . }}
data_dir: /var/lib/mandate
drain_seconds: {{ .Values.drainSeconds }}
tls:
  cert: /etc/mandate/tls/tls.crt
  key: /etc/mandate/tls/tls.key
  {{- if .Values.tls.clientCertificates }}
  client_ca: /etc/mandate/tls/ca.crt
  {{- end }}
operators: {{ .Values.operators | toJson }}
{{- with .Values.config }}
{{ toYaml . }}
{{- end }}
{{- end }}
