//! Brings what runs to what the manifests say: objects into the control plane, brokers, topics,
//! replicas. Called with each new reading; what did not change is not touched.

use super::brokers::{BrokerPart, Wanted};
use super::context::Context;
use super::manifests::{Manifests, Problem, Workload};
use super::replicas::Replica;
use super::report::Event;
use super::totals::TopicPlace;
use control::{Channel, ObjectName, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long apps wait for the topics of the first reading; Channels need no broker.
const TOPICS_PATIENCE: Duration = Duration::from_secs(30);

/// What runs now.
#[derive(Debug)]
pub(crate) struct Running {
    context: Context,
    pub(crate) manifests: Manifests,
    brokers: BTreeMap<ObjectName, BrokerPart>,
    replicas: BTreeMap<(ObjectName, u32), (Workload, Replica)>,
    /// What was told already, so that an edit tells only news.
    told: BTreeSet<String>,
}

/// The Broker of a Topic.
fn broker_of(name: &ObjectName, topic: &api::Topic) -> ObjectName {
    let (namespace, broker) = topic.spec.broker_of(&name.namespace);
    ObjectName::new(namespace, broker)
}

/// Where each Topic is on its broker.
pub(crate) fn places(manifests: &Manifests) -> BTreeMap<ObjectName, TopicPlace> {
    let place = |(name, topic): (&ObjectName, &api::Topic)| {
        let log_name = topic.spec.log_name(&name.namespace, &name.name);
        (name.clone(), TopicPlace { broker: broker_of(name, topic).to_string(), log_name })
    };
    manifests.topics.iter().map(place).collect()
}

/// The Brokers to run: those of the manifests, and `default` of each namespace that has a Topic on it.
fn wanted_brokers(manifests: &Manifests) -> BTreeSet<ObjectName> {
    let explicit = manifests.brokers.keys().cloned();
    let implicit = manifests.topics.iter().map(|(name, topic)| (name, broker_of(name, topic)));
    let implicit = implicit
        .filter(|(topic, broker)| broker.name == "default" && broker.namespace == topic.namespace)
        .map(|(_, broker)| broker);
    explicit.chain(implicit).collect()
}

/// Why a Topic cannot live on its Broker.
fn placement_problem(
    manifests: &Manifests,
    brokers: &BTreeSet<ObjectName>,
    topic: &ObjectName,
    broker: &ObjectName,
) -> Option<String> {
    if !brokers.contains(broker) {
        return Some(format!("there is no Broker {broker}: add one, or leave spec.broker out"));
    }
    if topic.namespace == broker.namespace {
        return None;
    }
    let allowed = manifests
        .brokers
        .get(broker)
        .is_some_and(|found| matches!(found.spec.allowed_namespaces.from, api::broker::NamespacesFrom::All));
    (!allowed).then(|| {
        format!(
            "Broker {broker} does not take Topics of namespace {}: set its spec.allowedNamespaces to {{from: All}} (Selector is not supported in local mode)",
            topic.namespace
        )
    })
}

impl Running {
    pub(crate) fn new(context: Context) -> Self {
        Self {
            context,
            manifests: Manifests::default(),
            brokers: BTreeMap::new(),
            replicas: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    /// Brings everything to `manifests`.
    pub(crate) async fn apply(&mut self, manifests: Manifests) {
        let first = self.told.is_empty() && self.replicas.is_empty() && self.brokers.is_empty();
        let mut problems = manifests.problems.clone();
        self.apply_channels(&manifests);
        let wanted = self.apply_topics(&manifests, &mut problems);
        self.apply_brokers(&manifests, wanted, &mut problems).await;
        self.tell(&manifests, &problems).await;
        if first {
            for (name, broker) in &self.brokers {
                if !broker.settled(TOPICS_PATIENCE).await {
                    let text = "its topics are not there yet; apps start all the same".to_owned();
                    self.context.events.send(Event::Problem { part: name.to_string().into(), text }).await;
                }
            }
        }
        self.apply_replicas(&manifests).await;
        self.manifests = manifests;
    }

    fn apply_channels(&self, manifests: &Manifests) {
        for name in self.manifests.channels.keys().filter(|name| !manifests.channels.contains_key(name)) {
            self.context.objects.remove_channel(name);
        }
        for channel in manifests.channels.values() {
            self.context.objects.upsert_channel(Channel::from_object(channel));
        }
    }

    /// Tells the control plane; returns what each broker should have.
    fn apply_topics(
        &self,
        manifests: &Manifests,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<ObjectName, Wanted> {
        for name in self.manifests.topics.keys().filter(|name| !manifests.topics.contains_key(name)) {
            self.context.objects.remove_topic(name);
        }
        let brokers = wanted_brokers(manifests);
        let mut wanted: BTreeMap<ObjectName, Wanted> =
            brokers.iter().map(|broker| (broker.clone(), Wanted::new())).collect();
        for (name, object) in &manifests.topics {
            let mut topic = Topic::from_object(object);
            if let Some(text) = placement_problem(manifests, &brokers, name, &topic.broker) {
                topic.problem = format!("Topic {name}: spec.broker: {text}");
                problems.push(manifests.problem_of("Topic", name, "spec.broker", text));
            }
            self.context.objects.upsert_topic(topic);
        }
        for (name, object) in &manifests.topics {
            if let Some(holder) = self.context.objects.topic_name_holder(name) {
                let text = format!("Topic {holder} has this name on the broker already: choose another one");
                problems.push(manifests.problem_of("Topic", name, "spec.topicName", text));
            } else if let Some(wanted) = wanted.get_mut(&broker_of(name, object)) {
                wanted.insert(name.clone(), object.spec.clone());
            }
        }
        wanted
    }

    async fn apply_brokers(
        &mut self,
        manifests: &Manifests,
        wanted: BTreeMap<ObjectName, Wanted>,
        problems: &mut Vec<Problem>,
    ) {
        let gone: Vec<ObjectName> =
            self.brokers.keys().filter(|name| !wanted.contains_key(name)).cloned().collect();
        for name in gone {
            self.context.objects.remove_broker(&name);
            if let Some(broker) = self.brokers.remove(&name) {
                broker.stop(&self.context).await;
            }
        }
        for (name, topics) in wanted {
            if !self.brokers.contains_key(&name) {
                match BrokerPart::start(&self.context, &name) {
                    Ok(broker) => drop(self.brokers.insert(name.clone(), broker)),
                    Err(error) => {
                        let text = format!("it cannot start: {error}");
                        problems.push(manifests.problem_of("Broker", &name, "spec", text));
                    }
                }
            }
            if let Some(broker) = self.brokers.get(&name) {
                broker.want(topics);
            }
        }
    }

    async fn apply_replicas(&mut self, manifests: &Manifests) {
        let wanted = manifests.workloads.values().flat_map(|workload| {
            (0..workload.replicas).map(move |index| ((workload.name.clone(), index), workload))
        });
        let wanted: BTreeMap<(ObjectName, u32), &Workload> = wanted.collect();
        // The number of replicas is no reason to start the others again.
        let same =
            |old: &Workload, new: &Workload| *old == Workload { replicas: old.replicas, ..new.clone() };
        let gone =
            self.replicas.iter().filter(|(key, (old, _))| wanted.get(*key).is_none_or(|new| !same(old, new)));
        let gone: Vec<_> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            if let Some((_, replica)) = self.replicas.remove(&key) {
                replica.stop(&self.context).await;
            }
        }
        for (key, workload) in wanted {
            if self.replicas.contains_key(&key) {
                continue;
            }
            match Replica::start(&self.context, workload, key.1) {
                Ok(replica) => drop(self.replicas.insert(key, (workload.clone(), replica))),
                Err(error) => {
                    let text = format!("it cannot start: {error}");
                    let part: Arc<str> = workload.name.to_string().into();
                    self.context.events.send(Event::Problem { part, text }).await;
                }
            }
        }
    }

    async fn tell(&mut self, manifests: &Manifests, problems: &[Problem]) {
        let problems = problems.iter().map(|problem| (true, problem.to_string()));
        let notices = manifests.notices.iter().map(|notice| (false, notice.clone()));
        let mut all = BTreeSet::new();
        for (is_problem, text) in problems.chain(notices) {
            if !self.told.contains(&text) {
                let event = match is_problem {
                    true => Event::Manifest { text: text.clone() },
                    false => Event::Notice { text: text.clone() },
                };
                self.context.events.send(event).await;
            }
            all.insert(text);
        }
        self.told = all;
    }

    /// Stops the apps for which `chosen` holds, at once; their sidecars go on.
    pub(crate) async fn stop_apps(&mut self, chosen: impl Fn(&str) -> bool) {
        let replicas = self.replicas.values_mut().map(|(_, replica)| replica);
        let stopping = replicas.filter(|replica| chosen(&replica.name)).map(Replica::stop_app);
        futures::future::join_all(stopping).await;
    }
}
