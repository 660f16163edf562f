//! Apache Kafka, laid out as `apache/kafka` does as far as anything relies on it: its jars in `/opt/kafka/libs` and
//! `java` in the image's PATH. No shell, no scripts, no settings. A server is started from it before it is an image.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::oci::Start;
use super::{USER, rootfs};
use crate::cache::{self, key as hash};
use crate::{maven, process, tools};

/// What changes when this file makes the image differently.
const RECIPE: &str = "1";
/// Where the jars' folder lies, and the runtime, in the image.
const KAFKA: &str = "opt/kafka";
const RUNTIME: &str = "opt/java/openjdk";
/// What a server needs, and what people attach to one: agents, JMX, flight recordings. Log4j needs java.desktop for
/// its beans.
const MODULES: &str = "java.base,java.compiler,java.desktop,java.instrument,java.logging,java.management,\
    java.management.rmi,java.naming,java.net.http,java.rmi,java.scripting,java.security.jgss,java.security.sasl,\
    java.sql,java.xml,jdk.attach,jdk.charsets,jdk.crypto.ec,jdk.httpserver,jdk.jcmd,jdk.jfr,jdk.management,\
    jdk.management.agent,jdk.naming.dns,jdk.net,jdk.nio.mapmode,jdk.security.auth,jdk.security.jgss,jdk.unsupported,\
    jdk.zipfs";
/// Libraries for screens, printers and speakers: they alone need more than the C library.
const NOT_FOR_SERVERS: &[&str] = &[
    "libawt_xawt.so",
    "libfontmanager.so",
    "libfreetype.so",
    "libjavajpeg.so",
    "libjawt.so",
    "libjsound.so",
    "liblcms.so",
    "libmlib_image.so",
    "libsplashscreen.so",
];
/// Parts of the C library that code in the jars asks for by their older names.
const C_LIBRARY: &[&str] = &["libdl.so.2", "libpthread.so.0", "librt.so.1"];
/// Starts a server from the files as a pod does: as a user without rights, with nothing writable but /tmp. Gets the
/// folder of the files and the user; SETTINGS are the server's.
const PROOF: &str = r#"
set -eu
files=$1 user=$2
mount --bind "$files" "$files"
mount -o remount,bind,ro "$files"
mount --rbind /dev "$files/dev"
mount -t proc proc "$files/proc"
mount -t tmpfs -o mode=1777 tmpfs "$files/tmp"
printf '%s' "$SETTINGS" >"$files/tmp/settings"
java() {
    exec chroot --userspec="$user:$user" "$files" /opt/java/openjdk/bin/java -Xmx256m -Dlog4j2.level=INFO "$@"
}
kafka() { java -cp '/opt/kafka/libs/*' "$@"; }
(java -version) 2>&1
(kafka kafka.tools.StorageTool format --standalone --cluster-id MkU3OEVBNTcwNTJENDM2Qk --config /tmp/settings)
kafka kafka.Kafka /tmp/settings >"$files/tmp/log" 2>&1 &
server=$!
until grep -q 'Kafka Server started' "$files/tmp/log"; do
    kill -0 $server 2>/dev/null || { cat "$files/tmp/log"; exit 1; }
    sleep 0.2
done
kill $server
wait $server || test $? = 143 || { cat "$files/tmp/log"; exit 1; }
"#;
/// Seconds that the proof may take.
const PROOF_SECONDS: &str = "180";

/// A hash of what the image is made from; the runtime is the machine's own, whichever it is.
pub(crate) fn key() -> Result<String> {
    let project = maven::project(&maven::kafka());
    Ok(hash([
        ("recipe", RECIPE.as_bytes()),
        ("modules", MODULES.as_bytes()),
        ("project", project.as_bytes()),
    ]))
}

/// Jars from Maven Central, and a Java runtime linked from the machine's own.
pub(crate) fn make(files: &Path) -> Result<Start> {
    let kafka = files.join(KAFKA);
    fs::create_dir_all(&kafka).context("cannot make the folder of the jars")?;
    maven::fetch(&kafka, &maven::kafka())?;
    fs::remove_file(kafka.join(maven::PROJECT)).context("cannot delete the pom")?;
    link_runtime(&files.join(RUNTIME))?;
    rootfs::add_libraries(files, &needed_libraries(&files.join(RUNTIME))?)?;
    rootfs::base(files).context("cannot write the image's users")?;
    prove(files)?;
    Ok(Start::named_by_the_pod(&format!("/{RUNTIME}/bin")))
}

