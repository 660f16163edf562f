//! pyzmq in a virtual environment that is kept in the cache, and its own tests from its source distribution.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::mesh::{CHANNELS_PER_PATTERN, Mesh, PATTERNS};
use crate::cache::{Cache, key};
use crate::conformance::kafka_python::of_report;
use crate::conformance::outcome::Outcome;
use crate::python::{Environment, PYZMQ_VERSION};
use crate::tools;

/// Versions of what runs the tests.
const PACKAGES: [&str; 4] =
    ["pytest==8.4.2", "pytest-timeout==2.4.0", "pytest-asyncio==1.2.0", "tornado==6.5.2"];
/// Points the tests at the sidecars.
const CONFTEST: &str = include_str!("conftest.py");
/// Seconds that one test may take.
const TEST_SECONDS: u32 = 60;
/// What a test file holds that makes pairs of sockets.
const PAIR_WORDS: [&str; 4] = ["create_bound_pair", "bound_pair", "push_pull", "dealer_router"];

/// The virtual environment and the tests, made once.
pub(super) fn install(cache: &Cache) -> Result<Environment> {
    let packages = PACKAGES.join(" ");
    let key = key([("pyzmq", PYZMQ_VERSION.as_bytes()), ("packages", packages.as_bytes())]);
    Environment::open(cache, ("pyzmq", &key), |environment| {
        let release = format!("pyzmq=={PYZMQ_VERSION}");
        environment
            .pip(&[&["install", "--only-binary", ":all:", release.as_str()], PACKAGES.as_slice()].concat())?;
        environment.unpack_source(&release, &format!("pyzmq-{PYZMQ_VERSION}"), &[])
    })
}

/// Runs pyzmq's own tests that make pairs of sockets, as they are, with the pairs connected to sidecars.
pub(super) fn own_tests(
    environment: &Environment,
    mesh: &Mesh,
    folder: &Path,
    outcome: &mut Outcome,
) -> Result<()> {
    let source = environment.place().join(format!("pyzmq-{PYZMQ_VERSION}/tests"));
    let tests = copy(&source, folder)?;
    let report = folder.join("pyzmq-report.xml");
    let log = fs::File::create(folder.join("pyzmq-tests.log")).context("cannot make a log")?;
    let mut pytest = tools::command("timeout", ["--kill-after=5", "1200"]);
    pytest
        .arg(environment.python())
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-o", "addopts="])
        .arg(format!("--timeout={TEST_SECONDS}"))
        .arg(format!("--junitxml={}", report.display()))
        .arg("through")
        .current_dir(&tests)
        .envs(mesh.environment())
        .env("PYTHONPATH", &tests)
        .env("PAIRS", pairs())
        .env("CHANNELS", CHANNELS_PER_PATTERN.to_string())
        .stdout(log.try_clone()?)
        .stderr(log);
    // Its exit code says that a test failed; the report says which.
    let status = pytest.status().context("cannot start pytest")?;
    let text = fs::read_to_string(&report).with_context(|| format!("pytest left no report, {status}"))?;
    for (name, verdict) in of_report(&text)? {
        outcome.record(&format!("pyzmq's own: {}", name.trim_start_matches("through.")), verdict);
    }
    Ok(())
}

/// Copies the tests: those that make pairs into a folder whose conftest.py points them at the sidecars.
fn copy(source: &Path, folder: &Path) -> Result<PathBuf> {
    let tests = folder.join("pyzmq-tests");
    let through = tests.join("through");
    fs::create_dir_all(&through).context("cannot make the folder of pyzmq's tests")?;
    fs::write(through.join("conftest.py"), CONFTEST).context("cannot write conftest.py")?;
    let mut copied = 0;
    for entry in fs::read_dir(source).with_context(|| format!("cannot read {}", source.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !name.ends_with(".py") {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_test = name.starts_with("test_");
        if is_test && !PAIR_WORDS.iter().any(|word| text.contains(word)) {
            continue;
        }
        let target = if is_test { through.join(&name) } else { tests.join(&name) };
        fs::write(&target, text).with_context(|| format!("cannot write {}", target.display()))?;
        copied += usize::from(is_test);
    }
    ensure!(copied > 0, "no test of pyzmq makes a pair of sockets");
    Ok(tests)
}

/// `pub-sub=CHANNELS,…`: which Channels carry which pair.
fn pairs() -> String {
    let all = PATTERNS.iter().flat_map(|(prefix, _, pairs)| pairs.iter().map(move |pair| (pair, prefix)));
    all.map(|(pair, prefix)| format!("{pair}={prefix}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: tests that make pairs are run through the sidecars, helpers stay importable, the rest is left out.
    #[test]
    fn tests_are_sorted() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (name, text) in [
            ("test_socket.py", "self.create_bound_pair()"),
            ("test_version.py", "zmq_version"),
            ("conftest.py", "def create_bound_pair(): pass"),
            ("README", "create_bound_pair"),
        ] {
            fs::write(source.path().join(name), text).unwrap();
        }
        let tests = copy(source.path(), folder.path()).unwrap();
        assert!(tests.join("through/test_socket.py").is_file() && tests.join("conftest.py").is_file());
        assert!(!tests.join("through/test_version.py").exists() && !tests.join("README").exists());
        assert_eq!(fs::read_to_string(tests.join("through/conftest.py")).unwrap(), CONFTEST);
        for pair in ["pub-sub=pairs-ps", "push-pull=pairs-pl", "req-rep=pairs-rr", "dealer-router=pairs-rr"] {
            assert!(pairs().contains(pair), "{pair}");
        }
    }
}
