//! What the design asks of the Embedded engine, and how figures become ratios. Measures nothing.

use serde_json::{Value, json};

use crate::bench::Report;

/// A ratio of one of our figures to a peer's.
struct Goal {
    name: &'static str,
    figure: &'static str,
    peer: &'static str,
    goal: f64,
    more_is_better: bool,
}

const GOALS: [Goal; 18] = [
    at_least("produce_100_bytes_to_kafka_synced", "produce_100_bytes_6_partitions_per_second", SYNCED, 1.3),
    at_least("produce_1_kib_to_kafka_synced", "produce_1_kib_6_partitions_per_second", SYNCED, 1.3),
    at_least(
        "produce_1_kib_1_partition_to_kafka_synced",
        "produce_1_kib_1_partition_per_second",
        SYNCED,
        1.3,
    ),
    at_least("produce_1_kib_lz4_to_kafka_synced", "produce_1_kib_lz4_6_partitions_per_second", SYNCED, 1.3),
    at_least("produce_100_bytes_to_kafka", "produce_100_bytes_6_partitions_per_second", KAFKA, 1.0),
    at_least(
        "produce_100_bytes_1_partition_to_kafka",
        "produce_100_bytes_1_partition_per_second",
        KAFKA,
        1.0,
    ),
    at_least("produce_1_kib_to_kafka", "produce_1_kib_6_partitions_per_second", KAFKA, 1.0),
    at_least("produce_1_kib_1_partition_to_kafka", "produce_1_kib_1_partition_per_second", KAFKA, 1.0),
    at_most("produce_cpu_to_kafka", "produce_1_kib_6_partitions_cpu_microseconds", KAFKA, 0.5),
    at_most("produce_100_bytes_cpu_to_kafka", "produce_100_bytes_6_partitions_cpu_microseconds", KAFKA, 0.5),
    at_least("consume_to_kafka", "consume_1_kib_1_partition_per_second", KAFKA, 1.0),
    at_least("consume_100_bytes_to_kafka", "consume_100_bytes_6_partitions_per_second", KAFKA, 1.0),
    at_least("consume_in_a_group_to_kafka", "consume_100_bytes_in_a_group_per_second", KAFKA, 1.0),
    at_most("consume_cpu_to_kafka", "consume_1_kib_1_partition_cpu_microseconds", KAFKA, 1.2),
    at_most("latency_p50_to_kafka", "latency_at_1000_per_second_p50_milliseconds", KAFKA, 1.0),
    at_most("latency_p99_to_kafka_synced", "latency_at_1000_per_second_p99_milliseconds", SYNCED, 1.0 / 3.0),
    at_most("resident_after_load_to_kafka", "resident_after_load_mebibytes", KAFKA, 1.0 / 16.0),
    at_most("start_to_nats", "start_seconds", "nats", 1.0),
];
const KAFKA: &str = "kafka";
const SYNCED: &str = "kafka_synced";

/// The goals of the design that are bounds of our own, each the most that is allowed.
const BOUNDS: [(&str, f64); 8] = [
    ("pinnace_resident_idle_mebibytes", 12e6 / 1_048_576.0),
    ("pinnace_cpu_idle_percent_of_a_core", 0.1),
    ("pinnace_start_seconds", 0.05),
    ("pinnace_start_with_1000_topics_seconds", 0.2),
    ("pinnace_recovery_seconds", 1.0),
    ("pinnace_create_1000_topics_until_all_lead_seconds", 1.0),
    ("pinnace_1000_partitions_linger_0_ms_p99_milliseconds", 20.0),
    ("pinnace_1000_partitions_linger_5_ms_p99_milliseconds", 20.0),
];

/// The same, where less is too little: all of the target of ten thousand, but for the rounding of the client.
const FLOORS: [(&str, f64); 2] = [
    ("pinnace_1000_partitions_linger_0_ms_reached_per_second", 9_900.0),
    ("pinnace_1000_partitions_linger_5_ms_reached_per_second", 9_900.0),
];

