//! Names that a cluster keeps for ever, made from the name of its Broker. Pure.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use control::ObjectName;
use sha2::{Digest as _, Sha256};

/// Bytes of Kafka's ids.
const ID_BYTES: usize = 16;

/// As whom the nodes speak to one another, in Kafka's words. No service account has a name with a colon.
pub(in super::super::super) fn principal(own: &ObjectName) -> String {
    format!("kafka:{}/{}", own.namespace, own.name)
}

/// Kafka's id of the cluster.
pub(super) fn cluster_id(own: &ObjectName) -> String {
    id(&format!("cluster {}/{}", own.namespace, own.name))
}

/// Kafka's id of a node's folder, which is also what the quorum knows the node by.
pub(super) fn directory_id(own: &ObjectName, node: i32) -> String {
    id(&format!("directory {}/{} {node}", own.namespace, own.name))
}

/// Kafka takes no id that begins with a dash, since it would look like a flag.
fn id(text: &str) -> String {
    let mut digest = Sha256::digest(text);
    loop {
        let id = URL_SAFE_NO_PAD.encode(digest.iter().copied().take(ID_BYTES).collect::<Vec<_>>());
        if !id.starts_with('-') {
            return id;
        }
        digest = Sha256::digest(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Goal: ids have Kafka's form and differ; none looks like a flag.
    #[test]
    fn ids_have_kafkas_form() {
        let all: Vec<String> = (0..2000)
            .flat_map(|number| {
                let own = ObjectName::new("shop", format!("b{number}"));
                [cluster_id(&own), directory_id(&own, 0), directory_id(&own, 1)]
            })
            .collect();
        assert!(all.iter().all(|id| id.len() == 22 && !id.starts_with('-')));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert_eq!(cluster_id(&ObjectName::new("shop", "b0")), all[0], "it is the same each time");
    }
}