fn link_runtime(runtime: &Path) -> Result<()> {
    println!("linking a Java runtime");
    let parent = runtime.parent().context("the runtime has a folder above it")?;
    fs::create_dir_all(parent).context("cannot make the folder of the runtime")?;
    let mut link = tools::command("jlink", ["--add-modules", MODULES, "--strip-java-debug-attributes"]);
    link.args(["--no-header-files", "--no-man-pages", "--output"]).arg(runtime);
    tools::output(&mut link).context("cannot link a Java runtime")?;
    for library in NOT_FOR_SERVERS {
        let path = runtime.join("lib").join(library);
        if path.exists() {
            fs::remove_file(&path).with_context(|| format!("cannot delete {}", path.display()))?;
        }
    }
    cache::remove_folder(&runtime.join("legal"))
}

/// What the runtime's programs and libraries are linked with, but for its own.
fn needed_libraries(runtime: &Path) -> Result<BTreeSet<PathBuf>> {
    let own = ["lib", "lib/server", "bin"].map(|folder| runtime.join(folder));
    let search = own.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(":");
    let mut needed = BTreeSet::new();
    for folder in &own {
        for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "so") || folder.ends_with("bin") {
                needed.extend(rootfs::libraries_beside(&path, &search)?);
            }
        }
    }
    needed.retain(|library| !library.starts_with(runtime));
    let c = needed.iter().find(|library| library.ends_with("libc.so.6"));
    let c = c
        .and_then(|library| library.parent())
        .context("Java is not linked with a C library that has names")?;
    let more: Vec<PathBuf> = C_LIBRARY.iter().map(|name| c.join(name)).filter(|path| path.exists()).collect();
    needed.extend(more);
    Ok(needed)
}

/// Formats a folder and starts a server, so that what is missing is found here and not in a pod.
fn prove(files: &Path) -> Result<()> {
    println!("starting a server from it once");
    // Where every container finds them, too.
    for folder in ["dev", "proc"] {
        fs::create_dir_all(files.join(folder)).with_context(|| format!("cannot make /{folder}"))?;
    }
    let mut command =
        tools::command("timeout", ["--kill-after=5", PROOF_SECONDS, "unshare", "--mount", "--pid"]);
    command.args(["--fork", "--kill-child", "sh", "-c", PROOF, "proof"]).arg(files).arg(USER.to_string());
    let settings = settings(&process::free_address()?.to_string(), &process::free_address()?.to_string());
    tools::output(command.env("SETTINGS", settings))
        .context("no server starts from the files of the image (this needs root)")
        .map(drop)
}

fn settings(client: &str, controller: &str) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=0\n\
         controller.quorum.bootstrap.servers={controller}\n\
         listeners=PLAINTEXT://{client},CONTROLLER://{controller}\n\
         controller.listener.names=CONTROLLER\n\
         log.dirs=/tmp/data\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what is asked of the linker is a list of different modules in order, so that two machines link the same.
    #[test]
    fn modules_are_a_list() {
        let modules: Vec<&str> = MODULES.split(',').collect();
        assert!(modules.is_sorted() && modules.iter().all(|module| !module.contains(' ')), "{modules:?}");
        let different: BTreeSet<&str> = modules.iter().copied().collect();
        assert_eq!(different.len(), modules.len());
        assert!(different.contains("jdk.crypto.ec"), "keys are on a curve");
    }

    /// Goal: the layout is that of `apache/kafka`.
    #[test]
    fn the_layout_is_apache_kafkas() {
        assert_eq!(format!("/{KAFKA}/{}", maven::JARS), "/opt/kafka/libs");
        let start = Start::named_by_the_pod(&format!("/{RUNTIME}/bin"));
        assert!(start.entrypoint.is_empty());
        assert!(
            start.environment[0].starts_with("PATH=/opt/java/openjdk/bin:/usr/local/bin:"),
            "{:?}",
            start.environment
        );
        assert!(
            PROOF.contains(&format!("/{RUNTIME}/bin/java")) && PROOF.contains(&format!("/{KAFKA}/libs/"))
        );
    }
}