/// A load that reaches so much of what the disk takes has met its goal, however fast a peer that does not sync.
const OF_THE_DISK: f64 = 0.9;
const DISK: &str = "disk_write_and_sync_at_the_end_mebibytes_per_second";

const fn at_least(name: &'static str, figure: &'static str, peer: &'static str, goal: f64) -> Goal {
    Goal { name, figure, peer, goal, more_is_better: true }
}

const fn at_most(name: &'static str, figure: &'static str, peer: &'static str, goal: f64) -> Goal {
    Goal { name, figure, peer, goal, more_is_better: false }
}

/// Adds every ratio whose figures were measured.
pub(super) fn ratios(report: &mut Report) {
    let value = |report: &Report, figure: &str| report.figures.get(figure).and_then(Value::as_f64);
    for (figure, goal) in BOUNDS {
        if let Some(value) = value(report, figure) {
            report.at_most(figure, value, goal);
        }
    }
    for (figure, goal) in FLOORS {
        if let Some(value) = value(report, figure) {
            report.at_least(figure, value, goal);
        }
    }
    for goal in &GOALS {
        let ours = value(report, &format!("pinnace_{}", goal.figure));
        let theirs = value(report, &format!("{}_{}", goal.peer, goal.figure));
        let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
        if goal.more_is_better {
            report.at_least(goal.name, ours / theirs, goal.goal);
            or_of_the_disk(report, goal, ours);
        } else {
            report.at_most(goal.name, ours / theirs, goal.goal);
        }
    }
}

/// A produce goal is met as well by a load that the disk itself could hardly take faster.
fn or_of_the_disk(report: &mut Report, goal: &Goal, per_second: f64) {
    let bytes = if goal.figure.contains("1_kib") { 1024.0 } else { 100.0 };
    let plain = goal.figure.starts_with("produce") && !goal.figure.contains("lz4");
    let disk = report.figures.get(DISK).and_then(Value::as_f64);
    let (true, Some(disk), Some(ratio)) = (plain, disk, report.ratios.get_mut(goal.name)) else { return };
    let share = per_second * bytes / 1_048_576.0 / disk;
    ratio["or_share_of_the_disk"] = json!({"value": share, "goal": OF_THE_DISK});
    if share >= OF_THE_DISK {
        ratio["ok"] = true.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every goal is about figures that are measured under that name, in the right direction.
    #[test]
    fn goals_become_ratios() {
        let mut report = Report::default();
        for goal in &GOALS {
            report.figure(format!("pinnace_{}", goal.figure), 2.0);
            report.figure(format!("{}_{}", goal.peer, goal.figure), 4.0);
        }
        for (figure, _) in BOUNDS {
            report.figure(figure, 0.0);
        }
        for (figure, _) in FLOORS {
            report.figure(figure, 1.0);
        }
        ratios(&mut report);
        assert_eq!(report.ratios.len(), GOALS.len() + BOUNDS.len() + FLOORS.len());
        assert_eq!(report.ratios["latency_p50_to_kafka"]["value"], 0.5);
        assert_eq!(report.ratios["latency_p50_to_kafka"]["ok"], true);
        assert_eq!(report.ratios["consume_to_kafka"]["ok"], false);
        assert_eq!(report.ratios[FLOORS[0].0]["ok"], false);
    }

    /// Goal: nine tenths of the disk are enough for a produce goal, and less is not.
    #[test]
    fn what_the_disk_cannot_take_is_not_asked_for() {
        let judged = |disk: f64| {
            let mut report = Report::default();
            report.figure(DISK, disk);
            report.figure("pinnace_produce_1_kib_6_partitions_per_second", 100.0 * 1024.0);
            report.figure("kafka_produce_1_kib_6_partitions_per_second", 200.0 * 1024.0);
            ratios(&mut report);
            report.ratios["produce_1_kib_to_kafka"]["ok"].clone()
        };
        assert_eq!(judged(105.0), true);
        assert_eq!(judged(200.0), false);
    }
}
