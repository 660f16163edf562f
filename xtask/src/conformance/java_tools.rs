//! Kafka's own Java programs, from Maven, laid out like an installed Kafka: `libs/` and start scripts in
//! `bin/`. The folder is what other suites call `KAFKA_PATH`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::{Cache, key};
use crate::cluster::install_packages;
use crate::tools;

/// The newest release of the tools; Kafka 4.4 did not publish its own.
pub(crate) const VERSION: &str = "4.3.1";
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.pinnace</groupId><artifactId>java-tools</artifactId><version>0</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams</artifactId><version>4.3.1</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-1.2-api</artifactId><version>2.25.0</version></dependency>
  </dependencies>
</project>
"#;
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
    let missing = [("mvn", "maven"), ("javac", "openjdk-17-jdk-headless")];
    let missing = missing.iter().filter(|(program, _)| tools::which(program).is_none());
    install_packages(&missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    let scripts: String = SCRIPTS.iter().map(|(name, class)| format!("{name}\n{}", script(class))).collect();
    let key = key([("pom", POM.as_bytes()), ("scripts", scripts.as_bytes())]);
    cache.folder("java-tools", &key, |folder| {
        println!("fetching the Java tools of Apache Kafka {VERSION}");
        std::fs::write(folder.join("pom.xml"), POM).context("cannot write the pom")?;
        let arguments = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=libs"];
        tools::output(tools::command("mvn", arguments).current_dir(folder))
            .context("cannot fetch the Java tools of Apache Kafka")?;
        let programs = folder.join("bin");
        std::fs::create_dir_all(&programs).context("cannot make the folder of scripts")?;
        SCRIPTS.iter().try_for_each(|(name, class)| write_script(&programs.join(name), class))
    })
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
