//! The account of a scenario: what publishers were told is published, what each subscription got, and what it was told it
//! missed. Compares; waits for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, ensure};
use tests::load::{Line, Source};

/// All that apps told.
#[derive(Default)]
pub(crate) struct Book {
    /// By Channel and who numbered it: each number that a publisher was told, with the payload.
    told: BTreeMap<(String, Source), BTreeMap<u64, u64>>,
    /// Calls that were answered well.
    pub(crate) answered: Vec<Answer>,
    /// Calls that were not.
    pub(crate) failed: Vec<Answer>,
    pub(crate) subscriptions: Vec<Subscription>,
}

/// How a call to publish ended.
pub(crate) struct Answer {
    pub(crate) channel: String,
    pub(crate) took_ms: u64,
    /// Empty where it went well.
    pub(crate) problem: String,
}

/// One subscription of one app.
pub(crate) struct Subscription {
    pub(crate) pod: String,
    pub(crate) channel: String,
    /// The app counts them from 1.
    pub(crate) number: u64,
    pub(crate) heard: BTreeMap<Source, Heard>,
}

/// What one subscription has of one publisher.
#[derive(Default)]
pub(crate) struct Heard {
    /// By the publisher's number: the payload, and the tries that came.
    pub(crate) arrived: BTreeMap<u64, (u64, Vec<u32>)>,
    pub(crate) gaps: Vec<Gap>,
}

/// Messages that a subscription was told it missed.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) messages: u64,
    pub(crate) reason: String,
}

impl Book {
    pub(crate) fn take(&mut self, pod: &str, line: Line) {
        match line {
            Line::Published { channel, source, sequence, number, took_ms } => {
                let problem = String::new();
                self.answered.push(Answer { channel: channel.clone(), took_ms, problem });
                self.told.entry((channel, source)).or_default().insert(sequence, number);
            }
            Line::Failed { channel, problem, took_ms } => {
                self.failed.push(Answer { channel, took_ms, problem });
            }
            Line::Opened { channel, subscription } => {
                self.find(pod, channel, subscription);
            }
            Line::Hello { .. } | Line::Ended { .. } => {}
            Line::Message { channel, subscription, source, sequence, number, attempt } => {
                let heard = self.find(pod, channel, subscription).heard.entry(source).or_default();
                let (_, tries) = heard.arrived.entry(sequence).or_insert_with(|| (number, Vec::new()));
                tries.push(attempt);
            }
            Line::Gap { channel, subscription, source, first, last, messages, reason } => {
                let heard = self.find(pod, channel, subscription).heard.entry(source).or_default();
                heard.gaps.push(Gap { first, last, messages, reason });
            }
        }
    }

    fn find(&mut self, pod: &str, channel: String, number: u64) -> &mut Subscription {
        let place = self
            .subscriptions
            .iter()
            .position(|one| one.pod == pod && one.channel == channel && one.number == number);
        let place = place.unwrap_or_else(|| {
            let pod = pod.to_owned();
            let heard = BTreeMap::new();
            self.subscriptions.push(Subscription { pod, channel, number, heard });
            self.subscriptions.len() - 1
        });
        &mut self.subscriptions[place]
    }

