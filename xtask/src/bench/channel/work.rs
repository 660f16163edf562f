//! One case, from the start of its apps to its figures.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::apps::{App, Apps, Place, value};
use super::cases::{Case, Work};
use super::way::End;
use crate::process::Process;
use crate::wait;

/// Below this the kernel's counter of CPU time, of ten milliseconds, says too little.
const CPU_SECONDS_MIN: f64 = 0.2;
/// What is told of memory: all, what is not of the program's file, and the most that there was.
const MEMORY: [&str; 3] = ["resident", "anonymous", "peak"];
/// How many sidecars are started at a time: each start takes a good part of a core.
const STARTED_AT_ONCE: usize = 10;
/// How long such a start may take.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a case came to: the name of each figure, and its value.
pub(super) type Figures = Vec<(String, f64)>;

/// Measures one case.
pub(super) fn measure(apps: &mut Apps, case: &Case) -> Result<Figures> {
    let mut place = apps.place(case.way)?;
    match case.work {
        Work::Flow { publishers, subscribers, pace } => {
            flow(apps, case, &mut place, (publishers, subscribers, pace))
        }
        Work::Trip => trip(apps, case, &mut place),
        Work::FanOut { subscribers, per_sidecar } => {
            fan_out(apps, case, &mut place, subscribers, per_sidecar)
        }
        Work::Idle { seconds } => idle(apps, case, &mut place, seconds),
    }
}

fn option(name: &str, value: impl ToString) -> String {
    format!("{name}={}", value.to_string())
}

/// What all apps of a case are told.
fn common(case: &Case, publishers: usize, subscribers: usize) -> Vec<String> {
    vec![
        option("bytes", case.bytes),
        option("count", case.count),
        option("pattern", case.pattern),
        option("publishers", publishers),
        option("subscribers", subscribers),
    ]
}

/// The Channel of each pattern.
fn channel(pattern: &str) -> &'static str {
    match pattern {
        "pipeline" => "work",
        "request" => "ask",
        _ => "ping",
    }
}

/// Whoever is alone binds; the subscriber where both are.
fn flow(
    apps: &Apps,
    case: &Case,
    place: &mut Place,
    (publishers, subscribers, pace): (usize, usize, Option<u32>),
) -> Result<Figures> {
    let meeting = apps.meet(case.way, channel(case.pattern), place)?;
    let (publisher_end, subscriber_end) =
        if publishers == 1 { (End::Binds, End::Connects) } else { (End::Connects, End::Binds) };
    // A floor has one connection, and its subscriber waits for it.
    let (publisher_end, subscriber_end) = if case.way.client() == "floor" {
        (End::Connects, End::Binds)
    } else {
        (publisher_end, subscriber_end)
    };
    let mut options = common(case, publishers, subscribers);
    options.extend(pace.map(|pace| option("pace", pace)));
    let with =
        |index: usize, more: Vec<String>| [options.clone(), vec![option("index", index)], more].concat();
    let mut receiving = Vec::new();
    for index in 0..subscribers {
        // The first one tells for all what stands between them.
        let beside = if index == 0 { apps.beside(case.way) } else { Vec::new() };
        let places = vec![option("in", case.way.place(&meeting, subscriber_end)), beside_option(&beside)];
        let app = App { role: "subscribe", identity: "subscriber", options: with(index, places) };
        receiving.push(apps.start(case.way, &app, place)?);
    }
    let mut sending = Vec::new();
    for index in 0..publishers {
        let places = vec![option("out", case.way.place(&meeting, publisher_end))];
        let app = App { role: "publish", identity: "publisher", options: with(index, places) };
        sending.push(apps.start(case.way, &app, place)?);
    }
    let sent = finish(sending)?;
    let received = finish(receiving)?;
    figures_of_flow(case, &sent, &received, pace)
}

fn beside_option(processes: &[u32]) -> String {
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    option("beside", processes.join(","))
}

fn finish(processes: Vec<Process>) -> Result<Vec<String>> {
    processes.into_iter().map(Process::finish).collect()
}

fn sum(printed: &[String], name: &str) -> Result<f64> {
    printed.iter().map(|text| value(text, name)).sum()
}

