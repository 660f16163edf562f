//! One image as one file: packs a folder of files into a layer and the layer with its documents
//! into an OCI archive. The same files give the same bytes: order, owner and dates are fixed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::oci::{self, Blob, Start};
use crate::cache;
use crate::tools;

/// The name of an archive in its own folder.
pub(crate) const FILE: &str = "image.tar";

/// What an archive holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Archived {
    pub(crate) name: String,
    pub(crate) digest: String,
}

/// Writes the archive of an image with these files; a reader finds all of it or nothing.
pub(crate) fn write(name: &str, files: &Path, start: &Start, archive: &Path) -> Result<Archived> {
    let layout = archive.with_extension("layout");
    cache::remove_folder(&layout)?;
    fs::create_dir_all(layout.join("blobs/sha256"))
        .with_context(|| format!("cannot make the folder {}", layout.display()))?;
    let packed = layout.join("layer");
    tools::output(pack(&packed).arg("-C").arg(files).arg("."))?;
    let layer = describe(&packed)?;
    fs::rename(&packed, layout.join(layer.path())).context("cannot move the layer into place")?;
    let documents = oci::documents(name, &layer, start);
    for (path, content) in &documents.files {
        fs::write(layout.join(path), content).with_context(|| format!("cannot write {path}"))?;
    }
    let partial = archive.with_extension("partial");
    tools::output(pack(&partial).arg("-C").arg(&layout).args(["oci-layout", "index.json", "blobs"]))?;
    fs::rename(&partial, archive).with_context(|| format!("cannot move {} into place", archive.display()))?;
    cache::remove_folder(&layout)?;
    Ok(Archived { name: name.to_owned(), digest: documents.manifest.digest })
}

/// Reads name and digest of the image in an archive.
pub(crate) fn read(archive: &Path) -> Result<Archived> {
    let mut command = tools::command("tar", ["--extract", "--to-stdout", "--file"]);
    let index = tools::output(command.arg(archive).arg("index.json"))
        .with_context(|| format!("{} is no OCI archive", archive.display()))?;
    parse_index(&index)
        .with_context(|| format!("{} does not name its image in index.json", archive.display()))
}

fn parse_index(index: &str) -> Option<Archived> {
    let index: Value = serde_json::from_str(index).ok()?;
    let image = index["manifests"].get(0)?;
    Some(Archived {
        name: image["annotations"]["io.containerd.image.name"].as_str()?.to_owned(),
        digest: image["digest"].as_str()?.to_owned(),
    })
}

/// tar, with everything fixed that is not a file's name, mode or content.
fn pack(file: &Path) -> Command {
    let mut command = tools::command("tar", ["--create", "--format=gnu", "--sort=name"]);
    command.args(["--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]).arg("--file").arg(file);
    command
}

fn describe(layer: &Path) -> Result<Blob> {
    let mut file = File::open(layer).with_context(|| format!("cannot open {}", layer.display()))?;
    let mut hash = Sha256::new();
    let size = io::copy(&mut file, &mut hash).with_context(|| format!("cannot read {}", layer.display()))?;
    Ok(Blob { media_type: oci::LAYER, digest: oci::digest(hash), size })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: an archive says the name and digest it was written with; the same files, written by
    /// another hand at another time, give the same digest, and a changed one another.
    #[test]
    fn an_archive_is_known_by_its_content() {
        let home = tempfile::tempdir().unwrap();
        let files = |name: &str, content: &str| {
            let folder = home.path().join(name);
            fs::create_dir_all(folder.join("usr/bin")).unwrap();
            fs::write(folder.join("usr/bin/program"), content).unwrap();
            folder
        };
        let start = Start::program(["/usr/bin/program"]);
        let make = |folder: &Path| {
            let archive = folder.with_extension("tar");
            let written = write("registry/name:1", folder, &start, &archive).unwrap();
            assert_eq!(read(&archive).unwrap(), written);
            written.digest
        };
        let one = make(&files("one", "content"));
        assert_eq!(one, make(&files("two", "content")));
        assert_ne!(one, make(&files("three", "changed")));
        let left: Vec<_> = fs::read_dir(home.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("layout") || name.contains("partial"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Goal: a file that is no archive is refused by name.
    #[test]
    fn another_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("other.tar");
        fs::write(&file, "text").unwrap();
        assert!(format!("{:#}", read(&file).unwrap_err()).contains("other.tar is no OCI archive"));
    }
}
