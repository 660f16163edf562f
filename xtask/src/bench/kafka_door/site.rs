//! What both ways need: a `pinnace up` with one Embedded broker, a sidecar that stays, and a certificate for the client that
//! comes directly, of the same service account and signed by the same root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use serde_json::Value;

use crate::bench::broker::PARTITIONS;
use crate::bench::broker::client::Client;
use crate::process::Process;
use crate::wait;

const BROKER: &str = "\
apiVersion: pinnace.dev/v1alpha1
kind: Broker
metadata: {name: default, namespace: bench}
spec: {}
";
/// The topic that shows that a way is open.
const FIRST: &str = "first";
/// Who both clients are.
const ACCOUNT: &str = "bench/app";
const SPIFFE: &str = "spiffe://cluster.local/ns/bench/sa/app";
/// How long a program may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);
/// Keeps the sidecar, and says where its door is: whole, or not at all.
const STAY: &str =
    "echo \"$KAFKA_BOOTSTRAP_SERVERS\" > \"$0.new\" && mv \"$0.new\" \"$0\" && exec sleep infinity";

/// Two clients, and where each goes.
pub(super) struct Site {
    ways: [(Client, String); 2],
    sidecar: Process,
    up: Process,
}

impl Site {
    /// Starts all and waits until both ways take a message.
    pub(super) fn start(
        (pinnace, sidecar): (PathBuf, Option<PathBuf>),
        client: &Client,
        (folder, topics): (&Path, &[String]),
    ) -> Result<Self> {
        let (manifests, data) = (folder.join("manifests"), folder.join("data"));
        std::fs::create_dir_all(&manifests).context("cannot make the folder of the manifests")?;
        std::fs::write(manifests.join("bench.yaml"), objects(topics))
            .context("cannot write the manifests")?;
        let mut command = Command::new(&pinnace);
        command.args(["up", "--plain", "--json", "--file"]).arg(&manifests).arg("--data").arg(&data);
        let mut up = Process::start("up", command, folder)?;
        let address = wait::until("the broker", PATIENCE, || {
            up.runs()?;
            Ok(broker_address(&data))
        })?;
        let place = folder.join("door");
        let mut command = Command::new(&pinnace);
        command.args(["run", "--as", ACCOUNT, "--file"]).arg(&manifests).arg("--data").arg(&data);
        if let Some(sidecar) = sidecar {
            command.arg("--sidecar-program").arg(sidecar);
        }
        command.args(["--", "sh", "-c", STAY]).arg(&place);
        let mut sidecar = Process::start("sidecar", command, folder)?;
        let door = wait::until("the sidecar", PATIENCE, || {
            sidecar.runs()?;
            Ok(std::fs::read_to_string(&place).ok())
        })?;
        let direct = client.with(tls_settings(&data, folder)?);
        let site = Self { ways: [(direct, address), (client.clone(), door.trim().to_owned())], sidecar, up };
        for (client, address) in &site.ways {
            // The topics are made, and the sidecar hears of the broker, when they can.
            wait::until("the first message", PATIENCE, || Ok(client.first_message(address).ok()))?;
        }
        Ok(site)
    }

    /// The client of a way, and its address.
    pub(super) fn way(&self, at: usize) -> (&Client, &str) {
        let (client, address) = &self.ways[at];
        (client, address)
    }

    /// Ends all in order.
    pub(super) fn end(self) -> Result<()> {
        // It ends as its app does, which is told to.
        self.sidecar.end_somehow()?;
        self.up.end()
    }
}

fn objects(topics: &[String]) -> String {
    let topic = |name: &str| {
        format!(
            "---\napiVersion: pinnace.dev/v1alpha1\nkind: Topic\nmetadata: {{name: {name}, namespace: bench}}\n\
             spec: {{partitions: {PARTITIONS}}}\n"
        )
    };
    let topics = topics.iter().map(String::as_str).chain([FIRST]).map(topic);
    [BROKER.to_owned()].into_iter().chain(topics).collect()
}

/// Where the broker listens, as it wrote it beside the socket through which apps join.
fn broker_address(data: &Path) -> Option<String> {
    let socket = std::fs::read_to_string(data.join("attach")).ok()?;
    let ready = Path::new(&socket).parent()?.join("b-bench-default/ready.json");
    let ready: Value = serde_json::from_str(&std::fs::read_to_string(ready).ok()?).ok()?;
    ready["kafka"].as_str().map(str::to_owned)
}

/// A certificate of the account, and what librdkafka is told of it.
fn tls_settings(data: &Path, folder: &Path) -> Result<[String; 4]> {
    let root = data.join("authority/root-0.crt");
    let read = |path: &Path| {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let root_key = KeyPair::from_pem(&read(&data.join("authority/root-0.key"))?)?;
    let issuer = Issuer::from_ca_cert_pem(&read(&root)?, root_key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, ACCOUNT);
    params.subject_alt_names = vec![SanType::URI(SPIFFE.try_into()?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let (certificate_file, key_file) = (folder.join("app.crt"), folder.join("app.key"));
    std::fs::write(&certificate_file, certificate.pem()).context("cannot write the certificate")?;
    std::fs::write(&key_file, key.serialize_pem()).context("cannot write the key")?;
    Ok([
        "security.protocol=ssl".to_owned(),
        format!("ssl.ca.location={}", root.display()),
        format!("ssl.certificate.location={}", certificate_file.display()),
        format!("ssl.key.location={}", key_file.display()),
    ])
}