fn most(printed: &[String], name: &str) -> Result<f64> {
    printed.iter().map(|text| value(text, name)).try_fold(0.0, |most: f64, value| Ok(most.max(value?)))
}

/// Numbers are counted as `f64` holds them: exactly, up to far more than we send.
#[expect(clippy::cast_precision_loss, reason = "counts of processes are small")]
fn count_of(items: &[String]) -> f64 {
    items.len() as f64
}

fn figures_of_flow(case: &Case, sent: &[String], received: &[String], pace: Option<u32>) -> Result<Figures> {
    let all = f64::from(case.count) * count_of(sent);
    let mut figures = Figures::new();
    let mut keep = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let arrived = sum(received, "received")? / count_of(received);
    ensure!(arrived > 0.0, "no message arrived");
    keep("messages_per_second", arrived / most(received, "seconds")?);
    keep("lost_messages", sum(received, "lost")?);
    keep("disordered_messages", sum(received, "disordered")?);
    if pace.is_some() {
        keep("p50_microseconds", most(received, "p50_microseconds")?);
        keep("p99_microseconds", most(received, "p99_microseconds")?);
    }
    let both = [sent, received].concat();
    keep("apps_cpu_microseconds", sum(&both, "app_cpu_seconds")? * 1e6 / all);
    if let Some(between) = case.way.between() {
        let seconds = sum(&both, "beside_cpu_seconds")?;
        if seconds >= CPU_SECONDS_MIN {
            keep(&format!("{between}_cpu_microseconds"), seconds * 1e6 / all);
        }
        for name in MEMORY {
            let most = most(&both, &format!("beside_{name}_megabytes"))?;
            keep(&format!("{between}_{name}_megabytes"), most);
        }
    }
    Ok(figures)
}

fn trip(apps: &Apps, case: &Case, place: &mut Place) -> Result<Figures> {
    let is_request = case.pattern == "request";
    let there = apps.meet(case.way, channel(case.pattern), place)?;
    let back = if is_request { String::new() } else { apps.meet(case.way, "pong", place)? };
    let sides = |out: &str, into: &str, end| {
        let mut options = common(case, 1, 1);
        for (name, meeting) in [("out", out), ("in", into)] {
            if !meeting.is_empty() {
                options.push(option(name, case.way.place(meeting, end)));
            }
        }
        options
    };
    // Who asks has the one place as its way out, who answers as its way in.
    let pong = App { role: "pong", identity: "subscriber", options: sides(&back, &there, End::Binds) };
    let ping = App { role: "ping", identity: "publisher", options: sides(&there, &back, End::Connects) };
    let pong = apps.start(case.way, &pong, place)?;
    let ping = apps.start(case.way, &ping, place)?;
    let printed = ping.finish()?;
    pong.finish()?;
    let mut figures = Figures::new();
    for name in ["p50_microseconds", "p99_microseconds"] {
        figures.push((name.to_owned(), value(&printed, name)?));
    }
    figures.push(("lost_messages".to_owned(), value(&printed, "lost")?));
    Ok(figures)
}

