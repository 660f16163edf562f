//! One process of the operator, from its start until it is killed.

use super::{feed::feed, runner, world::World};
use crate::{
    cluster::{Cluster, Homes, Kind},
    context::Context,
    controllers::{Shared, broker, channel, topic, triggers},
    scope::Scope,
    testing::context_over,
};
use runtime::{shutdown::Shutdown, tasks::Tasks};
use std::sync::Arc;

pub(super) struct Process {
    tasks: Tasks,
}

impl Process {
    pub(super) fn start(world: &World) -> Self {
        world.log("the operator starts");
        let tasks = Tasks::new(Shutdown::new());
        let homes = Homes::default();
        let cluster = Cluster {
            scope: Scope::Cluster,
            topics: Kind::watch("topics", &tasks, homes.hear(feed(world, "Topic"))),
            homes,
            channels: Kind::watch("channels", &tasks, feed(world, "Channel")),
            brokers: Kind::watch("brokers", &tasks, feed(world, "Broker")),
            subscriptions: Kind::watch("subscriptions", &tasks, feed(world, "Subscription")),
            namespaces: Kind::watch("namespaces", &tasks, feed(world, "Namespace")),
            stateful_sets: Kind::watch("statefulsets", &tasks, feed(world, "StatefulSet")),
            volume_claims: Kind::watch(
                "persistentvolumeclaims",
                &tasks,
                feed(world, "PersistentVolumeClaim"),
            ),
            pods: Kind::watch("pods", &tasks, feed(world, "Pod")),
            service_accounts: Kind::watch("serviceaccounts", &tasks, feed(world, "ServiceAccount")),
        };
        let (world, shutdown, followers) = (world.clone(), tasks.shutdown().clone(), tasks.clone());
        drop(tasks.spawn_until_shutdown("process", async move {
            if cluster.ready().await.is_err() {
                return;
            }
            let client = world.api.client_over(&world.line);
            let context = Arc::new(context_over(cluster, client, &world.brokers));
            crate::health::start(&context, &followers);
            control(&context, &shutdown).await;
        }));
        Self { tasks }
    }

    /// Everything is dropped where it stands.
    pub(super) fn kill(self) {
        self.tasks.shutdown().begin();
    }
}

async fn control(context: &Arc<Context>, shutdown: &Shutdown) {
    let cluster = &context.cluster;
    let brokers = Shared::new("Broker", broker::reconcile, context, shutdown);
    let topics = Shared::new("Topic", topic::reconcile, context, shutdown);
    let channels = Shared::new("Channel", channel::reconcile, context, shutdown);
    tokio::join!(
        biased;
        runner::run(cluster.brokers.clone(), triggers::brokers(context), Arc::new(brokers)),
        runner::run(cluster.topics.clone(), triggers::topics(cluster), Arc::new(topics)),
        runner::run(cluster.channels.clone(), triggers::channels(context), Arc::new(channels)),
    );
}
