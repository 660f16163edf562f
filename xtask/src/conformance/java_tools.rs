//! Kafka's own Java programs, from Maven, laid out like an installed Kafka: `libs/` and start scripts in
//! `bin/`. The folder is what other suites call `KAFKA_PATH`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::{Cache, key};
use crate::maven::{self, Artifact, KAFKA_TOOLS_VERSION};

/// Scripts of an installed Kafka and the classes that they start.
const SCRIPTS: [(&str, &str); 4] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
    ("kafka-configs.sh", "kafka.admin.ConfigCommand"),
    // The class is its first argument.
    ("kafka-run-class.sh", ""),
];
/// A tool lives for a second or two: a small heap and the quick compiler are all it needs.
pub(crate) const JVM: [&str; 3] = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// Fetches the jars once; gives the folder.
pub(crate) fn install(cache: &Cache) -> Result<PathBuf> {
    let artifacts = artifacts();
    let scripts: String = SCRIPTS.iter().map(|(name, class)| format!("{name}\n{}", script(class))).collect();
    let project = maven::project(&artifacts);
    let key = key([("pom", project.as_bytes()), ("scripts", scripts.as_bytes())]);
    // The cache may come from elsewhere, and suites compile and run programs.
    maven::ensure_programs()?;
    cache.folder("java-tools", &key, |folder| {
        maven::fetch(folder, &artifacts)?;
        let programs = folder.join("bin");
        std::fs::create_dir_all(&programs).context("cannot make the folder of scripts")?;
        SCRIPTS.iter().try_for_each(|(name, class)| write_script(&programs.join(name), class))
    })
}

fn artifacts() -> Vec<Artifact> {
    let of_kafka = ["kafka-tools", "kafka_2.13", "kafka-streams"];
    let of_kafka = of_kafka.map(|name| Artifact("org.apache.kafka", name, KAFKA_TOOLS_VERSION));
    [of_kafka.as_slice(), &maven::LOGGING].concat()
}

fn script(class: &str) -> String {
    let jvm = JVM.join(" ");
    format!("#!/bin/sh\nexec java {jvm} -cp \"$CLASSPATH:$(dirname \"$0\")/../libs/*\" {class} \"$@\"\n")
}

fn write_script(file: &Path, class: &str) -> Result<()> {
    let wrong = || format!("cannot write {}", file.display());
    std::fs::write(file, script(class)).with_context(wrong)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).with_context(wrong)
}
