//! Which topics there are: names, ids, configs, partitions. Changes are durable before they are answered.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use bytes::Bytes;
use kafka_wire::ErrorCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    broker::new_id,
    groups::consumer_group::TopicsView,
    partition::{Ground, Partition, Refusal, topic_folder},
    store::{Change, Store, StoreError, json_change},
    topic_config::TopicConfig,
};

const PREFIX: &str = "topic/";
/// How far a partition's log is synced, by topic id and index.
const END_PREFIX: &str = "end/";
/// A folder of a topic that is deleted and still has to go.
const GONE_PREFIX: &str = "gone-topic/";
/// Ends written at once.
const ENDS_AT_ONCE: usize = 1_000;
const NAME_LENGTH_MAX: usize = 249;
/// Partitions of one topic.
const PARTITIONS_MAX: i32 = 10_000;

/// What is stored of a topic.
#[derive(Serialize, Deserialize)]
struct Stored {
    id: String,
    partitions: i32,
    config: BTreeMap<String, String>,
}

/// A topic; shared by all that use it.
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) id: Uuid,
    state: RwLock<TopicState>,
}

struct TopicState {
    config: Arc<TopicConfig>,
    partitions: Arc<[Arc<Partition>]>,
}

impl Topic {
    pub(crate) fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    pub(crate) fn partitions(&self) -> Arc<[Arc<Partition>]> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).partitions)
    }

    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.partitions.get(usize::try_from(index).ok()?).cloned()
    }

    fn use_config(&self, config: &Arc<TopicConfig>) {
        for partition in &*self.partitions() {
            partition.set_config(config);
        }
        self.change(|state| state.config = Arc::clone(config));
    }

    fn change(&self, change: impl FnOnce(&mut TopicState)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Default)]
struct Known {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    partitions: usize,
    /// Another number after each change.
    version: u64,
}

/// A topic to be made.
pub(crate) struct NewTopic {
    pub(crate) name: String,
    pub(crate) partitions: i32,
    pub(crate) config: BTreeMap<String, String>,
}

/// All topics.
pub(crate) struct Topics {
    known: RwLock<Known>,
    /// One change at a time.
    changing: Mutex<()>,
    /// The last view that somebody asked for.
    view: std::sync::Mutex<Arc<TopicsView>>,
    store: Arc<Store>,
    ground: Ground,
    /// What a topic has that does not say otherwise.
    defaults: RwLock<Arc<BTreeMap<String, String>>>,
    partitions_max: usize,
}

impl Topics {
    /// Opens all topics that the store knows, and finishes deletions that were under way.
    pub(crate) fn open(
        store: &Arc<Store>,
        ground: Ground,
        defaults: &BTreeMap<String, String>,
        partitions_max: usize,
    ) -> Result<Self, StoreError> {
        let topics = Self {
            known: RwLock::default(),
            changing: Mutex::default(),
            view: std::sync::Mutex::default(),
            store: Arc::clone(store),
            ground,
            defaults: RwLock::new(Arc::new(defaults.clone())),
            partitions_max,
        };
        for (id, _) in store.scan(GONE_PREFIX) {
            topics.remove_files(&id);
        }
        for (name, stored) in store.load::<Stored>(PREFIX)? {
            let config = TopicConfig::parse(defaults, &stored.config);
            let config = config.map_err(|reason| StoreError::Damaged(format!("topic {name}: {reason}")))?;
            let config = Arc::new(config);
            let id = Uuid::parse_str(&stored.id);
            let id = id.map_err(|error| StoreError::Damaged(format!("id of topic {name}: {error}")))?;
            let name = Arc::from(name);
            let partitions =
                topics.partitions((&name, id), 0..stored.partitions, &config, &topics.earlier(id));
            topics.insert(Topic::new(name, id, config, partitions));
        }
        Ok(topics)
    }

    /// Makes partitions; `there` are those that an earlier run wrote to, and how far.
    fn partitions(
        &self,
        topic: (&Arc<str>, Uuid),
        range: Range<i32>,
        config: &Arc<TopicConfig>,
        there: &HashMap<i32, i64>,
    ) -> Vec<Arc<Partition>> {
        let make = |index: i32| {
            Partition::new(&self.ground, topic, index, Arc::clone(config), there.get(&index).copied())
        };
        range.map(make).collect()
    }

    /// The partitions of a topic that have files or should have, and how far they were synced.
    fn earlier(&self, id: Uuid) -> HashMap<i32, i64> {
        use record_log::storage::Storage as _;
        let names = self.ground.storage.list(&topic_folder(id)).unwrap_or_default();
        let mut earlier: HashMap<i32, i64> =
            names.iter().filter_map(|name| Some((name.parse().ok()?, 0))).collect();
        let ends = self.store.scan(&end_prefix(id)).into_iter();
        earlier.extend(ends.filter_map(|(index, end)| {
            Some((index.parse().ok()?, i64::from_be_bytes((*end).try_into().ok()?)))
        }));
        earlier
    }

