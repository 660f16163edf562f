{{/* The name of the operator and of all that belongs to it. */}}
{{- define "pinnace.operator" -}}
{{- printf "%s-operator" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The Service in front of the leader's control plane. */}}
{{- define "pinnace.control" -}}
{{- printf "%s-control" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "pinnace.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "pinnace.operator" .) -}}
{{- end -}}

{{- define "pinnace.testNamespace" -}}
{{- .Values.test.namespace | default (printf "%s-test" .Release.Name) -}}
{{- end -}}

{{/* Which Pods are the operator's. */}}
{{- define "pinnace.selector" -}}
app.kubernetes.io/name: pinnace-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "pinnace.labels" -}}
{{ include "pinnace.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: pinnace
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "pinnace.testLabels" -}}
app.kubernetes.io/name: pinnace-test
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: pinnace
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* One image: call with a list of the context, the image's name and the reference that overrides it. */}}
{{- define "pinnace.image" -}}
{{- $context := index . 0 -}}
{{- $name := index . 1 -}}
{{- $override := index . 2 -}}
{{- if $override -}}
{{- $override -}}
{{- else -}}
{{- printf "%s/%s:%s" $context.Values.image.registry $name ($context.Values.image.tag | default $context.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Namespaces that no webhook of ours looks at, as a JSON list. */}}
{{- define "pinnace.excludedNamespaces" -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq | toJson -}}
{{- end -}}

{{/* All others. */}}
{{- define "pinnace.namespaceSelector" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- range include "pinnace.excludedNamespaces" . | fromJsonArray }}
      - {{ . | quote }}
      {{- end }}
{{- end -}}

{{/* A container that the restricted Pod Security Standard lets in. OpenShift assigns users itself and refuses others. */}}
{{- define "pinnace.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
privileged: false
readOnlyRootFilesystem: true
{{- if not (.Capabilities.APIVersions.Has "security.openshift.io/v1") }}
runAsGroup: 65532
runAsUser: 65532
{{- end }}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end -}}
