//! The data folder: one broker at a time, and clear words when it cannot be used.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Broker, command, kcat, wait_for};

/// Starts a broker that cannot start; its words.
fn refusal(folder: &Path) -> String {
    let output = command(folder).args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Goal: a second broker on the same folder is refused, by name, and harms nothing.
#[test]
fn one_broker_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let words = refusal(folder.path());
    assert!(words.contains("in use") && words.contains("data"), "{words}");
    broker.stop();
}

/// Goal: unknown settings, no listener and a plain listener for everybody are refused with what to change.
#[test]
fn bad_settings_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("settings"), "no.such.setting=1\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = command(folder.path()).args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let settings = folder.path().join("settings");
    let words = run(&["--listen", "127.0.0.1:0", "--config", settings.to_str().unwrap()]);
    assert!(words.contains("no.such.setting"), "{words}");
    assert!(run(&[]).contains("--listen"));
    assert!(run(&["--listen", "0.0.0.0:0"]).contains("--allow-plain"));
    assert!(!folder.path().join("data").exists(), "nothing was written");
}

/// A file system of its own in memory; taken down when dropped.
struct Mount(PathBuf);

impl Mount {
    fn run(program: &str, arguments: &[&str]) {
        let output = Command::new(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    }

    fn new(at: &Path, options: &str) -> Self {
        fs::create_dir_all(at).unwrap();
        Self::run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).output());
    }
}

/// Mounting needs root.
fn may_mount() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("SKIPPED: mounting a small file system needs root");
    }
    root
}

/// Goal: a read-only folder is named in the error; a full one too, and once there is room the broker starts.
#[test]
fn a_folder_that_cannot_be_written_is_named() {
    if !may_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mount = Mount::new(&data, "size=1m,ro");
    let words = refusal(folder.path());
    assert!(words.contains(data.to_str().unwrap()) && words.contains("writable"), "{words}");
    drop(mount);

    let _mount = Mount::new(&data, "size=64k");
    let filler = data.join("filler");
    drop(fs::write(&filler, vec![1; 1024 * 1024]));
    let words = refusal(folder.path());
    assert!(words.contains(data.to_str().unwrap()), "{words}");
    fs::remove_file(&filler).unwrap();
    Mount::run("mount", &["-o", "remount,size=8m", data.to_str().unwrap()]);
    Broker::start(folder.path()).stop();
}

/// Goal: on a nearly full disk producing is refused with an error that clients try again at, reading goes on,
/// and when there is room producing goes on by itself.
#[test]
fn a_nearly_full_disk_heals() {
    if !may_mount() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let _mount = Mount::new(&data, "size=64m");
    let broker = Broker::start(folder.path());
    let produce = |timeout_ms: &str| {
        let timeout = format!("message.timeout.ms={timeout_ms}");
        kcat(broker.kafka, &["-P", "-t", "full", "-p", "0", "-X", &timeout], "line\n")
    };
    assert!(produce("30000").status.success());
    let filler = data.join("filler");
    // All but two megabytes; the mark is a twentieth of the 64.
    fs::write(&filler, vec![1; 62 * 1024 * 1024]).unwrap();
    wait_for("a refusal", || {
        let refused = produce("1500");
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        (!refused.status.success() && words.contains("timed out")).then_some(())
    });
    let read = kcat(broker.kafka, &["-C", "-t", "full", "-e", "-q", "-o", "beginning"], "");
    assert!(String::from_utf8(read.stdout).unwrap().starts_with("line\n"), "reading goes on");
    fs::remove_file(&filler).unwrap();
    wait_for("room", || produce("3000").status.success().then_some(()));
    broker.stop();
}