    /// Writes down how far all logs are synced, where that is news: a log that has less after a start has lost
    /// records.
    pub(crate) async fn note_ends(&self) {
        let mut changes: Vec<Change> = Vec::new();
        for topic in self.all() {
            let prefix = end_prefix(topic.id);
            let news = topic.partitions();
            let news = news.iter().filter_map(|partition| {
                let end = partition.news_of_end()?;
                Some((
                    format!("{prefix}{}", partition.index),
                    Some(Bytes::copy_from_slice(&end.to_be_bytes())),
                ))
            });
            changes.extend(news);
        }
        // In pieces: one change is one batch.
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(ENDS_AT_ONCE));
            let written = match self.store.write(changes) {
                Ok(written) => written.await,
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                let error = crate::error_text(&error);
                tracing::warn!(error, "cannot write down how far the logs are");
                return;
            }
            changes = rest;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        let mut known = self.write();
        known.partitions += topic.partitions().len();
        known.by_id.insert(topic.id, Arc::clone(&topic));
        known.by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.count(&mut known);
        topic
    }

    fn count(&self, known: &mut Known) {
        known.version += 1;
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.ground.metrics.topics.set(gauge(known.by_name.len()));
        self.ground.metrics.partitions.set(gauge(known.partitions));
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.read().by_name.get(name).cloned()
    }

    pub(crate) fn by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// All names with ids and numbers of partitions, as they are now.
    pub(crate) fn view(&self) -> Arc<TopicsView> {
        let known = self.read();
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        if view.version != known.version {
            let facts =
                |topic: &Topic| (topic.id, i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX));
            let by_name =
                known.by_name.iter().map(|(name, topic)| (Arc::clone(name), facts(topic))).collect();
            let names = known.by_id.iter().map(|(id, topic)| (*id, Arc::clone(&topic.name))).collect();
            *view = Arc::new(TopicsView { version: known.version, by_name, names });
        }
        Arc::clone(&view)
    }

    /// All, by name.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        self.read().by_name.values().cloned().collect()
    }

    /// Checks a topic that is to be made, without making it.
    pub(crate) fn check(&self, new: &NewTopic) -> Result<TopicConfig, Refusal> {
        check_name(&new.name)?;
        if self.by_name(&new.name).is_some() {
            let text = format!("topic {} exists already", new.name);
            return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text));
        }
        self.check_count(new.partitions, new.partitions)?;
        TopicConfig::parse_new(&self.defaults(), &new.config)
            .map_err(|reason| Refusal::new(ErrorCode::InvalidConfig, reason))
    }

    fn check_count(&self, wanted: i32, added: i32) -> Result<(), Refusal> {
        if !(1..=PARTITIONS_MAX).contains(&wanted) {
            let text = format!("a topic has 1 to {PARTITIONS_MAX} partitions, not {wanted}");
            return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
        }
        let (now, max) = (self.read().partitions, self.partitions_max);
        if now.saturating_add(usize::try_from(added).unwrap_or(0)) > max {
            let text = format!("the broker has {now} partitions and takes {max}: raise max.partitions");
            return Err(Refusal::new(ErrorCode::PolicyViolation, text));
        }
        Ok(())
    }

    /// How far the table is that topics are kept in.
    pub(crate) fn metadata_end(&self) -> i64 {
        self.store.end_offset()
    }

    /// Makes a topic.
    pub(crate) async fn create(&self, new: NewTopic) -> Result<Arc<Topic>, Refusal> {
        let _one = self.changing.lock().await;
        let config = Arc::new(self.check(&new)?);
        let id = new_id();
        let stored = Stored { id: id.to_string(), partitions: new.partitions, config: new.config };
        self.store.put(format!("{PREFIX}{}", new.name), &stored).await.map_err(unstored)?;
        let name = Arc::from(new.name);
        let partitions = self.partitions((&name, id), 0..new.partitions, &config, &HashMap::new());
        tracing::info!(topic = %name, %id, partitions = new.partitions, "made a topic");
        Ok(self.insert(Topic::new(name, id, config, partitions)))
    }

    /// Gives a topic more partitions.
    pub(crate) async fn grow(&self, name: &str, count: i32, only_check: bool) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let topic = self.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let old = topic.partitions();
        let now = i32::try_from(old.len()).unwrap_or(i32::MAX);
        if count <= now {
            let text = format!("topic {name} has {now} partitions already; they only grow");
            return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
        }
        self.check_count(count, count - now)?;
        if only_check {
            return Ok(());
        }
        let config = topic.config();
        let stored = Stored { id: topic.id.to_string(), partitions: count, config: config.set.clone() };
        self.store.put(format!("{PREFIX}{name}"), &stored).await.map_err(unstored)?;
        let mut partitions = old.to_vec();
        partitions.extend(self.partitions((&topic.name, topic.id), now..count, &config, &HashMap::new()));
        let added = partitions.len() - old.len();
        topic.change(|state| state.partitions = partitions.into());
        let mut known = self.write();
        known.partitions += added;
        self.count(&mut known);
        Ok(())
    }

    /// Gives a topic other configs.
    pub(crate) async fn configure(
        &self,
        name: &str,
        set: BTreeMap<String, String>,
        only_check: bool,
    ) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let topic = self.by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let config = TopicConfig::parse_new(&self.defaults(), &set);
        let config = Arc::new(config.map_err(|reason| Refusal::new(ErrorCode::InvalidConfig, reason))?);
        if only_check {
            return Ok(());
        }
        let partitions = topic.partitions();
        let count = i32::try_from(partitions.len()).unwrap_or(i32::MAX);
        let stored = Stored { id: topic.id.to_string(), partitions: count, config: set };
        self.store.put(format!("{PREFIX}{name}"), &stored).await.map_err(unstored)?;
        topic.use_config(&config);
        Ok(())
    }

    /// What a topic has that does not say otherwise.
    fn defaults(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.defaults.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Has all topics use other defaults from now on.
    pub(crate) async fn set_defaults(&self, defaults: &BTreeMap<String, String>) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        let invalid = |reason| Refusal::new(ErrorCode::InvalidConfig, reason);
        for topic in self.all() {
            let config = TopicConfig::parse(defaults, &topic.config().set).map_err(invalid)?;
            topic.use_config(&Arc::new(config));
        }
        *self.defaults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(defaults.clone());
        Ok(())
    }

    /// Deletes a topic with all its records. `also` goes with it, all or nothing.
    pub(crate) async fn delete(&self, topic: &Topic, also: Vec<Change>) -> Result<(), Refusal> {
        let _one = self.changing.lock().await;
        if self.by_id(topic.id).is_none() {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        }
        let id = topic.id.to_string();
        let mut changes = also;
        changes.push((format!("{PREFIX}{}", topic.name), None));
        let ends = self.store.scan(&end_prefix(topic.id)).into_iter();
        changes.extend(ends.map(|(index, _)| (format!("{}{index}", end_prefix(topic.id)), None)));
        changes.push(json_change(format!("{GONE_PREFIX}{id}"), &true).map_err(unstored)?);
        let written = self.store.write(changes).map_err(unstored)?;
        written.await.map_err(unstored)?;
        {
            let mut known = self.write();
            known.by_name.remove(&topic.name);
            known.by_id.remove(&topic.id);
            known.partitions = known.partitions.saturating_sub(topic.partitions().len());
            self.count(&mut known);
        }
        for partition in &*topic.partitions() {
            partition.go();
        }
        self.ground.metrics.forget_topic(&topic.name);
        tracing::info!(topic = %topic.name, id, "deleted a topic");
        self.remove_files(&id);
        Ok(())
    }

    /// Removes the files of a deleted topic; what fails is tried again at the next start.
    fn remove_files(&self, id: &str) {
        let Ok(parsed) = Uuid::parse_str(id) else { return };
        if let Err(error) = self.ground.storage.remove_folder(&topic_folder(parsed)) {
            tracing::warn!(id, %error, "cannot remove the files of a deleted topic yet");
            return;
        }
        if let Err(error) = self.store.write(vec![(format!("{GONE_PREFIX}{id}"), None)]) {
            tracing::warn!(id, %error, "cannot forget a deleted topic yet");
        }
    }
}

impl Topic {
    fn new(name: Arc<str>, id: Uuid, config: Arc<TopicConfig>, partitions: Vec<Arc<Partition>>) -> Self {
        Self { name, id, state: RwLock::new(TopicState { config, partitions: partitions.into() }) }
    }
}

fn end_prefix(id: Uuid) -> String {
    format!("{END_PREFIX}{}/", id.simple())
}

/// Whether a topic may be called so.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let valid = !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name != "."
        && name != ".."
        && name.bytes().all(legal);
    if valid {
        return Ok(());
    }
    let text = format!("a topic's name has 1 to {NAME_LENGTH_MAX} of a-z A-Z 0-9 . _ -, and is not . or ..");
    Err(Refusal::new(ErrorCode::InvalidTopicException, text))
}

/// A change that could not be written down.
pub(crate) fn unstored(error: StoreError) -> Refusal {
    let text = crate::error_text(&error);
    tracing::error!(text, "a change was not made");
    Refusal::new(ErrorCode::KafkaStorageError, text)
}
