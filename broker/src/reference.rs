//! Pages of the reference that follow from the broker's own tables. A test compares them.

use std::fmt::Write as _;

use crate::{dispatch::SUPPORTED, topic_config::DEFINITIONS};

/// Which Kafka APIs are served, in which versions, and what differs from Apache Kafka.
#[must_use]
pub fn kafka_apis() -> String {
    let mut text = String::from(
        "# Kafka APIs of the Embedded engine\n\nGenerated from the broker's own table by `cargo xtask generate`.\n\n\
         | Key | API | Served | Advertised from |\n|---|---|---|---|\n",
    );
    for entry in SUPPORTED {
        let (key, name) = (entry.api_key.code(), entry.api_key.name());
        let (min, max, advertised) = (entry.min, entry.max, entry.advertised_min);
        // Writing to a string cannot fail.
        writeln!(text, "| {key} | {name} | {min}–{max} | {advertised} |").unwrap_or_default();
    }
    text.push_str(
        "\nAny other API or version closes the connection, as in Apache Kafka; ApiVersions in an unknown version is \
         answered with error 35 and this table. What differs:\n\n\
         - An acknowledgement means that the records are synced to disk, with `acks=1` as well as with `acks=all`.\n\
         - There is one node, id 0. `min.insync.replicas` above 1 refuses `acks=all` with error 19.\n\
         - In a compacted topic a segment that is old or full is sealed and compacted though nobody appends, and \
         tombstones go when their time is up though nothing new came. DeleteRecords is taken where it is the way to \
         delete damage, whatever the policy.\n\
         - A fetch that is alone larger than all of its client's quota is answered, and the client waits afterwards; \
         Apache Kafka never gives it. Quotas of an `ip` are of an address, never of a host's name.\n\
         - DescribeQuorum tells of the one node and the broker's own table: there is no topic `__cluster_metadata`.\n\
         - Transactions follow KIP-890 (`transaction.version=2`), for clients of both versions of the protocol. The end \
         of one is answered when its markers are on disk; there is no topic `__transaction_state`.\n\
         - Consumer groups speak the classic protocol or the new one (KIP-848, assignors `uniform` and `range`); an \
         empty group may change from one to the other, but members of both in one group are refused: there is no \
         online migration (`group.consumer.migration.policy=disabled`).\n\
         - There is no topic `__consumer_offsets`; offsets and groups are in the broker's own table, and a restart is \
         no rebalance.\n\
         - Fetch sessions are not kept: the session id is always 0.\n\
         - ACLs know the principal `User:NAMESPACE/*` for all service accounts of a namespace, by certificate. The \
         listener without TLS has an authorizer only with `authorizer.class.name`.\n\
         - A partition with damage in synced records, or after a failed sync, takes no more writes (error 56) and \
         keeps its bytes; the records that are intact can still be read.\n\
         - While the disk is nearly full, producing is refused with error 56; reading, commits and deletions go on.\n",
    );
    text
}

/// The configs that a topic may have.
#[must_use]
pub fn topic_configs() -> String {
    let mut text = String::from(
        "# Topic configs of the Embedded engine\n\nGenerated from the broker's own table by `cargo xtask generate`. \
         Any other name is refused.\n\n| Config | Default | Meaning |\n|---|---|---|\n",
    );
    for definition in DEFINITIONS {
        let (name, default, meaning) = (definition.name, definition.default, definition.documentation);
        writeln!(text, "| `{name}` | `{default}` | {meaning} |").unwrap_or_default();
    }
    text
}
