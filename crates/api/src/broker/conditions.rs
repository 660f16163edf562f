//! Types and reasons of a Broker's conditions. Constants only.

/// The object is valid and nothing in it is unsupported.
pub const ACCEPTED: &str = "Accepted";
/// The pods run and are ready.
pub const NODES_READY: &str = "NodesReady";
/// The broker answers the operator over the Kafka protocol.
pub const SERVING: &str = "Serving";
/// The volume has the size that the spec asks for.
pub const STORAGE_READY: &str = "StorageReady";
/// The engine takes messages: its disk is not nearly full.
pub const DISK_HAS_ROOM: &str = "DiskHasRoom";
/// No partition of the engine is read-only for damage or a failed disk.
pub const DATA_INTACT: &str = "DataIntact";
/// Every copy of a partition is on the node where it should be. Shown, and no part of Ready.
pub const COPIES_PLACED: &str = "CopiesPlaced";

/// Reason: valid and supported.
pub const REASON_ACCEPTED: &str = "Accepted";
/// Reason: all pods are ready.
pub const REASON_RUNNING: &str = "Running";
/// Reason: pods are on their way.
pub const REASON_STARTING: &str = "Starting";
/// Reason: the pods are ready, and keep their image until it is their turn to get the one of the operator's version.
pub const REASON_UPGRADE_WAITS: &str = "UpgradeWaits";
/// Reason: the nodes serve, and start again one at a time to have what changed.
pub const REASON_RESTARTING: &str = "Restarting";
/// Reason: no copy has to move.
pub const REASON_IN_PLACE: &str = "InPlace";
/// Reason: new nodes get their share of the copies.
pub const REASON_SPREADING: &str = "Spreading";
/// Reason: nodes that are to leave are emptied.
pub const REASON_LEAVING: &str = "Leaving";
/// Reason: the broker answers.
pub const REASON_SERVING: &str = "Serving";
/// Reason: the broker does not answer.
pub const REASON_UNREACHABLE: &str = "Unreachable";
/// Reason: the operator keeps its hands off.
pub const REASON_PAUSED: &str = "Paused";
/// Reason: the volume is bound.
pub const REASON_BOUND: &str = "Bound";
/// Reason: the volume waits for its storage class.
pub const REASON_VOLUME_PENDING: &str = "VolumePending";
/// Reason: the volume is growing.
pub const REASON_RESIZING: &str = "Resizing";
/// Reason: the disk is not nearly full.
pub const REASON_HAS_ROOM: &str = "HasRoom";
/// Reason: the engine refuses messages until there is room.
pub const REASON_DISK_NEARLY_FULL: &str = "DiskNearlyFull";
/// Reason: all partitions take messages.
pub const REASON_INTACT: &str = "Intact";
/// Reason: some partitions take none.
pub const REASON_PARTITIONS_READ_ONLY: &str = "PartitionsReadOnly";
/// Reason: the engine did not tell.
pub const REASON_NOT_TOLD: &str = "NotTold";
/// Reason of an Event: a node starts again with what changed.
pub const REASON_NODE_RESTARTS: &str = "NodeRestarts";
/// Reason of an Event: the volume was there already, with what it holds.
pub const REASON_ADOPTED: &str = "Adopted";
