//! Builds the suite from the sources of the crate `rdkafka-sys` that the lock file names. One change is made,
//! so that it fits a broker of one node: the replication factor of topics is capped by an environment variable.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::MetadataCommand;

use crate::cache::{Cache, key};
use crate::cluster::install_packages;
use crate::tools;

/// The environment variable of our change.
pub(super) const REPLICATION_FACTOR_MAX: &str = "TEST_REPLICATION_FACTOR_MAX";
/// What librdkafka is built without: no test that is run needs it.
const CONFIGURE: [&str; 3] = ["--disable-curl", "--disable-sasl", "--disable-zstd"];
/// What the build needs, by a file that each package brings. Without RapidJSON four tests skip themselves.
const PACKAGES: [(&str, &str); 5] = [
    ("/usr/bin/make", "make"),
    ("/usr/bin/g++", "g++"),
    ("/usr/include/zlib.h", "zlib1g-dev"),
    ("/usr/include/openssl/ssl.h", "libssl-dev"),
    ("/usr/include/rapidjson/document.h", "rapidjson-dev"),
];
/// The change: what is replaced by what in `test.c`; each must be found exactly once.
const CHANGES: [(&str, &str); 2] = [
    (
        "void test_admin_create_topic(rd_kafka_t *use_rk,",
        "static int test_replication_factor(int wanted) {
        const char *max = test_getenv(\"TEST_REPLICATION_FACTOR_MAX\", NULL);
        return max && wanted > atoi(max) ? atoi(max) : wanted;
}

void test_admin_create_topic(rd_kafka_t *use_rk,",
    ),
    (
        "rd_kafka_NewTopic_new(topicname, partition_cnt, replication_factor,",
        "rd_kafka_NewTopic_new(topicname, partition_cnt, test_replication_factor(replication_factor),",
    ),
];

/// Builds it once; gives the folder of librdkafka's sources, with `tests/test-runner`.
pub(super) fn build(root: &Path, cache: &Cache) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root).exec().context("cannot read the workspace")?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "rdkafka-sys");
    let package = package.context("the workspace has no rdkafka-sys")?;
    let version = package.version.to_string();
    let source = package.manifest_path.with_file_name("librdkafka");
    let changes: String = CHANGES.iter().flat_map(|(from, to)| [*from, *to]).collect();
    let key = key([
        ("version", version.as_bytes()),
        ("configure", CONFIGURE.join(" ").as_bytes()),
        ("changes", changes.as_bytes()),
    ]);
    let missing = PACKAGES.iter().filter(|(file, _)| !Path::new(file).is_file());
    install_packages(&missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    let place = cache.folder("librdkafka-suite", &key, |folder| {
        println!("building librdkafka's suite of rdkafka-sys {version}: some minutes");
        tools::output(&mut tools::command("cp", ["-r", source.as_str(), &folder.display().to_string()]))?;
        let folder = folder.join("librdkafka");
        change(&folder.join("tests/test.c"))?;
        let run = |program: &str, arguments: &[&str]| {
            tools::output(tools::command(program, arguments).current_dir(&folder))
        };
        run("./configure", &CONFIGURE)?;
        run("make", &["-j2", "libs"])?;
        run("make", &["-j2", "-C", "tests", "build"]).map(drop)
    })?;
    Ok(place.join("librdkafka"))
}

fn change(file: &Path) -> Result<()> {
    let mut text = std::fs::read_to_string(file).context("cannot read test.c")?;
    for (from, to) in CHANGES {
        ensure!(text.matches(from).count() == 1, "test.c has changed: {from} is not there exactly once");
        text = text.replace(from, to);
    }
    std::fs::write(file, text).context("cannot change test.c")
}
