//! Certificates in a text: PEM, or objects of Kubernetes that carry PEM. Keys that stand beside them are passed over.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

const CERTIFICATE: &str = "CERTIFICATE";

/// One certificate, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    /// `root`, `leaf`, or what a metric calls it.
    pub(super) kind: String,
    /// Whose it is; empty if that is not known.
    pub(super) name: String,
    /// In seconds since the Unix epoch.
    pub(super) not_after: i64,
    /// Tells it from others; empty if only its end is known.
    pub(super) fingerprint: String,
    /// Where it was found.
    pub(super) places: Vec<String>,
}

/// All certificates of a text.
///
/// # Errors
/// When it can be read as nothing, or holds no certificate.
pub(super) fn certificates(place: &str, text: &str) -> anyhow::Result<Vec<Certificate>> {
    let objects = objects(place, text)?;
    let found = if objects.is_empty() { in_pem(place, text)? } else { in_objects(&objects)? };
    if found.is_empty() {
        bail!(
            "{place} holds no certificate: give PEM, or Secrets and webhook configurations as `kubectl get … -o json` prints them"
        );
    }
    Ok(found)
}

/// The objects of a text in YAML or JSON, lists taken apart; none where it is something else.
///
/// # Errors
/// When what follows an object cannot be read: a part must not be taken for all.
fn objects(place: &str, text: &str) -> anyhow::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        match Value::deserialize(document) {
            Ok(value) if value["kind"].is_string() => documents.push(value),
            Ok(_) => {}
            Err(_) if documents.is_empty() => return Ok(Vec::new()),
            Err(error) => bail!("{place} is damaged behind its first object: {error}"),
        }
    }
    let items = |document: Value| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    };
    Ok(documents.into_iter().flat_map(items).collect())
}

fn in_objects(objects: &[Value]) -> anyhow::Result<Vec<Certificate>> {
    let mut found = Vec::new();
    for object in objects {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let own = [text(&metadata["namespace"]), text(&metadata["name"])].join("/");
        let own = format!("{} {}", text(&object["kind"]), own.trim_start_matches('/'));
        let fields = object["data"].as_object().into_iter().flatten();
        let fields = fields.map(|(key, value)| (key.clone(), value));
        let webhooks = object["webhooks"].as_array().into_iter().flatten();
        let bundles = webhooks.map(|webhook| (text(&webhook["name"]), &webhook["clientConfig"]["caBundle"]));
        for (key, value) in fields.chain(bundles) {
            let Some(bytes) = value.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok()) else {
                continue;
            };
            found.extend(in_pem(&format!("{own} {key}"), &String::from_utf8_lossy(&bytes))?);
        }
    }
    Ok(found)
}

fn in_pem(place: &str, text: &str) -> anyhow::Result<Vec<Certificate>> {
    let mut found = Vec::new();
    for pem in Pem::iter_from_buffer(text.as_bytes()) {
        let pem = pem.with_context(|| format!("{place} holds damaged PEM"))?;
        if pem.label == CERTIFICATE {
            found.push(certificate(place, &pem)?);
        }
    }
    Ok(found)
}

fn certificate(place: &str, pem: &Pem) -> anyhow::Result<Certificate> {
    let parsed = pem.parse_x509().with_context(|| format!("{place} holds a damaged certificate"))?;
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let name = names.iter().find_map(|name| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    let common =
        || parsed.subject().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
    Ok(Certificate {
        kind: if parsed.is_ca() { "root" } else { "leaf" }.to_owned(),
        name: name.unwrap_or_else(|| common().to_owned()),
        not_after: parsed.validity().not_after.timestamp(),
        fingerprint: Sha256::digest(&pem.contents).iter().map(|byte| format!("{byte:02x}")).collect(),
        places: vec![place.to_owned()],
    })
}
