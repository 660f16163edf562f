//! The files that a Kafka node reads. Pure.

use super::{CONTROLLER_PORT, DATA_FOLDER, TLS_FOLDER, host};
use crate::{
    context::Settings,
    controllers::broker::{KAFKA_PORT, objects::secret},
};
use api::Broker;
use control::ObjectName;

/// Listeners by Kafka's names.
const CLIENTS: &str = "CLIENT";
const CONTROLLERS: &str = "CONTROLLER";
/// So many copies are enough that one may be away while messages are acknowledged.
const COPIES_ENOUGH: i32 = 3;

/// Warnings and what happens rarely, to standard output.
pub(super) const LOGGING: &str = "\
status=WARN
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSS'Z'}{UTC} %p %m (%c)%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=CONSOLE
";

/// `server.properties`; what the Broker says comes last and wins.
pub(super) fn server(broker: &Broker, own: &ObjectName, settings: &Settings) -> String {
    let copies = broker.spec.default_copies();
    let copies_min = if copies < COPIES_ENOUGH { 1 } else { 2 };
    let controllers: Vec<String> = (0..broker.spec.controllers())
        .map(|id| format!("{}:{CONTROLLER_PORT}", host(own, &id.to_string())))
        .collect();
    // The name of a Pod ends with the number of its node.
    let advertised = format!("${{env:POD_NAME}}.{}.{}.svc", super::nodes_name(&own.name), own.namespace);
    let (nodes_principal, operator) = (super::principal(own), &settings.identity);
    let (keystore, bundle) = (secret::KEYSTORE, secret::BUNDLE);
    let mut text = format!(
        "\
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
process.roles=broker,controller
node.id=${{env:NODE_ID}}
broker.rack=${{env:RACK}}
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
log.dirs={DATA_FOLDER}/kafka
listeners={CLIENTS}://0.0.0.0:{KAFKA_PORT},{CONTROLLERS}://0.0.0.0:{CONTROLLER_PORT}
advertised.listeners={CLIENTS}://{advertised}:{KAFKA_PORT},{CONTROLLERS}://{advertised}:{CONTROLLER_PORT}
listener.security.protocol.map={CLIENTS}:SSL,{CONTROLLERS}:SSL
inter.broker.listener.name={CLIENTS}
controller.listener.names={CONTROLLERS}
controller.quorum.bootstrap.servers={}
ssl.keystore.type=PEM
ssl.keystore.location={TLS_FOLDER}/{keystore}
ssl.truststore.type=PEM
ssl.truststore.location={TLS_FOLDER}/{bundle}
ssl.client.auth=required
ssl.enabled.protocols=TLSv1.3
ssl.principal.mapping.rules=RULE:^CN=([^,]+)$/$1/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{nodes_principal};User:{operator}
auto.create.topics.enable=false
default.replication.factor={copies}
min.insync.replicas={copies_min}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={copies_min}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={copies_min}
",
        controllers.join(",")
    );
    for (name, value) in &broker.spec.config {
        text.push_str(&format!("{name}={value}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn properties(spec: &str) -> BTreeMap<String, String> {
        let broker: Broker =
            serde_yaml::from_str(&format!("metadata: {{name: default, namespace: shop}}\nspec: {spec}"))
                .unwrap();
        let context = crate::testing::context(&crate::testing::FakeApi::default(), &Default::default());
        let text = server(&broker, &ObjectName::new("shop", "default"), &context.settings);
        text.lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// Goal: with three nodes or more one may be away without a loss; with fewer there is nothing to wait for.
    #[tokio::test]
    async fn copies_follow_the_number_of_nodes() {
        for (nodes, copies, copies_min) in [(1, "1", "1"), (2, "2", "1"), (3, "3", "2"), (5, "3", "2")] {
            let all = properties(&format!("{{engine: Kafka, replicas: {nodes}}}"));
            for name in ["default", "offsets.topic", "transaction.state.log", "share.coordinator.state.topic"]
            {
                assert_eq!(all[&format!("{name}.replication.factor")], copies, "{name} of {nodes}");
            }
            assert_eq!(all["min.insync.replicas"], copies_min, "{nodes}");
            assert_eq!(
                all["controller.quorum.bootstrap.servers"].split(',').count(),
                if nodes < 3 { 1 } else { 3 }
            );
        }
        // Nodes that come later start no other one again.
        let five = properties("{engine: Kafka, replicas: 5}");
        assert_eq!(five, properties("{engine: Kafka, replicas: 3}"));
    }

    /// Goal: what the Broker says wins over our defaults, and every setting that we secure the cluster with is one that a
    /// Broker cannot say.
    #[tokio::test]
    async fn the_operator_owns_what_secures_the_cluster() {
        let all = properties("{engine: Kafka, config: {min.insync.replicas: '1', num.partitions: '7'}}");
        assert_eq!((all["min.insync.replicas"].as_str(), all["num.partitions"].as_str()), ("1", "7"));
        let free = [
            "auto.create.topics.enable",
            "min.insync.replicas",
            "replica.selector.class",
            "num.partitions",
            "transaction.state.log.min.isr",
        ];
        let free = |name: &str| {
            free.contains(&name) || name.ends_with("replication.factor") || name.ends_with("topic.min.isr")
        };
        for name in all.keys() {
            assert_ne!(api::broker::config::is_owned(name), free(name), "{name}");
        }
        assert_eq!(all["super.users"], "User:kafka:shop/default;User:pinnace-system/pinnace-operator");
    }
}
