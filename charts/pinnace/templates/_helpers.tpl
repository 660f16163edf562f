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

{{/* Not empty: the operator serves the namespace of its release alone. */}}
{{- define "pinnace.isNamespaced" -}}
{{- if eq .Values.scope "Namespaced" }}true{{ end -}}
{{- end -}}

{{/* The name of what is of no namespace. A namespace has no point in its name, so two releases never share one. */}}
{{- define "pinnace.clusterName" -}}
{{- if include "pinnace.isNamespaced" . -}}
{{- printf "%s.%s" .Release.Namespace (include "pinnace.operator" .) -}}
{{- else -}}
{{- include "pinnace.operator" . -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the webhooks' certificate; empty: the operator makes its own. */}}
{{- define "pinnace.webhookSecret" -}}
{{- if .Values.webhook.certificate.secret -}}
{{- .Values.webhook.certificate.secret -}}
{{- else if include "pinnace.isNamespaced" . -}}
{{- include "pinnace.operator" . }}-webhook
{{- end -}}
{{- end -}}

{{/* Values that do not go together. */}}
{{- define "pinnace.check" -}}
{{- $certificate := .Values.webhook.certificate -}}
{{- if and $certificate.caBundle (not $certificate.secret) -}}
{{- fail "webhook.certificate.caBundle is the authority of webhook.certificate.secret, which is empty: set both, or none" -}}
{{- end -}}
{{- if include "pinnace.isNamespaced" . -}}
{{- $alone := printf "scope Namespaced serves namespace %s alone" .Release.Namespace -}}
{{- if .Values.rbac.brokerNamespaces -}}
{{- fail (printf "rbac.brokerNamespaces: %s, and Brokers live there; remove it" $alone) -}}
{{- end -}}
{{- if .Values.webhook.excludedNamespaces -}}
{{- fail (printf "webhook.excludedNamespaces: %s; remove it" $alone) -}}
{{- end -}}
{{- if .Values.networkPolicy.brokers.namespaces -}}
{{- fail (printf "networkPolicy.brokers.namespaces: %s, and Brokers live there; remove it" $alone) -}}
{{- end -}}
{{- if .Values.test.namespace -}}
{{- fail (printf "test.namespace: %s, and helm test runs there; remove it" $alone) -}}
{{- end -}}
{{- if hasKey .Values.operator.podLabels "pinnace.dev/inject" -}}
{{- fail "operator.podLabels: with pinnace.dev/inject the operator would wait for its own webhook; remove it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "pinnace.testNamespace" -}}
{{- if include "pinnace.isNamespaced" . -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- .Values.test.namespace | default (printf "%s-test" .Release.Name) -}}
{{- end -}}
{{- end -}}

{{/* Annotations of what `helm test` makes: call with a list of the context and the weight. Where the namespace goes, all goes. */}}
{{- define "pinnace.testHook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ index . 1 | quote }}
{{- if include "pinnace.isNamespaced" (index . 0) }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
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
{{- if include "pinnace.isNamespaced" . -}}
[]
{{- else -}}
{{- concat (list "kube-system" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that they look at. */}}
{{- define "pinnace.namespaceSelector" -}}
{{- if include "pinnace.isNamespaced" . -}}
matchLabels:
  kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
{{- else -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: NotIn
    values:
      {{- range include "pinnace.excludedNamespaces" . | fromJsonArray }}
      - {{ . | quote }}
      {{- end }}
{{- end -}}
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
