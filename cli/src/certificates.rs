//! `pinnace certificates`: when each certificate ends, whoever keeps it. Reads what it is given: PEM, objects as kubectl
//! prints them, and the metrics of our programs. It speaks to no cluster, so it needs no rights of its own.

mod read;
#[cfg(test)]
mod tests;

use crate::args::CertificatesArgs;
use crate::local::scrape;
use anyhow::{Context as _, bail};
use read::Certificate;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

/// Something ends too soon; other failures are 1.
const ENDS_SOON: u8 = 2;
/// The largest input: a cluster with ten thousand Brokers.
const INPUT_BYTES_MAX: u64 = 256 << 20;
/// The metric of every program that has certificates.
const METRIC: &str = "pinnace_certificate_expiration_timestamp_seconds";
const DAY_S: i64 = 86_400;

/// Shows what it finds, soonest first.
///
/// # Errors
/// When something cannot be read, or holds no certificate: what is not seen must not be taken for well.
pub(crate) async fn certificates(args: &CertificatesArgs) -> anyhow::Result<ExitCode> {
    if args.files.is_empty() && args.address.is_empty() {
        bail!(
            "nothing to read: pipe in `kubectl get secrets -A -l app.kubernetes.io/managed-by=pinnace -o json` and give -, name PEM files, or give --address of a program's admin port"
        );
    }
    let mut found = Vec::new();
    for file in &args.files {
        found.extend(read::certificates(&file.display().to_string(), &text_of(file)?)?);
    }
    for address in &args.address {
        found.extend(measured(address).await?);
    }
    let now = runtime::clock::unix_seconds();
    let found = merged(found);
    let limit = now.saturating_add(i64::try_from(args.within.as_secs()).unwrap_or(i64::MAX));
    let output = if args.json { json(&found, now, limit)? } else { table(&found, now) };
    crate::tools::print(&output)?;
    let soon = found.iter().any(|certificate| certificate.not_after <= limit);
    Ok(if soon { ExitCode::from(ENDS_SOON) } else { ExitCode::SUCCESS })
}

fn text_of(file: &Path) -> anyhow::Result<String> {
    let failed = || format!("failed to read {}", file.display());
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text).with_context(failed)?;
    } else {
        let opened = std::fs::File::open(file).with_context(failed)?;
        opened.take(INPUT_BYTES_MAX).read_to_string(&mut text).with_context(failed)?;
    }
    if u64::try_from(text.len()).unwrap_or(u64::MAX) >= INPUT_BYTES_MAX {
        bail!("{} has more than {INPUT_BYTES_MAX} bytes: give it in parts", file.display());
    }
    Ok(text)
}

/// What a program says of its certificates.
async fn measured(address: &str) -> anyhow::Result<Vec<Certificate>> {
    let text = scrape::get(address, "/metrics").await.map_err(|problem| {
        anyhow::anyhow!(
            "failed to ask {address}: {problem}; for the leader, `kubectl --namespace pinnace-system port-forward POD 7402` first"
        )
    })?;
    let found = in_metrics(address, &text);
    if found.is_empty() {
        bail!("{address} tells of no certificate: give the admin port of an operator or a sidecar, 7402");
    }
    Ok(found)
}

fn in_metrics(address: &str, text: &str) -> Vec<Certificate> {
    let samples =
        scrape::samples(text).into_iter().filter(|sample| sample.metric == METRIC && sample.value > 0.0);
    let certificate = |sample: scrape::Sample| {
        Some(Certificate {
            kind: sample.labels.get("certificate").cloned().unwrap_or_else(|| "sidecar".to_owned()),
            name: String::new(),
            not_after: format!("{:.0}", sample.value).parse().ok()?,
            fingerprint: String::new(),
            places: vec![address.to_owned()],
        })
    };
    samples.filter_map(certificate).collect()
}

/// One of each, soonest first, with all places where it was found: a root is in every Broker's Secret.
fn merged(found: Vec<Certificate>) -> Vec<Certificate> {
    let mut all: BTreeMap<(i64, String, String, String), Certificate> = BTreeMap::new();
    for certificate in found {
        // Metrics have no fingerprint: those stay apart.
        let place =
            if certificate.fingerprint.is_empty() { certificate.places.concat() } else { String::new() };
        let key = (certificate.not_after, certificate.fingerprint.clone(), certificate.kind.clone(), place);
        match all.get_mut(&key) {
            Some(known) => known.places.extend(certificate.places),
            None => drop(all.insert(key, certificate)),
        }
    }
    all.into_values().collect()
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

fn left(seconds: i64) -> String {
    match seconds {
        ..=0 => "ended".to_owned(),
        1..DAY_S => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", seconds / DAY_S),
    }
}

fn table(found: &[Certificate], now: i64) -> String {
    let header = ["LEFT", "ENDS", "WHAT", "NAME", "FROM"].map(str::to_owned);
    let row = |certificate: &Certificate| {
        let first = certificate.places.first().cloned().unwrap_or_default();
        let more = certificate.places.len().saturating_sub(1);
        let from = if more == 0 { first } else { format!("{first} and {more} more") };
        let name = if certificate.name.is_empty() { "-".to_owned() } else { certificate.name.clone() };
        let ends = certificate.not_after;
        [left(ends.saturating_sub(now)), time(ends), certificate.kind.clone(), name, from]
    };
    let rows: Vec<[String; 5]> = std::iter::once(header).chain(found.iter().map(row)).collect();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn json(found: &[Certificate], now: i64, limit: i64) -> anyhow::Result<String> {
    let object = |certificate: &Certificate| {
        serde_json::json!({
            "kind": certificate.kind,
            "name": certificate.name,
            "notAfter": time(certificate.not_after),
            "secondsLeft": certificate.not_after.saturating_sub(now),
            "endsSoon": certificate.not_after <= limit,
            "places": certificate.places,
        })
    };
    Ok(serde_json::to_string(&found.iter().map(object).collect::<Vec<_>>())?)
}
