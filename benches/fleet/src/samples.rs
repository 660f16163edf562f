//! The text in which programs tell their metrics to Prometheus.

use std::collections::BTreeMap;

/// The samples of a metric, each with its labels.
pub(crate) fn samples<'a>(
    text: &'a str,
    name: &'a str,
) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((read_labels(labels), value.trim().parse().ok()?))
    })
}

/// `a="1",b="2"`: of programs whose label values hold no quotes.
fn read_labels(text: &str) -> BTreeMap<&str, &str> {
    let pairs = text.split("\",").filter_map(|pair| pair.split_once("=\""));
    pairs.map(|(name, value)| (name, value.trim_end_matches('"'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: samples are found by the whole name, with their labels and without.
    #[test]
    fn samples_are_read() {
        let text =
            "# HELP a_total x\na_total{verb=\"GET\",resource=\"topics\"} 3\na_total 4\na_total_more 5\n";
        let found: Vec<_> = samples(text, "a_total").collect();
        let labels = BTreeMap::from([("verb", "GET"), ("resource", "topics")]);
        assert_eq!(found, [(labels, 3.0), (BTreeMap::new(), 4.0)]);
    }
}
