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

{{- /* Fails where a value has a field that its schema does not know: the API server would drop it with a word that
Helm does not pass on, and a hold or a guardrail that is spelled wrong would hold nothing. */ -}}
{{- define "sluice.known" -}}
{{- if and (kindIs "map" .value) (hasKey .schema "properties") }}
{{- range $name, $below := .value }}
{{- if not (hasKey $.schema.properties $name) }}
{{- fail (printf "values: %s has no field %q; it has: %s" $.path $name (keys $.schema.properties | sortAlpha | join ", ")) }}
{{- end }}
{{- include "sluice.known" (dict "path" (printf "%s.%s" $.path $name) "schema" (get $.schema.properties $name) "value" $below) }}
{{- end }}
{{- else if and (kindIs "slice" .value) (hasKey .schema "items") }}
{{- range $i, $below := .value }}
{{- include "sluice.known" (dict "path" (printf "%s[%d]" $.path $i) "schema" $.schema.items "value" $below) }}
{{- end }}
{{- end }}
{{- end }}
