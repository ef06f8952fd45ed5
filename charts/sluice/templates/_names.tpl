{{- define "sluice.labels" -}}
app.kubernetes.io/name: sluice
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "sluice.image" -}}
{{ .Values.image.repository }}
{{- with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Names in the whole cluster begin with the release's. */ -}}
{{- define "sluice.clusterName" -}}
{{ .root.Release.Name }}-{{ .name }}
{{- end }}

{{- define "sluice.account" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:sluice-{{ .of }}
{{- end }}

{{- /* On the network of a node the port must be one that nobody else takes. */ -}}
{{- define "sluice.agentPort" -}}
{{ ternary 9734 8080 .Values.agent.hostNetwork }}
{{- end }}
