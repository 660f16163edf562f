//! The set-ups of the broker that the entries of the suite ask for, as its own scenarios and the figures of
//! Apache Kafka in the findings name them. One broker each.

use super::entries::{DEFAULT_SCENARIO, Entry};

/// Which entries run in a set-up.
enum Picks {
    /// Those of the default scenario that no other set-up is for.
    Others,
    /// These numbers.
    Numbers(&'static [&'static str]),
    /// Those of this scenario.
    Scenario(&'static str),
}

/// A broker's settings and what a process is told.
pub(super) struct Setup {
    pub(super) name: &'static str,
    /// Before the names of its entries, where they run elsewhere as well.
    pub(super) prefix: &'static str,
    pub(super) settings: &'static [&'static str],
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// The entries start Kafka's scripts or Java classes.
    pub(super) tools: bool,
    /// One process at a time.
    pub(super) alone: bool,
    picks: Picks,
}

/// What the suite's README asks of a cluster.
const PLAIN: [&str; 2] = ["auto.create.topics.enable=true", "num.partitions=4"];
const ALONE: [&str; 3] = ["0052", "0059", "0098"];
const AUTHORIZER: [&str; 4] = ["0081", "0109", "0115", "0119"];
/// Entries whose consumers join a group, for the protocol of KIP-848.
const GROUPS: [&str; 37] = [
    "0018", "0019", "0022", "0026", "0029", "0030", "0033", "0040", "0045", "0049", "0050", "0056", "0060",
    "0061", "0064", "0069", "0081", "0082", "0083", "0084", "0089", "0091", "0093", "0099", "0102", "0103",
    "0109", "0113", "0118", "0122", "0130", "0132", "0137", "0139", "0140", "0150", "0153",
];

pub(super) const SETUPS: [Setup; 5] = [
    Setup {
        name: "plain",
        prefix: "",
        settings: &PLAIN,
        environment: &[],
        tools: false,
        alone: false,
        picks: Picks::Others,
    },
    Setup {
        name: "alone",
        prefix: "",
        settings: &PLAIN,
        environment: &[],
        tools: true,
        alone: true,
        picks: Picks::Numbers(&ALONE),
    },
    Setup {
        name: "authorizer",
        prefix: "",
        settings: &[
            "auto.create.topics.enable=true",
            "num.partitions=4",
            "group.initial.rebalance.delay.ms=0",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found=true",
        ],
        environment: &[],
        tools: true,
        alone: true,
        picks: Picks::Numbers(&AUTHORIZER),
    },
    Setup {
        name: "noautocreate",
        prefix: "",
        settings: &["auto.create.topics.enable=false", "num.partitions=4"],
        environment: &[("TEST_SCENARIO", "noautocreate")],
        tools: true,
        alone: false,
        picks: Picks::Scenario("noautocreate"),
    },
    Setup {
        name: "consumer",
        prefix: "consumer protocol: ",
        settings: &PLAIN,
        environment: &[("TEST_CONSUMER_GROUP_PROTOCOL", "consumer")],
        tools: false,
        alone: false,
        picks: Picks::Numbers(&GROUPS),
    },
];

impl Setup {
    pub(super) fn takes(&self, entry: &Entry) -> bool {
        let number = entry.number();
        let default = entry.scenario == DEFAULT_SCENARIO;
        match self.picks {
            Picks::Others => default && !ALONE.contains(&number) && !AUTHORIZER.contains(&number),
            Picks::Numbers(numbers) => default && numbers.contains(&number),
            Picks::Scenario(scenario) => entry.scenario == scenario,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every entry runs in exactly one set-up under its own name, and the group entries once more under
    /// another name.
    #[test]
    fn no_entry_is_left_out() {
        let entry = |name: &str, scenario: &str| Entry { name: name.into(), scenario: scenario.into() };
        for entry in [
            entry("0001_multiobj", "default"),
            entry("0018_cgrp_term", "default"),
            entry("0045_subscribe_update", "default"),
            entry("0045_subscribe_update_topic_remove", "noautocreate"),
            entry("0052_msg_timestamps", "default"),
            entry("0081_admin", "default"),
        ] {
            let own = SETUPS.iter().filter(|setup| setup.prefix.is_empty() && setup.takes(&entry));
            assert_eq!(own.count(), 1, "{entry:?}");
        }
        let again = SETUPS.iter().find(|setup| !setup.prefix.is_empty()).unwrap();
        assert!(again.takes(&entry("0018_cgrp_term", "default")));
        assert!(!again.takes(&entry("0001_multiobj", "default")));
    }
}
