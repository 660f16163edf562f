//! The images of our own programs, from release builds. An image whose program and libraries did
//! not change is not made again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use cargo_metadata::MetadataCommand;

use super::oci::Start;
use super::{TAG, TEST_REGISTRY, archive, rootfs};
use crate::{cache, tools};

/// Our images, called like the cargo packages they are built from.
pub(crate) const NAMES: &[&str] = &["operator", "sidecar", "broker", "pinnace"];
/// Where the images are published.
const REGISTRY: &str = "ghcr.io/pinnace";
/// The app of the cluster's scenarios: a program of the package `tests`, as it is built for tests.
pub(crate) const LOAD: &str = "load";
/// What changes when this file makes the images differently.
const RECIPE: &str = "1";

/// The program that an image starts.
fn program(name: &str) -> String {
    if name == "pinnace" { name.to_owned() } else { format!("pinnace-{name}") }
}

/// Builds these programs and makes their images; gives the archives.
pub(crate) fn make(names: &[&str]) -> Result<Vec<PathBuf>> {
    let target = target_folder()?;
    let mut build = tools::command("cargo", ["build", "--release", "--locked"]);
    build.arg("--target-dir").arg(&target);
    for name in names {
        build.args(["--package", name]);
    }
    tools::visible(&mut build)?;
    let images = target.join("images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make the folder {}", images.display()))?;
    let image = |name: &str| Image {
        full_name: format!("{REGISTRY}/{name}:{TAG}"),
        program: target.join("release").join(program(name)),
    };
    names.iter().map(|name| make_one(name, &image(name), &images)).collect()
}

/// Builds the app of the cluster's scenarios and makes its image; gives the archive.
pub(crate) fn make_load() -> Result<PathBuf> {
    let target = target_folder()?;
    let mut build = tools::command("cargo", ["build", "--locked", "--package", "tests", "--bin", LOAD]);
    build.arg("--target-dir").arg(&target);
    tools::visible(&mut build)?;
    let images = target.join("images");
    fs::create_dir_all(&images).with_context(|| format!("cannot make the folder {}", images.display()))?;
    let full_name = format!("{TEST_REGISTRY}/{LOAD}:{TAG}");
    make_one(LOAD, &Image { full_name, program: target.join("debug").join(LOAD) }, &images)
}

/// The archives that were made before.
pub(crate) fn made() -> Result<Vec<PathBuf>> {
    let images = target_folder()?.join("images");
    let archives = NAMES.iter().chain([&LOAD]).map(|name| images.join(format!("{name}.tar")));
    Ok(archives.filter(|archive| archive.is_file()).collect())
}

/// What an image is called, and the program that it starts.
struct Image {
    full_name: String,
    program: PathBuf,
}

fn make_one(name: &str, image: &Image, images: &Path) -> Result<PathBuf> {
    let archive = images.join(format!("{name}.tar"));
    let stamp = images.join(format!("{name}.key"));
    let key = key(&image.program)?;
    if archive.is_file() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
        return Ok(archive);
    }
    println!("making the image {name}");
    let files = images.join(format!("{name}.files"));
    cache::remove_folder(&files)?;
    fs::create_dir_all(&files).with_context(|| format!("cannot make the folder {}", files.display()))?;
    rootfs::base(&files).context("cannot write the image's users")?;
    rootfs::add_program(&files, &image.program)?;
    let file = image.program.file_name().context("a program has a name")?;
    let start = Start::program([&format!("/usr/bin/{}", file.display())]);
    archive::write(&image.full_name, &files, &start, &archive)?;
    fs::write(&stamp, key).with_context(|| format!("cannot write {}", stamp.display()))?;
    cache::remove_folder(&files)?;
    Ok(archive)
}

/// A hash of the program and of each library that goes with it.
fn key(program: &Path) -> Result<String> {
    let mut files = vec![program.to_path_buf()];
    files.extend(rootfs::libraries(program)?);
    let mut pieces = vec![("recipe".to_owned(), RECIPE.as_bytes().to_vec())];
    for file in files {
        let content = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        pieces.push((file.display().to_string(), content));
    }
    Ok(cache::key(pieces.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))))
}

fn target_folder() -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cannot ask cargo for its target folder")?;
    Ok(metadata.target_directory.into_std_path_buf())
}
