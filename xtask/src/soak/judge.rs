//! Whether a soak went well: pure, from what was counted and what was seen of the sidecars.

use serde_json::{Value, json};

/// How much more a sidecar may hold in the last quarter than in the second: a share, and bytes; both bind.
const GROWTH_SHARE_MAX: f64 = 0.10;
const GROWTH_BYTES_MAX: f64 = 4.0 * 1_048_576.0;
/// How much of what was wanted must be sent: below it this was another load than the one that was asked for.
const SENT_SHARE_MIN: f64 = 0.99;
/// Below this a quarter is no quarter.
const SAMPLES_MIN: usize = 8;

/// Messages, counted by the apps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ledger {
    /// What the pace and the time make.
    pub(super) wanted: f64,
    pub(super) sent: f64,
    pub(super) received: f64,
    pub(super) disordered: f64,
}

/// One look at a sidecar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) resident_bytes: f64,
    pub(super) descriptors: usize,
}

impl Sample {
    pub(super) fn resident_megabytes(&self) -> f64 {
        self.resident_bytes / 1e6
    }
}

/// All looks at one sidecar, at even distances.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) samples: Vec<Sample>,
}

/// The middle of a quarter, of each thing that was looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Quarter {
    resident_bytes: f64,
    descriptors: usize,
}

impl Side {
    pub(super) const fn of(name: &'static str) -> Self {
        Self { name, samples: Vec::new() }
    }

    /// The second quarter, when all has been used once, and the last.
    fn quarters(&self) -> Option<[Quarter; 2]> {
        let quarter = self.samples.len() / 4;
        if self.samples.len() < SAMPLES_MIN {
            return None;
        }
        let second = self.samples.get(quarter..2 * quarter)?;
        let last = self.samples.get(self.samples.len() - quarter..)?;
        Some([middle(second)?, middle(last)?])
    }

    pub(super) fn tell(&self) -> Value {
        let Some([second, last]) = self.quarters() else { return json!({"samples": self.samples.len()}) };
        json!({
            "samples": self.samples.len(),
            "resident_megabytes_second_quarter": second.resident_bytes / 1e6,
            "resident_megabytes_last_quarter": last.resident_bytes / 1e6,
            "descriptors_second_quarter": second.descriptors,
            "descriptors_last_quarter": last.descriptors,
        })
    }
}

fn middle(samples: &[Sample]) -> Option<Quarter> {
    let mut resident: Vec<f64> = samples.iter().map(|sample| sample.resident_bytes).collect();
    let mut descriptors: Vec<usize> = samples.iter().map(|sample| sample.descriptors).collect();
    resident.sort_by(f64::total_cmp);
    descriptors.sort_unstable();
    let at = samples.len() / 2;
    Some(Quarter { resident_bytes: *resident.get(at)?, descriptors: *descriptors.get(at)? })
}

/// Why it did not go well; nothing when it did.
pub(super) fn judge(ledger: &Ledger, sides: &[Side]) -> Vec<String> {
    let mut reasons = Vec::new();
    if ledger.sent <= 0.0 {
        reasons.push("nothing was sent".to_owned());
    } else if ledger.sent < ledger.wanted * SENT_SHARE_MIN {
        let Ledger { wanted, sent, .. } = ledger;
        reasons.push(format!("{sent} of {wanted} messages were sent: the pace was not kept"));
    }
    if (ledger.sent - ledger.received).abs() > 0.0 {
        reasons.push(format!("{} messages were sent and {} came", ledger.sent, ledger.received));
    }
    if ledger.disordered > 0.0 {
        reasons.push(format!("{} messages came out of order", ledger.disordered));
    }
    for side in sides {
        reasons.extend(judge_side(side));
    }
    reasons
}

fn judge_side(side: &Side) -> Vec<String> {
    let name = side.name;
    let Some([second, last]) = side.quarters() else {
        return vec![format!("{} looks at the {name}'s sidecar are too few", side.samples.len())];
    };
    let mut reasons = Vec::new();
    let growth = last.resident_bytes - second.resident_bytes;
    if growth > GROWTH_BYTES_MAX || growth > second.resident_bytes * GROWTH_SHARE_MAX {
        let (second, last) = (second.resident_bytes / 1e6, last.resident_bytes / 1e6);
        reasons.push(format!("the {name}'s sidecar grew from {second:.2} to {last:.2} MB"));
    }
    if second.descriptors != last.descriptors {
        let (second, last) = (second.descriptors, last.descriptors);
        reasons.push(format!("the {name}'s sidecar went from {second} to {last} descriptors"));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Ledger = Ledger { wanted: 100.0, sent: 100.0, received: 100.0, disordered: 0.0 };

    fn side(megabytes: impl Fn(usize) -> f64, descriptors: impl Fn(usize) -> usize) -> Side {
        let sample = |at| Sample { resident_bytes: megabytes(at) * 1e6, descriptors: descriptors(at) };
        Side { name: "publisher", samples: (0..24).map(sample).collect() }
    }

    fn flat() -> Side {
        side(|_| 12.0, |_| 20)
    }

    /// Goal: what is flat passes, also when it grows in the first quarter and wobbles after it.
    #[test]
    fn flat_is_well() {
        assert_eq!(judge(&GOOD, &[flat()]), [""; 0]);
        let settling = side(|at| if at < 6 { 5.0 } else { 12.0 + f64::from(u8::from(at % 3 == 0)) }, |_| 20);
        assert_eq!(judge(&GOOD, &[settling]), [""; 0]);
        let peak = side(|_| 12.0, |at| if at == 20 { 21 } else { 20 });
        assert_eq!(judge(&GOOD, &[peak]), [""; 0]);
    }

    /// Goal: each loss, disorder, pace that was not kept, growth by share or by bytes, and leaked descriptor is a reason of its own.
    #[test]
    fn each_fault_is_a_reason() {
        let faults = [
            (Ledger { received: 99.0, ..GOOD }, flat()),
            (Ledger { received: 101.0, ..GOOD }, flat()),
            (Ledger { sent: 98.0, received: 98.0, ..GOOD }, flat()),
            (Ledger { disordered: 1.0, ..GOOD }, flat()),
            (Ledger { sent: 0.0, received: 0.0, ..GOOD }, flat()),
            // 1.5 MB are 15 %.
            (GOOD, side(|at| if at < 12 { 10.0 } else { 11.5 }, |_| 20)),
            // 5 MB are 5 %.
            (GOOD, side(|at| if at < 12 { 100.0 } else { 105.0 }, |_| 20)),
            (GOOD, side(|_| 12.0, |at| 20 + at / 12)),
            (GOOD, side(|_| 12.0, |at| 20 - at / 12)),
            (GOOD, Side { samples: flat().samples[..7].to_vec(), ..flat() }),
        ];
        for (ledger, side) in faults {
            assert_eq!(judge(&ledger, std::slice::from_ref(&side)).len(), 1, "{ledger:?} {side:?}");
        }
    }

    /// Goal: a slow leak, of a few bytes a message, is seen in a long run.
    #[test]
    fn a_slow_leak_is_seen() {
        let leaking = side(|at| 12.0 + 0.2 * f64::from(u8::try_from(at).unwrap()), |_| 20);
        assert_eq!(judge(&GOOD, &[flat(), leaking]).len(), 1);
    }
}
