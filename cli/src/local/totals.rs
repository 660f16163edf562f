//! What was published, delivered and lost, from the counters of the parts. Pure.
//!
//! A part that starts again counts from zero; what it had counted before is kept. What counts as lost
//! is said at [`Totals::topics`] and [`Totals::channels`], and in docs/guide/local-mode.md.

use super::scrape::Sample;
use control::ObjectName;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Counters of one Topic or Channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Published,
    Delivered,
    Dropped,
    Gap,
    /// By the broker.
    Produced,
    Fetched,
}

/// Topic or Channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum On {
    Topic,
    Channel,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    part: Arc<str>,
    what: What,
    on: On,
    /// For the broker's counters: the namespace of the broker and the name of the topic on it.
    object: ObjectName,
    /// What else tells two series apart.
    rest: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Before the part's last start.
    before: u64,
    now: u64,
}

/// Sums over all parts and all their lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    series: BTreeMap<Series, Count>,
    /// Parts whose counters went back to zero.
    restarted: std::collections::BTreeSet<Arc<str>>,
}

/// A Topic as the broker names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicPlace {
    /// `NAMESPACE/NAME` of the Broker, which is also the part's name.
    pub(crate) broker: String,
    pub(crate) log_name: String,
}

fn read(part: &Arc<str>, sample: &Sample) -> Option<Series> {
    let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
    let part = Arc::clone(part);
    let of_broker = |what| {
        let object = ObjectName::new("", label("topic"));
        Series { part: Arc::clone(&part), what, on: On::Topic, object, rest: String::new() }
    };
    let what = match sample.metric.as_str() {
        "pinnace_published_messages_total" => What::Published,
        "pinnace_delivered_messages_total" => What::Delivered,
        "pinnace_dropped_messages_total" => What::Dropped,
        "pinnace_gap_messages_total" => What::Gap,
        "pinnace_broker_produced_messages_total" => return Some(of_broker(What::Produced)),
        "pinnace_broker_fetched_messages_total" => return Some(of_broker(What::Fetched)),
        _ => return None,
    };
    let on = if label("kind") == "topic" { On::Topic } else { On::Channel };
    let object = ObjectName::new(label("namespace"), label("name"));
    Some(Series { part, what, on, object, rest: format!("{}{}", label("door"), label("reason")) })
}

impl Totals {
    /// Takes a scrape of one part.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counters are whole and not negative"
    )]
    pub(crate) fn take(&mut self, part: &Arc<str>, samples: &[Sample]) {
        for sample in samples.iter().filter(|sample| sample.value >= 0.0) {
            let Some(series) = read(part, sample) else { continue };
            let value = sample.value as u64;
            let count = self.series.entry(series).or_default();
            if value < count.now {
                count.before += count.now;
                self.restarted.insert(Arc::clone(part));
            }
            count.now = value;
        }
    }

    fn sum(&self, filter: impl Fn(&Series) -> bool) -> u64 {
        let found = self.series.iter().filter(|(series, _)| filter(series));
        found.map(|(_, count)| count.before.saturating_add(count.now)).sum()
    }

    fn of(&self, on: On, object: &ObjectName, what: What) -> u64 {
        self.sum(|series| series.on == on && series.what == what && series.object == *object)
    }

    /// What one part counted in all, published and delivered: tells publishers from subscribers.
    pub(crate) fn part(&self, part: &str) -> (u64, u64) {
        let of = |what| self.sum(|series| &*series.part == part && series.what == what);
        (of(What::Published), of(What::Delivered))
    }

    /// Everything that was delivered or fetched; when it stops to grow, the consumers have drained.
    pub(crate) fn moved(&self) -> u64 {
        self.sum(|_| true)
    }

    /// A Channel: what publishers' sidecars took from apps, what subscribers' sidecars handed to
    /// apps, and what was lost: drops by policy, or gaps that subscribers were told of, whichever
    /// is more (a drop is also told as a gap).
    pub(crate) fn channel(&self, object: &ObjectName) -> Counts {
        let of = |what| self.of(On::Channel, object, what);
        Counts {
            published: of(What::Published),
            delivered: of(What::Delivered),
            lost: of(What::Dropped).max(of(What::Gap)),
        }
    }

    /// A Topic: what the broker took and what it gave to consumers. Lost is what was acknowledged to
    /// apps and is not on the broker, and, where somebody consumes and had time to drain (`drained`),
    /// what is on the broker and was given to nobody.
    pub(crate) fn topic(&self, object: &ObjectName, place: &TopicPlace, drained: bool) -> Counts {
        let on_broker = |what| {
            self.sum(|series| {
                *series.part == *place.broker && series.what == what && series.object.name == place.log_name
            })
        };
        let (produced, fetched) = (on_broker(What::Produced), on_broker(What::Fetched));
        let acknowledged = self.of(On::Topic, object, What::Published);
        let restarted = self.restarted.contains(place.broker.as_str());
        let missing = if restarted { 0 } else { acknowledged.saturating_sub(produced) };
        let waiting = if fetched == 0 || !drained { 0 } else { produced.saturating_sub(fetched) };
        Counts { published: produced.max(acknowledged), delivered: fetched, lost: missing.max(waiting) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scrape::samples;
    use super::*;

    fn part(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    fn sidecar(kind: &str, what: &str, value: u64) -> String {
        format!("pinnace_{what}_messages_total{{kind=\"{kind}\",name=\"a\",namespace=\"s\"}} {value}")
    }

    /// Goal: several parts add up, a restart forgets nothing, a drop that is also a gap counts once.
    #[test]
    fn counters_survive_restarts() {
        let mut totals = Totals::default();
        totals.take(&part("s/p"), &samples(&sidecar("channel", "published", 10)));
        totals.take(&part("s/p"), &samples(&sidecar("channel", "published", 4)));
        totals.take(&part("s/1"), &samples(&sidecar("channel", "delivered", 13)));
        totals.take(&part("s/2"), &samples(&sidecar("channel", "delivered", 14)));
        totals.take(&part("s/p"), &samples(&sidecar("channel", "dropped", 1)));
        totals.take(&part("s/1"), &samples(&sidecar("channel", "gap", 1)));
        let counts = totals.channel(&ObjectName::new("s", "a"));
        assert_eq!(counts, Counts { published: 14, delivered: 27, lost: 1 });
        assert_eq!(totals.part("s/p"), (14, 0));
    }

    /// Goal: a Topic loses what was acknowledged and is not there, and what no consumer got.
    #[test]
    fn losses_of_a_topic() {
        let place = TopicPlace { broker: "s/default".to_owned(), log_name: "a".to_owned() };
        let name = ObjectName::new("s", "a");
        let broker =
            |what: &str, value| format!("pinnace_broker_{what}_messages_total{{topic=\"a\"}} {value}");
        let mut totals = Totals::default();
        totals.take(&part("s/p"), &samples(&sidecar("topic", "published", 10)));
        totals.take(&part("s/default"), &samples(&broker("produced", 10)));
        assert_eq!(totals.topic(&name, &place, true), Counts { published: 10, delivered: 0, lost: 0 });
        totals.take(&part("s/default"), &samples(&broker("fetched", 7)));
        assert_eq!(totals.topic(&name, &place, true).lost, 3);
        assert_eq!(totals.topic(&name, &place, false).lost, 0);
        totals.take(&part("s/default"), &samples(&broker("fetched", 12)));
        assert_eq!(totals.topic(&name, &place, true).lost, 0);
        totals.take(&part("s/p"), &samples(&sidecar("topic", "published", 11)));
        assert_eq!(totals.topic(&name, &place, true).lost, 1);
    }
}
