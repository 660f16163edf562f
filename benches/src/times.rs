//! Times that were measured, all of them, and their percentiles. Pure, but for what it prints.

/// Nanoseconds each.
#[derive(Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn keep(&mut self, nanoseconds: u64) {
        self.0.push(nanoseconds);
    }

    pub(crate) fn print(mut self) {
        self.0.sort_unstable();
        println!("times {}", self.0.len());
        for (name, per_thousand) in [("p50", 500), ("p99", 990), ("most", 1000)] {
            println!("{name}_microseconds {:.1}", microseconds(&self.0, per_thousand));
        }
    }
}

/// The smallest value that at least so many in a thousand do not exceed.
fn microseconds(sorted: &[u64], per_thousand: usize) -> f64 {
    let rank = (sorted.len() * per_thousand).div_ceil(1000).saturating_sub(1);
    let nanoseconds = sorted.get(rank).copied().unwrap_or(0);
    std::time::Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a percentile is a value that was measured, at the right rank.
    #[test]
    fn ranks() {
        let hundred: Vec<u64> = (1..=100).map(|microseconds| microseconds * 1000).collect();
        assert!((microseconds(&hundred, 500) - 50.0).abs() < 1e-9);
        assert!((microseconds(&hundred, 990) - 99.0).abs() < 1e-9);
        assert!((microseconds(&hundred, 1000) - 100.0).abs() < 1e-9);
        assert!(microseconds(&[], 500).abs() < 1e-9);
    }
}
