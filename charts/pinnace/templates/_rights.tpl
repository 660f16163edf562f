{{/* What the operator does in the namespaces that it serves. No wildcard, no Secret. */}}
{{- define "pinnace.rights" -}}
# The kinds: watched; finalizers set and taken off.
- apiGroups: [pinnace.dev]
  resources: [topics, channels, brokers, subscriptions]
  verbs: [get, list, watch, patch]
# The Broker `default` is made for the first Topic of a namespace.
- apiGroups: [pinnace.dev]
  resources: [brokers]
  verbs: [create]
- apiGroups: [pinnace.dev]
  resources: [topics/status, channels/status, brokers/status, subscriptions/status]
  verbs: [get, patch]
# Children of a Broker point to it as their owner and block its deletion.
- apiGroups: [pinnace.dev]
  resources: [topics/finalizers, channels/finalizers, brokers/finalizers, subscriptions/finalizers]
  verbs: [update]
# What a Broker is made of; it goes with the Broker by itself.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
# Those that a Broker no longer needs are deleted.
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, create, patch, delete]
# The nodes of a Kafka cluster start again one at a time: by eviction, which their PodDisruptionBudget can refuse.
- apiGroups: [""]
  resources: [pods/eviction]
  verbs: [create]
# A drain takes one node of a Kafka cluster at a time.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch]
# Kafka knows no rule for all service accounts of a namespace: each gets its own. Their names alone are looked at.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch]
# Storage grows. The StatefulSet makes and deletes it.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch]
{{- if include "pinnace.isNamespaced" . }}
# Whether it is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [{{ .Release.Namespace | quote }}]
  verbs: [get]
{{- else }}
# Labels that allowedNamespaces selects by.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
{{- end }}
# Pods that ask for a sidecar (watched by that label, which RBAC cannot say): those that run without one are found.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
{{- if eq .Values.sidecar.upgrade.mode "InPlace" }}
# The image of sidecars; RBAC knows no fields, the policy RELEASE-operator-pods does.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
# Of such a Pod, the Deployment behind its ReplicaSet and the CronJob behind its Job: they are told.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [get]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
