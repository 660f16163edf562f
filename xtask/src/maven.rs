//! Java programs from Maven Central, through Maven's own client: the jars of a program and of all that it depends on.
//! Knows which release of Apache Kafka is meant, and starts nothing.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::{Cache, key};
use crate::cluster::install_packages;
use crate::tools;

/// The release of Apache Kafka that runs here as a server.
pub(crate) const KAFKA_VERSION: &str = "4.4.0";
/// The newest release of Kafka's own tools; Kafka 4.4 did not publish them.
pub(crate) const KAFKA_TOOLS_VERSION: &str = "4.3.1";
/// What Kafka writes its log with; its own archive holds both.
pub(crate) const LOGGING: [Artifact; 2] = [
    Artifact("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.0"),
    Artifact("org.apache.logging.log4j", "log4j-1.2-api", "2.25.0"),
];
/// Where the jars lie in a folder that was filled.
pub(crate) const JARS: &str = "libs";
/// What tells Maven what to fetch, beside them.
pub(crate) const PROJECT: &str = "pom.xml";
/// Maven, and the Java with which everything here is run, compiled and linked.
const PROGRAMS: [(&str, &str); 3] =
    [("mvn", "maven"), ("javac", "openjdk-17-jdk-headless"), ("jlink", "openjdk-17-jdk-headless")];

/// An artifact by group, name and version.
#[derive(Clone, Copy)]
pub(crate) struct Artifact(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

/// A server of Apache Kafka, and what it writes its log with.
pub(crate) fn kafka() -> Vec<Artifact> {
    [&[Artifact("org.apache.kafka", "kafka_2.13", KAFKA_VERSION)], LOGGING.as_slice()].concat()
}

/// Fetches jars once; gives the folder in which [`JARS`] lies.
pub(crate) fn cached(cache: &Cache, kind: &str, artifacts: &[Artifact]) -> Result<PathBuf> {
    cache.folder(kind, &key([("pom", project(artifacts).as_bytes())]), |folder| fetch(folder, artifacts))
}

/// Fetches jars into [`JARS`] of a folder.
pub(crate) fn fetch(folder: &Path, artifacts: &[Artifact]) -> Result<()> {
    ensure_programs()?;
    let named = artifacts.first().map(|Artifact(_, name, version)| format!("{name} {version}"));
    let named = named.unwrap_or_default();
    println!("fetching {named} from Maven Central");
    std::fs::write(folder.join(PROJECT), project(artifacts)).context("cannot write the pom")?;
    let output = format!("-DoutputDirectory={JARS}");
    let arguments = ["--quiet", "--batch-mode", "dependency:copy-dependencies", &output];
    tools::output(tools::command("mvn", arguments).current_dir(folder))
        .with_context(|| format!("cannot fetch {named} from Maven Central"))
        .map(drop)
}

/// Installs what is missing of Maven and Java.
pub(crate) fn ensure_programs() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| tools::which(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    install_packages(&packages)
}

/// A project that depends on these artifacts and has nothing of its own; it is what a cache's key is made from.
pub(crate) fn project(artifacts: &[Artifact]) -> String {
    let dependency = |Artifact(group, name, version): &Artifact| {
        format!(
            "    <dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version></dependency>\n"
        )
    };
    let dependencies: String = artifacts.iter().map(dependency).collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  \
           <modelVersion>4.0.0</modelVersion>\n  \
           <groupId>dev.pinnace</groupId><artifactId>jars</artifactId><version>0</version>\n  \
           <dependencies>\n{dependencies}  </dependencies>\n\
         </project>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a project names each artifact with its version, so that another version is another project.
    #[test]
    fn a_project_names_all_it_needs() {
        let project = project(&kafka());
        for Artifact(group, name, version) in kafka() {
            let dependency = format!(
                "<groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>"
            );
            assert_eq!(project.matches(&dependency).count(), 1, "{dependency} in {project}");
        }
        assert!(project.ends_with("  </dependencies>\n</project>\n"), "{project}");
    }
}
