{{- define "mandate.labels" -}}
app.kubernetes.io/name: mandate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: authority
{{- end }}

{{- define "mandate.baseUrl" -}}
{{ .Values.baseUrl | default (printf "https://%s.%s.svc:7400" .Release.Name .Release.Namespace) }}
{{- end }}

{{- /* The address of one of several, which no other answers at. */ -}}
{{- define "mandate.each" -}}
{{ printf "https://%s-%d.%s-each.%s.svc" .root.Release.Name .at .root.Release.Name .root.Release.Namespace }}
{{- end }}

{{- define "mandate.checked" -}}
{{- if gt (int .Values.authorities) 1 }}
{{- range $name := list "postgres" "peers" "masterKey" }}
{{- if not (index $.Values $name).secretName }}
{{- fail (printf "authorities: more than one take %s.secretName" $name) }}
{{- end }}
{{- end }}
{{- range $name := list "node" "store" "peers" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s: of more than one authority the chart sets it" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* at: which of several it is of; left out where there is one. */ -}}
{{- define "mandate.configuration" -}}
{{- $root := .root -}}
tenants: [/etc/mandate/tenants]
data: 0.0.0.0:7400
admin: 0.0.0.0:7401
base_url: {{ include "mandate.baseUrl" $root }}
data_dir: /var/lib/mandate
drain_seconds: {{ $root.Values.drainSeconds }}
tls:
  cert: /etc/mandate/tls/tls.crt
  key: /etc/mandate/tls/tls.key
  {{- if $root.Values.tls.clientCertificates }}
  client_ca: /etc/mandate/tls/ca.crt
  {{- end }}
operators: {{ $root.Values.operators | toJson }}
{{- if hasKey . "at" }}
{{- $at := .at }}
node: {{ printf "%s-%d" $root.Release.Name $at }}
peers:
  admin:
    {{- range $other := until (int $root.Values.authorities) }}
    {{- if ne $other $at }}
    - {{ include "mandate.each" (dict "root" $root "at" $other) }}:7401
    {{- end }}
    {{- end }}
  ca: /etc/mandate/tls/ca.crt
{{- end }}
{{- with $root.Values.config }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "mandate.configurations" -}}
{{- include "mandate.checked" . }}
{{- $root := . }}
{{- if eq (int .Values.authorities) 1 }}
mandate.yaml: |
  {{- include "mandate.configuration" (dict "root" $root) | nindent 2 }}
{{- else }}
{{- range $at := until (int .Values.authorities) }}
{{ printf "%s-%d.yaml" $root.Release.Name $at }}: |
  {{- include "mandate.configuration" (dict "root" $root "at" $at) | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
