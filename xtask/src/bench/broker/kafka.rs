//! Apache Kafka from Maven, one node in KRaft's combined mode, with its own default JVM options.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::PARTITIONS;
use super::process::{Broker, free_address};
use crate::cache::{Cache, key};
use crate::tools;

/// The release that is measured.
pub(super) const VERSION: &str = "4.4.0";
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.pinnace</groupId><artifactId>peer</artifactId><version>0</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.4.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.0</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-1.2-api</artifactId><version>2.25.0</version></dependency>
  </dependencies>
</project>
"#;
/// What Kafka's own start script sets.
const JVM: [&str; 6] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
];
/// Any will do: the node is alone.
const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qk";

/// Fetches the jars once; gives their folder.
pub(super) fn install(cache: &Cache) -> Result<PathBuf> {
    let key = key([("pom", POM.as_bytes())]);
    cache.folder("kafka", &key, |folder| {
        println!("fetching Apache Kafka {VERSION}");
        std::fs::write(folder.join("pom.xml"), POM).context("cannot write the pom")?;
        let arguments = ["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DoutputDirectory=libs"];
        tools::output(tools::command("mvn", arguments).current_dir(folder))
            .context(
                "cannot fetch Apache Kafka; the Debian packages maven and openjdk-17-jre-headless are needed",
            )
            .map(drop)
    })
}

/// Formats a folder and starts a broker in it; `synced` makes it sync each append.
pub(super) fn start(jars: &Path, folder: PathBuf, synced: bool) -> Result<Broker> {
    std::fs::create_dir_all(&folder).context("cannot make the broker's folder")?;
    let address = free_address()?;
    let properties = folder.join("server.properties");
    std::fs::write(&properties, settings(address, free_address()?, &folder, synced))
        .context("cannot write Kafka's settings")?;
    let classes = format!("{}/libs/*", jars.display());
    let file = properties.display().to_string();
    let format =
        ["-cp", &classes, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", &file];
    tools::output(&mut tools::command("java", format)).context("cannot format Kafka's folder")?;
    let mut command = Command::new("java");
    command.args(JVM).args(["-cp", &classes, "kafka.Kafka", &file]).current_dir(&folder);
    Broker::spawn(command, &folder, address)
}

fn settings(client: SocketAddr, controller: SocketAddr, folder: &Path, synced: bool) -> String {
    let mut settings = format!(
        "process.roles=broker,controller\n\
         node.id=0\n\
         controller.quorum.voters=0@{controller}\n\
         listeners=PLAINTEXT://{client},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{client}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs={}\n\
         num.partitions={PARTITIONS}\n\
         auto.create.topics.enable=true\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n",
        folder.join("data").display()
    );
    if synced {
        settings.push_str("log.flush.interval.messages=1\n");
    }
    settings
}
