//! Labels, annotations and other fixed words that objects carry. No logic.

/// Label on a pod template: `"true"` has the webhook add the sidecar.
pub const INJECT: &str = "pinnace.dev/inject";
/// What is behind the Broker whose Pod this is; label.
pub const ENGINE: &str = "pinnace.dev/engine";
/// Label on everything that a Broker owns; the value is the Broker's name.
pub const BROKER: &str = "pinnace.dev/broker";
/// Kubernetes' recommended label for the application's name.
pub const NAME: &str = "app.kubernetes.io/name";
/// Kubernetes' recommended label for the instance.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// Kubernetes' recommended label for the part within the application.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Kubernetes' recommended label for who manages an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] on everything that the operator writes.
pub const MANAGER: &str = "pinnace";

/// Annotation on a pod: which Broker the Kafka door opens to (`NAME` or `NAMESPACE/NAME`).
pub const BROKER_ANNOTATION: &str = "pinnace.dev/broker";
/// Annotation on a pod: app sockets that bind, for the sidecar to connect to (`prices.pub=tcp://127.0.0.1:5557`).
pub const ZMQ_CONNECT: &str = "pinnace.dev/zmq-connect";
/// Annotation on a pod: extra TCP doors for ZeroMQ (`prices.sub=tcp://127.0.0.1:5556`).
pub const ZMQ_LISTEN: &str = "pinnace.dev/zmq-listen";
/// Annotation on a pod: have the sidecar POST messages to the app.
pub const PUSH: &str = "pinnace.dev/push";
/// Annotation on a pod: resources of the sidecar, as JSON.
pub const SIDECAR_RESOURCES: &str = "pinnace.dev/sidecar-resources";
/// Annotation on a pod: log level of the sidecar.
pub const LOG_LEVEL: &str = "pinnace.dev/log-level";
/// Annotation on a pod: `disabled` has its sidecar keep its image until the pod is made anew.
pub const SIDECAR_UPGRADE: &str = "pinnace.dev/sidecar-upgrade";
/// Annotation on a pod with a sidecar: the image that the operator asked for; what the container has may have been changed by
/// somebody else.
pub const SIDECAR_IMAGE: &str = "pinnace.dev/sidecar-image";
/// Annotation that the operator leaves on a pod whose sidecar it gave another image, as JSON.
pub const SIDECAR_UPGRADE_BEGUN: &str = "pinnace.dev/sidecar-upgrade-begun";
/// Label on a pod with a sidecar: a hash of all settings, but the image, that it was injected with.
pub const SIDECAR_SETTINGS: &str = "pinnace.dev/sidecar-settings";
/// Annotation on a pod template: what local mode starts for this container, as a JSON list.
pub const LOCAL_COMMAND: &str = "pinnace.dev/local-command";
/// Annotation on a broker's pod: hash of its certificate and of the roots that it trusts, where it reads them at its start.
pub const CERTIFICATE_HASH: &str = "pinnace.dev/certificate-hash";
/// Annotation on a pod template of ours: hash of the configuration that needs a restart when it changes.
pub const CONFIG_HASH: &str = "pinnace.dev/config-hash";
/// Annotation on any of our objects: another value has it reconciled now, also against a broker that somebody else changed.
pub const RECONCILE: &str = "pinnace.dev/reconcile";
/// Annotation on a Broker: `"true"` lets it be deleted while Topics live on it.
pub const DELETE_WITH_TOPICS: &str = "pinnace.dev/delete-with-topics";

/// Finalizer of a Topic: the topic on the broker is deleted or kept before the object goes.
pub const TOPIC_FINALIZER: &str = "pinnace.dev/topic";