    /// The subscriptions to a Channel of pods whose name begins so.
    pub(crate) fn of<'a>(
        &'a self,
        pods: &'a str,
        channel: &'a str,
    ) -> impl Iterator<Item = &'a Subscription> {
        self.subscriptions.iter().filter(move |one| one.pod.starts_with(pods) && one.channel == channel)
    }

    /// Who published to a Channel, and the numbers that they were told.
    pub(crate) fn told<'a>(
        &'a self,
        channel: &'a str,
    ) -> impl Iterator<Item = (&'a Source, &'a BTreeMap<u64, u64>)> {
        let of_channel = self.told.iter().filter(move |((its, _), _)| its == channel);
        of_channel.map(|((_, source), numbers)| (source, numbers))
    }

    /// How many messages of a Channel publishers know to be published.
    pub(crate) fn told_count(&self, channel: &str) -> usize {
        self.told(channel).map(|(_, numbers)| numbers.len()).sum()
    }

    /// What publishers were told and no subscription of these pods got, nor was told that it missed.
    pub(crate) fn missing(&self, pods: &str, channel: &str) -> BTreeMap<Source, BTreeSet<u64>> {
        let mut missing: BTreeMap<Source, BTreeSet<u64>> = self
            .told(channel)
            .map(|(source, numbers)| (source.clone(), numbers.keys().copied().collect()))
            .collect();
        for (source, heard) in self.of(pods, channel).flat_map(|one| &one.heard) {
            if let Some(missing) = missing.get_mut(source) {
                missing.retain(|number| !heard.knows(*number));
            }
        }
        missing.retain(|_, numbers| !numbers.is_empty());
        missing
    }

    /// How many messages these pods were told that they missed, of publishers that `counts`.
    pub(crate) fn gap_messages(&self, pods: &str, channel: &str, counts: impl Fn(&Source) -> bool) -> u64 {
        let heard = self.of(pods, channel).flat_map(|one| &one.heard);
        let gaps = heard.filter(|(source, _)| counts(source)).flat_map(|(_, heard)| &heard.gaps);
        gaps.map(|gap| gap.messages).sum()
    }

    /// How many messages these pods got, each try counted.
    pub(crate) fn arrivals(&self, pods: &str, channel: &str) -> usize {
        self.of(pods, channel).map(Subscription::arrivals).sum()
    }

    /// Checks each subscription of these pods to a Channel: see [`Heard::exact`]. What came is what was published.
    pub(crate) fn check(&self, pods: &str, channel: &str) -> Result<()> {
        let mut checked = 0;
        for one in self.of(pods, channel) {
            for (source, heard) in &one.heard {
                let who = || format!("{} of {channel}, from {source:?}", one.pod);
                heard.exact().with_context(who)?;
                let told = self.told.get(&(channel.to_owned(), source.clone()));
                for (sequence, (payload, _)) in &heard.arrived {
                    let published = told.and_then(|told| told.get(sequence));
                    ensure!(
                        published.is_none_or(|published| published == payload),
                        "{}: {sequence} came as {payload} and was published as {published:?}",
                        who()
                    );
                }
                checked += 1;
            }
        }
        ensure!(checked > 0, "{pods} have nothing of {channel}");
        Ok(())
    }
}

impl Subscription {
    /// How many messages it got, each try counted.
    pub(crate) fn arrivals(&self) -> usize {
        self.heard.values().flat_map(|heard| heard.arrived.values()).map(|(_, tries)| tries.len()).sum()
    }
}

impl Heard {
    /// It came, or the subscription knows that it does not come.
    fn knows(&self, number: u64) -> bool {
        self.arrived.contains_key(&number)
            || self.gaps.iter().any(|gap| gap.messages > 0 && (gap.first..=gap.last).contains(&number))
    }

    /// From the first to the last number of which the subscription knows, each came or was told to be missing, and none
    /// both; gaps count what they span. Gaps of unknown size stand for nothing.
    pub(crate) fn exact(&self) -> Result<RangeInclusive<u64>> {
        let known = self.gaps.iter().filter(|gap| gap.messages > 0);
        let mut spans: Vec<(u64, u64)> = self.arrived.keys().map(|number| (*number, *number)).collect();
        for gap in known {
            let spanned = (gap.last + 1).saturating_sub(gap.first);
            ensure!(gap.messages == spanned, "{gap:?} does not count what it spans");
            spans.push((gap.first, gap.last));
        }
        spans.sort_unstable();
        for pair in spans.windows(2) {
            let [(_, last), (next, _)] = pair else { continue };
            ensure!(*next == last + 1, "after {last} comes {next}");
        }
        let ends = spans.first().zip(spans.last());
        let ((first, _), (_, last)) = ends.context("there is nothing")?;
        Ok(*first..=*last)
    }

    /// Nothing came twice.
    pub(crate) fn once(&self) -> bool {
        self.arrived.values().all(|(_, tries)| tries.len() == 1)
    }
}

/// Goal: an account with a hole, an overlap, or a gap that miscounts is refused, and one in order is not.
#[test]
fn an_account_that_does_not_add_up_is_refused() {
    let gap = |first, last, messages| Gap { first, last, messages, reason: "lost".to_owned() };
    let account = |numbers: &[u64], gaps: &[Gap]| Heard {
        arrived: numbers.iter().map(|number| (*number, (*number, vec![1]))).collect(),
        gaps: gaps.to_vec(),
    };
    assert_eq!(account(&[3, 4, 8], &[gap(5, 7, 3), gap(9, 9, 0)]).exact().unwrap(), 3..=8);
    assert!(account(&[3, 5], &[]).exact().is_err(), "a hole");
    assert!(account(&[3, 4, 5], &[gap(4, 4, 1)]).exact().is_err(), "an overlap");
    assert!(account(&[3, 6], &[gap(4, 5, 1)]).exact().is_err(), "a gap that miscounts");
    assert!(account(&[], &[gap(4, 4, 0)]).exact().is_err(), "nothing is known");
}
