//! Types and reasons of a Topic's conditions. Constants only.

/// The object is valid and nothing in it is unsupported.
pub const ACCEPTED: &str = "Accepted";
/// The Broker is there, allows this namespace and answers.
pub const BROKER_READY: &str = "BrokerReady";
/// The topic on the broker is as the spec says.
pub const IN_SYNC: &str = "InSync";
/// Each partition has as many copies as the spec says. Shown, and no part of Ready; only where the spec says how many, on a
/// Broker with engine Kafka.
pub const COPIES_PLACED: &str = "CopiesPlaced";

/// Reason: valid and supported.
pub const REASON_ACCEPTED: &str = "Accepted";
/// Reason: the Broker answers.
pub const REASON_SERVING: &str = "Serving";
/// Reason: the topic on the broker is as the spec says.
pub const REASON_IN_SYNC: &str = "InSync";
/// Reason: the Broker does not exist.
pub const REASON_BROKER_NOT_FOUND: &str = "BrokerNotFound";
/// Reason: the Broker does not answer yet.
pub const REASON_BROKER_NOT_READY: &str = "BrokerNotReady";
/// Reason: the Broker does not allow Topics of this namespace.
pub const REASON_NAMESPACE_NOT_ALLOWED: &str = "NamespaceNotAllowed";
/// The Broker is in a namespace that this operator does not serve.
pub const REASON_BROKER_NOT_SERVED: &str = "BrokerNotServed";
/// Reason: an older Topic has this name on the broker.
pub const REASON_CONFLICT: &str = "TopicNameConflict";
/// Reason: the Topic asks for more than its Broker gives each namespace.
pub const REASON_QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// Reason: the broker refused a change.
pub const REASON_REFUSED: &str = "RefusedByBroker";
/// Reason: `managementPolicy: Observe` or `Adopt`, and the topic does not exist.
pub const REASON_TOPIC_NOT_FOUND: &str = "TopicNotFound";
/// Reason: the broker's topic differs in a way that cannot be changed.
pub const REASON_DIFFERS: &str = "Differs";
/// Reason: each partition has its copies.
pub const REASON_IN_PLACE: &str = "InPlace";
/// Reason: copies are added or taken away.
pub const REASON_MOVING: &str = "Moving";
/// Reason: there are fewer nodes than copies asked for.
pub const REASON_TOO_FEW_NODES: &str = "TooFewNodes";
/// Reason: not looked at yet.
pub const REASON_PENDING: &str = "Pending";
/// Reason: the Broker is paused for maintenance.
pub const REASON_PAUSED: &str = "Paused";
/// Reason: the service accounts that are let in are not known to the operator.
pub const REASON_ACCOUNTS_UNKNOWN: &str = "ServiceAccountsUnknown";
/// Reason: the API server refused the Broker that is made on first use: a quota or a policy.
pub const REASON_BROKER_REFUSED: &str = "BrokerRefused";
/// Reason of an Event: the topic was on the broker already, with what it holds.
pub const REASON_ADOPTED: &str = "Adopted";