/// Subscribers come a few at a time, and each says when it gets messages; the publisher begins when all do.
fn fan_out(
    apps: &Apps,
    case: &Case,
    place: &mut Place,
    subscribers: usize,
    per_sidecar: usize,
) -> Result<Figures> {
    let meeting = apps.meet(case.way, channel(case.pattern), place)?;
    let options = common(case, 1, subscribers);
    let publisher = [options.clone(), vec![option("out", case.way.place(&meeting, End::Binds))]].concat();
    let app = App { role: "publish", identity: "publisher", options: publisher };
    let mut publisher = apps.start(case.way, &app, place)?;
    let mut receiving: Vec<Process> = Vec::new();
    for first in (0..subscribers).step_by(per_sidecar) {
        let places = vec![
            option("in", case.way.place(&meeting, End::Connects)),
            option("index", first),
            option("copies", per_sidecar),
        ];
        let options = [options.clone(), places].concat();
        let app = App { role: "subscribe", identity: "subscriber", options };
        receiving.push(apps.start(case.way, &app, place)?);
        if receiving.len().is_multiple_of(STARTED_AT_ONCE) {
            let newest = place.folder.join(format!("ready-{first}"));
            wait::until("the first messages of a subscriber", START_LIMIT, || {
                publisher.runs()?;
                receiving.iter_mut().try_for_each(Process::runs)?;
                Ok(newest.is_file().then_some(()))
            })?;
        }
    }
    let sidecars = receiving.len();
    let sent = publisher.finish()?;
    let mut received = finish(receiving)?;
    let told_once = [vec![sent], received.clone()].concat();
    for index in (0..subscribers).filter(|index| index % per_sidecar > 0) {
        received.push(read(&place.folder.join(format!("copy-{index}")))?);
    }
    ensure!(received.len() == subscribers, "{} of {subscribers} subscribers have told", received.len());
    let mut figures = Figures::new();
    let mut keep = |name: &str, value: f64| figures.push((name.to_owned(), value));
    let deliveries = sum(&received, "received")?;
    keep("subscribers", count_of(&received));
    keep("subscriber_sidecars", f64::from(u32::try_from(sidecars)?));
    keep("lost_messages", sum(&received, "lost")?);
    keep("disordered_messages", sum(&received, "disordered")?);
    keep("messages_per_second", deliveries / count_of(&received) / most(&received, "seconds")?);
    keep("deliveries_per_second", deliveries / most(&received, "seconds")?);
    keep("sidecars_cpu_microseconds_a_delivery", sum(&told_once, "beside_cpu_seconds")? * 1e6 / deliveries);
    keep("sidecars_resident_megabytes", sum(&told_once, "beside_resident_megabytes")?);
    Ok(figures)
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Two sidecars with an app each that is connected, and one whose app has opened nothing.
fn idle(apps: &Apps, case: &Case, place: &mut Place, seconds: u32) -> Result<Figures> {
    let seconds_option = option("seconds", seconds);
    let meeting = apps.meet(case.way, channel(case.pattern), place)?;
    let mut running = Vec::new();
    for (identity, side) in [("publisher", Some("out")), ("subscriber", Some("in")), ("subscriber", None)] {
        let mut options = vec![seconds_option.clone()];
        options.extend(side.map(|side| option(side, case.way.place(&meeting, End::Connects))));
        running.push(apps.start(case.way, &App { role: "idle", identity, options }, place)?);
    }
    let printed = finish(running)?;
    let mut figures = Figures::new();
    for name in MEMORY {
        let name = format!("{name}_megabytes");
        figures.push((format!("sidecar_{name}"), most(&printed, &format!("beside_{name}"))?));
    }
    let a_second = |name: &str| -> Result<f64> { Ok(most(&printed, name)? / f64::from(seconds)) };
    figures.push(("sidecar_wakeups_per_second".to_owned(), a_second("beside_wakeups")?));
    figures.push(("sidecar_cpu_percent_of_a_core".to_owned(), a_second("beside_cpu_seconds")? * 100.0));
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::channel::cases;

    fn printed(received: u32, seconds: f64) -> String {
        format!(
            "app_cpu_seconds 0.5\nbeside_cpu_seconds 1.0\nbeside_resident_megabytes 8\nbeside_peak_megabytes 9\n\
             beside_anonymous_megabytes 5\n\
             received {received}\nlost 1\ndisordered 0\nseconds {seconds}\n"
        )
    }

    /// Goal: a rate is that of the slowest subscriber, losses are of all, and costs are those of a published message.
    #[test]
    fn a_flow_becomes_figures() {
        let mut case = cases::all(false).into_iter().find(|case| case.way.has_sidecars()).unwrap();
        case.count = 1_000_000;
        let sent = [printed(0, 0.0)];
        let received = [printed(1_000_000, 0.5), printed(1_000_000, 2.0)];
        let figures = figures_of_flow(&case, &sent, &received, None).unwrap();
        let of = |name: &str| figures.iter().find(|(its, _)| its == name).unwrap().1;
        assert!((of("messages_per_second") - 5e5).abs() < 1.0);
        assert!((of("lost_messages") - 2.0).abs() < f64::EPSILON);
        assert!((of("sidecars_cpu_microseconds") - 3.0).abs() < 1e-9);
        assert!((of("sidecars_resident_megabytes") - 8.0).abs() < f64::EPSILON);
        assert!(figures_of_flow(&case, &sent, &[printed(0, 0.0)], None).is_err());
    }
}
