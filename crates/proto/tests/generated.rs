//! Keeps `src/gen` equal to what `proto/` generates. With `PINNACE_GENERATE=1` it writes instead of comparing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const SOURCES: [&str; 2] = ["pinnace/v1/messaging.proto", "pinnace/control/v1/control.proto"];

fn folder(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)
}

fn rust_files(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).expect("the folder of generated code can be listed");
    entries
        .map(|entry| entry.expect("a folder entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("generated code is readable text"))
        })
        .collect()
}

/// Goal: nobody edits the contract or the generated code without the other.
#[test]
fn checked_in_code_is_what_the_contract_generates() {
    let descriptors =
        protox::compile(SOURCES, [folder("../../proto")]).expect("the files in proto/ are valid protobuf");
    let fresh = tempfile::tempdir().expect("a temporary folder");
    tonic_prost_build::configure()
        .bytes(".")
        .out_dir(fresh.path())
        .compile_fds(descriptors)
        .expect("the descriptors generate Rust code");

    let wanted = rust_files(fresh.path());
    assert_eq!(wanted.len(), SOURCES.len(), "one generated file for each package: {:?}", wanted.keys());
    let checked_in = folder("src/gen");
    if std::env::var_os("PINNACE_GENERATE").is_some_and(|value| value == "1") {
        for (name, text) in &wanted {
            fs::write(checked_in.join(name), text).expect("src/gen can be written");
        }
    }
    let found = rust_files(&checked_in);
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        wanted.keys().collect::<Vec<_>>(),
        "src/gen holds other files than proto/ generates: run `PINNACE_GENERATE=1 cargo test -p proto`"
    );
    for (name, text) in &wanted {
        assert!(
            found.get(name) == Some(text),
            "src/gen/{name} differs from proto/: run `PINNACE_GENERATE=1 cargo test -p proto`"
        );
    }
}
