//! What the design asks of Channels, and how figures become ratios. Measures nothing.

use serde_json::Value;

use crate::bench::{Part, Report};

/// A figure of ours, against a peer's or against a bound.
struct Goal {
    part: Part,
    name: &'static str,
    figure: &'static str,
    /// What it is divided by.
    by: By,
    goal: f64,
    more_is_better: bool,
}

enum By {
    Figure(&'static str),
    Number(f64),
}

const LIBZMQ_P50: By = By::Figure("libzmq_round_trip_p50_microseconds");
const LIBZMQ_P99: By = By::Figure("libzmq_round_trip_p99_microseconds");

/// A message through two sidecars must cost no more than this, of a round trip of libzmq alone.
const P50: f64 = 1.2;
const P99: f64 = 1.5;

const GOALS: [Goal; 15] = [
    at_least(
        "throughput_batching_to_3_million_per_second",
        "batching_over_sidecars_100_bytes_messages_per_second",
        By::Number(3e6),
        1.0,
    ),
    at_least(
        "throughput_batching_to_nats",
        "batching_over_sidecars_100_bytes_messages_per_second",
        By::Figure("nats_100_bytes_messages_per_second"),
        1.5,
    ),
    at_least(
        "throughput_grpc_apps_to_1_million_per_second",
        "grpc_over_sidecars_100_bytes_messages_per_second",
        By::Number(1e6),
        1.0,
    ),
    at_least(
        "throughput_grpc_apps_to_tonic_relays",
        "grpc_over_sidecars_100_bytes_messages_per_second",
        By::Figure("tonic_relays_100_bytes_messages_per_second"),
        1.0,
    ),
    Goal {
        part: Part::Throughput,
        ..at_most(
            "sidecars_cpu_microseconds_at_100_bytes",
            "batching_over_sidecars_100_bytes_sidecars_cpu_microseconds",
            By::Number(1.0),
            0.3,
        )
    },
    at_most(
        "round_trip_p50_libzmq_apps_to_libzmq",
        "libzmq_over_sidecars_round_trip_p50_microseconds",
        LIBZMQ_P50,
        P50,
    ),
    at_most(
        "round_trip_p99_libzmq_apps_to_libzmq",
        "libzmq_over_sidecars_round_trip_p99_microseconds",
        LIBZMQ_P99,
        P99,
    ),
    at_most(
        "round_trip_p50_batching_apps_to_libzmq",
        "batching_over_sidecars_round_trip_p50_microseconds",
        LIBZMQ_P50,
        P50,
    ),
    at_most(
        "round_trip_p99_batching_apps_to_libzmq",
        "batching_over_sidecars_round_trip_p99_microseconds",
        LIBZMQ_P99,
        P99,
    ),
    at_most(
        "request_p50_to_libzmq",
        "libzmq_over_sidecars_request_p50_microseconds",
        By::Figure("libzmq_request_p50_microseconds"),
        P50,
    ),
    at_most(
        "request_p99_to_libzmq",
        "libzmq_over_sidecars_request_p99_microseconds",
        By::Figure("libzmq_request_p99_microseconds"),
        P99,
    ),
    Goal {
        part: Part::Memory,
        ..at_most(
            "sidecar_idle_resident_megabytes",
            "batching_over_sidecars_idle_sidecar_resident_megabytes",
            By::Number(1.0),
            10.0,
        )
    },
    Goal {
        part: Part::OpenLoop,
        ..at_most(
            "sidecar_resident_at_100000_per_second_megabytes",
            "batching_over_sidecars_at_100000_per_second_sidecars_resident_megabytes",
            By::Number(1.0),
            20.0,
        )
    },
    Goal {
        part: Part::OpenLoop,
        ..at_most(
            "sidecar_resident_at_100000_per_second_of_libzmq_apps_megabytes",
            "libzmq_over_sidecars_at_100000_per_second_sidecars_resident_megabytes",
            By::Number(1.0),
            20.0,
        )
    },
    Goal {
        part: Part::FanOut,
        ..at_most(
            "fan_out_lost_messages",
            "batching_over_sidecars_fan_out_lost_messages",
            By::Number(1.0),
            0.0,
        )
    },
];

const fn at_least(name: &'static str, figure: &'static str, by: By, goal: f64) -> Goal {
    Goal { part: Part::Throughput, name, figure, by, goal, more_is_better: true }
}

const fn at_most(name: &'static str, figure: &'static str, by: By, goal: f64) -> Goal {
    Goal { part: Part::Latency, name, figure, by, goal, more_is_better: false }
}

/// Whether the rounds of a figure add up: what is lost in one is not made good by another.
pub(super) fn is_sum(figure: &str) -> bool {
    figure.ends_with("lost_messages") || figure.ends_with("disordered_messages")
}

/// Judges every goal of the parts that were wanted; one whose figures are missing is not met.
pub(super) fn judge(report: &mut Report, is_wanted: impl Fn(Part) -> bool) {
    let ours: Vec<(&String, &Value)> =
        report.figures.iter().filter(|(name, _)| name.contains("_over_sidecars_")).collect();
    let lost = |ending: &str| -> f64 {
        ours.iter().filter(|(name, _)| name.ends_with(ending)).filter_map(|(_, value)| value.as_f64()).sum()
    };
    let (lost, disordered) = (lost("_lost_messages"), lost("_disordered_messages"));
    report.figure("sidecars_lost_messages", lost);
    report.figure("sidecars_disordered_messages", disordered);
    for goal in GOALS.iter().filter(|goal| is_wanted(goal.part)) {
        let figure = |name: &str| report.figures.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let by = match goal.by {
            By::Figure(name) => figure(name),
            By::Number(number) => number,
        };
        let value = figure(goal.figure) / by;
        if goal.more_is_better {
            report.at_least(goal.name, value, goal.goal);
        } else {
            report.at_most(goal.name, value, goal.goal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::channel::cases;

    /// Goal: every goal is about figures that a case of its part gives, in the right direction, and a figure that is
    /// missing meets no goal.
    #[test]
    fn goals_become_ratios() {
        let mut report = Report::default();
        judge(&mut report, |_| true);
        assert!(report.ratios.values().all(|ratio| ratio["ok"] == false));
        let cases = cases::all(false);
        let prefix = |figure: &str, part| {
            cases.iter().any(|case| {
                case.part == part && figure.starts_with(&format!("{}_{}_", case.way.name(), case.name))
            })
        };
        for goal in &GOALS {
            assert!(prefix(goal.figure, goal.part), "{}", goal.figure);
            report.figure(goal.figure, 4.0);
        }
        for goal in &GOALS {
            if let By::Figure(name) = goal.by {
                assert!(prefix(name, goal.part), "{name}");
                report.figure(name, 2.0);
            }
        }
        judge(&mut report, |part| part != Part::FanOut);
        assert_eq!(report.ratios["throughput_batching_to_nats"]["value"], 2.0);
        assert_eq!(report.ratios["throughput_batching_to_nats"]["ok"], true);
        assert_eq!(report.ratios["request_p99_to_libzmq"]["ok"], false);
        assert_eq!(report.ratios["sidecar_idle_resident_megabytes"]["ok"], true);
    }
}
