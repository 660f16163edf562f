//! The server's certificate, as the engine reads it. Pure.

use crate::controllers::broker::certificate::Certificate;
use api::{Broker, broker::Engine};
use control::ObjectName;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::json;
use std::collections::BTreeMap;

pub(in super::super) const CHAIN: &str = "tls.crt";
pub(in super::super) const KEY: &str = "tls.key";
pub(in super::super) const BUNDLE: &str = "ca.crt";
/// Key and chain in one file, as Kafka reads them.
pub(in super::super) const KEYSTORE: &str = "keystore.pem";

pub(in super::super) fn build(
    broker: &Broker,
    own: &ObjectName,
    certificate: &Certificate,
) -> Result<Secret, serde_json::Error> {
    let mut secret: Secret = serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::secret_name(&own.name)),
        "type": "kubernetes.io/tls",
    }))?;
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    let mut data = BTreeMap::from([
        (CHAIN.to_owned(), bytes(&certificate.chain_pem)),
        (KEY.to_owned(), bytes(&certificate.key_pem)),
        (BUNDLE.to_owned(), bytes(&certificate.bundle_pem)),
    ]);
    if broker.spec.engine == Engine::Kafka {
        let both = [certificate.key_pem.trim_end(), certificate.chain_pem.as_str()].join("\n");
        data.insert(KEYSTORE.to_owned(), bytes(&both));
    }
    secret.data = Some(data);
    Ok(secret)
}
