//! A Python with packages of PyPI, in a virtual environment beside the build's own files, made once.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the examples in Python import.
const PACKAGES: [&str; 2] = ["pyzmq==27.3.0", "msgspec==0.22.0"];

/// A search path that begins with this Python's.
pub(crate) fn search_path() -> String {
    format!("{}:/usr/local/bin:/usr/bin:/bin", folder().join("bin").display())
}

fn folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its executable");
    // target/debug/deps/NAME → target
    let target = test.ancestors().nth(3).expect("a test lives in target/PROFILE/deps");
    let folder = target.join("examples-venv");
    let lock = File::create(target.join("examples-venv.lock")).expect("the build's folder can be written");
    // Held until this function returns; other tests and processes wait here.
    lock.lock().expect("a lock can be had");
    if !is_whole(&folder) {
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
            "python3 with its module venv",
        );
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(Command::new(folder.join("bin/python3")).args(pip).args(PACKAGES), "PyPI");
        assert!(is_whole(&folder), "the packages were installed and cannot be imported");
    }
    folder
}

fn is_whole(folder: &Path) -> bool {
    let imported = Command::new(folder.join("bin/python3")).args(["-c", "import zmq, msgspec"]).output();
    imported.is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command, needs: &str) {
    let output = command.output();
    assert!(output.is_ok(), "this test needs {needs}");
    let output = output.expect("checked above");
    assert!(output.status.success(), "this test needs {needs}: {}", String::from_utf8_lossy(&output.stderr));
}
