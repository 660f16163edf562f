//! `cargo xtask images`: the container images as OCI archives, without a container engine. Says
//! which images there are and what is in each; how a layer and an archive are made is below.

mod archive;
mod debian;
mod kafka;
mod oci;
mod programs;
mod rootfs;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::cache::{Cache, CacheArgs};
use crate::maven::KAFKA_VERSION;

pub(crate) use archive::{Archived, read as read_archive};
pub(crate) use debian::promtool;
pub(crate) use programs::NAMES as PROGRAMS;

/// The version of images that have none of their own.
const TAG: &str = "0.0.0";
/// Where the images for tests are named; nothing is ever pulled from there.
const TEST_REGISTRY: &str = "pinnace.dev/test";
/// The kind under which the cache keeps images for tests.
const KIND: &str = "images";
/// The user that every image runs as.
const USER: u32 = 65532;

/// Which images to make.
#[derive(Args)]
pub(crate) struct ImagesArgs {
    #[command(flatten)]
    cache: CacheArgs,
    /// Make only these [default: all]: operator sidecar broker pinnace load pause busybox apptools prometheus kafka
    names: Vec<String>,
}

/// Images for tests alone, and who makes each.
const TEST_IMAGES: &[TestImage] = &[
    TestImage { name: "pause", tag: TAG, key: rootfs::busybox_key, make: rootfs::pause },
    TestImage { name: "busybox", tag: TAG, key: rootfs::busybox_key, make: rootfs::busybox },
    TestImage { name: "apptools", tag: TAG, key: debian::apptools_key, make: debian::apptools },
    TestImage { name: "prometheus", tag: TAG, key: debian::prometheus_key, make: debian::prometheus },
    TestImage { name: "kafka", tag: KAFKA_VERSION, key: kafka::key, make: kafka::make },
];

struct TestImage {
    name: &'static str,
    tag: &'static str,
    /// A hash of all that the image is made from.
    key: fn() -> Result<String>,
    /// Fills an empty folder with the image's files and says what a container starts.
    make: fn(&Path) -> Result<oci::Start>,
}

/// Makes what the command line names, and prints name and digest of each.
pub(crate) fn run(args: &ImagesArgs) -> Result<()> {
    let cache = args.cache.open()?;
    let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|one| one == name);
    let known = programs::NAMES
        .iter()
        .copied()
        .chain([programs::LOAD])
        .chain(TEST_IMAGES.iter().map(|image| image.name));
    let known: Vec<&str> = known.collect();
    if let Some(unknown) = args.names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("there is no image {unknown}; there are {}", known.join(", "));
    }
    let ours: Vec<&str> = programs::NAMES.iter().copied().filter(|name| wanted(name)).collect();
    let mut archives = if ours.is_empty() { Vec::new() } else { programs::make(&ours)? };
    if wanted(programs::LOAD) {
        archives.push(programs::make_load()?);
    }
    for image in TEST_IMAGES.iter().filter(|image| wanted(image.name)) {
        archives.push(test_image(&cache, image.name)?);
    }
    for path in archives {
        let Archived { name, digest } = read_archive(&path)?;
        println!("{name} {digest} {}", path.display());
    }
    Ok(())
}

/// Makes all images, without a word about those that did not change.
pub(crate) fn make_all(cache: &Cache) -> Result<()> {
    programs::make(programs::NAMES)?;
    programs::make_load()?;
    TEST_IMAGES.iter().try_for_each(|image| test_image(cache, image.name).map(drop))
}

/// Makes the images of our own programs; gives the archives.
pub(crate) fn make_ours() -> Result<Vec<PathBuf>> {
    programs::make(programs::NAMES)
}

/// All archives that were made: our programs' and those for tests.
pub(crate) fn made(cache: &Cache) -> Result<Vec<PathBuf>> {
    let mut archives = programs::made()?;
    for image in TEST_IMAGES {
        let path = place(cache, image)?.join(archive::FILE);
        archives.extend(path.is_file().then_some(path));
    }
    Ok(archives)
}

/// The archive of an image for tests; it is made when the cache does not hold it.
pub(crate) fn test_image(cache: &Cache, name: &str) -> Result<PathBuf> {
    let image = TEST_IMAGES
        .iter()
        .find(|image| image.name == name)
        .with_context(|| format!("there is no test image {name}"))?;
    let key = format!("{name}-{}", (image.key)()?);
    let folder = cache.folder(KIND, &key, |folder| {
        println!("making the image {name}");
        let files = folder.join("files");
        fs::create_dir_all(&files).context("cannot make the folder of the image's files")?;
        let start = (image.make)(&files).with_context(|| format!("cannot make the image {name}"))?;
        let full_name = format!("{TEST_REGISTRY}/{name}:{}", image.tag);
        archive::write(&full_name, &files, &start, &folder.join(archive::FILE))?;
        crate::cache::remove_folder(&files)
    })?;
    Ok(folder.join(archive::FILE))
}

fn place(cache: &Cache, image: &TestImage) -> Result<PathBuf> {
    Ok(cache.place(KIND, &format!("{}-{}", image.name, (image.key)()?)))
}
