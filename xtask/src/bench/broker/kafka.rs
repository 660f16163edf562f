//! Apache Kafka from Maven, one node in KRaft's combined mode, with its own default JVM options.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::PARTITIONS;
use super::process::Broker;
use crate::maven;
use crate::process::free_address;
use crate::tools;

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

/// Formats a folder and starts a broker in it; `synced` makes it sync each append.
pub(super) fn start(jars: &Path, folder: PathBuf, synced: bool) -> Result<Broker> {
    std::fs::create_dir_all(&folder).context("cannot make the broker's folder")?;
    let address = free_address()?;
    let properties = folder.join("server.properties");
    std::fs::write(&properties, settings(address, free_address()?, &folder, synced))
        .context("cannot write Kafka's settings")?;
    let classes = format!("{}/{}/*", jars.display(), maven::JARS);
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
