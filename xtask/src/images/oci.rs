//! The JSON documents of an OCI image with one layer. Pure: bytes in, bytes out.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::USER;
use crate::cache::hex;

/// What a container of the image starts.
pub(crate) struct Start {
    /// Program and first arguments; a pod's `args` come after them.
    pub(crate) entrypoint: Vec<String>,
    /// `NAME=value`.
    pub(crate) environment: Vec<String>,
}

impl Start {
    /// A program by its path, with the usual PATH.
    pub(crate) fn program<const N: usize>(entrypoint: [&str; N]) -> Self {
        Self {
            entrypoint: entrypoint.map(str::to_owned).to_vec(),
            environment: vec![format!("PATH={USUAL_PATH}")],
        }
    }

    /// Nothing by itself: who runs it names a program, which is looked for in this folder first.
    pub(crate) fn named_by_the_pod(folder: &str) -> Self {
        Self { entrypoint: Vec::new(), environment: vec![format!("PATH={folder}:{USUAL_PATH}")] }
    }
}

/// Where programs are looked for.
const USUAL_PATH: &str = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Something that is stored under the hash of its content.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) media_type: &'static str,
    /// `sha256:` and the hash in hexadecimal digits.
    pub(crate) digest: String,
    pub(crate) size: u64,
}

pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Blob {
    /// Describes bytes that are in memory.
    fn of(media_type: &'static str, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).expect("a length in memory fits 64 bits");
        Self { media_type, digest: digest(Sha256::new_with_prefix(bytes)), size }
    }

    /// Where the blob lies in an OCI layout.
    pub(crate) fn path(&self) -> String {
        format!("blobs/{}", self.digest.replace(':', "/"))
    }

    fn to_json(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

/// `sha256:` and the digits of a finished hash.
pub(crate) fn digest(hash: Sha256) -> String {
    format!("sha256:{}", hex(&hash.finalize()))
}

/// The documents around a layer: each with its path in the layout. The digest of the image is
/// that of its manifest.
pub(crate) struct Documents {
    pub(crate) files: Vec<(String, Vec<u8>)>,
    pub(crate) manifest: Blob,
}

/// Writes the documents of an image with this name; the same input gives the same bytes.
pub(crate) fn documents(name: &str, layer: &Blob, start: &Start) -> Documents {
    // An uncompressed layer's own digest is also the digest of what it unpacks to.
    let config = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{USER}:{USER}"),
            "Env": start.environment,
            "Entrypoint": start.entrypoint,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    });
    let config = bytes(&config);
    let config_blob = Blob::of(CONFIG, &config);
    let manifest = bytes(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config_blob.to_json(),
        "layers": [layer.to_json()],
    }));
    let manifest_blob = Blob::of(MANIFEST, &manifest);
    let mut listed = manifest_blob.to_json();
    listed["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(':').next(),
    });
    let index = bytes(&json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] }));
    Documents {
        files: vec![
            ("oci-layout".to_owned(), bytes(&json!({ "imageLayoutVersion": "1.0.0" }))),
            ("index.json".to_owned(), index),
            (config_blob.path(), config),
            (manifest_blob.path(), manifest),
        ],
        manifest: manifest_blob,
    }
}

/// The machine's architecture as Go, and so OCI, calls it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn bytes(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Documents {
        let layer = Blob::of(LAYER, b"a layer");
        documents("registry/name:1", &layer, &Start::program(["/usr/bin/program", "--flag"]))
    }

    /// Goal: every document lies under the hash of its own bytes, and each reference, from the
    /// index down to the layer, names a digest and a size that are true.
    #[test]
    fn every_reference_is_true() {
        let image = image();
        let find = |path: &str| {
            let found = image.files.iter().find(|(name, _)| name == path);
            &found.unwrap_or_else(|| panic!("{path} is missing")).1
        };
        let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        let follow = |reference: &Value| {
            let digest = reference["digest"].as_str().unwrap();
            let content = find(&format!("blobs/{}", digest.replace(':', "/")));
            assert_eq!(Blob::of(CONFIG, content).digest, digest);
            assert_eq!(reference["size"], content.len());
            parse(content)
        };
        let index = parse(find("index.json"));
        let manifest = follow(&index["manifests"][0]);
        let config = follow(&manifest["config"]);
        assert_eq!(index["manifests"][0]["digest"], image.manifest.digest);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "registry/name:1");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"][1], "--flag");
    }

    /// Goal: the digest depends on what the image holds and starts, and on nothing else.
    #[test]
    fn the_same_input_gives_the_same_digest() {
        assert_eq!(image().manifest.digest, image().manifest.digest);
        let layer = Blob::of(LAYER, b"a layer");
        let other = documents("registry/name:1", &layer, &Start::program(["/usr/bin/other"]));
        assert_ne!(image().manifest.digest, other.manifest.digest);
    }

    /// Goal: the hash is SHA-256 as everybody computes it.
    #[test]
    fn the_digest_is_sha256() {
        assert_eq!(
            Blob::of(LAYER, b"").digest,
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
