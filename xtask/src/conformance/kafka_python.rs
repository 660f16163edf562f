//! The integration tests of kafka-python, from its source distribution on PyPI, in a virtual environment
//! that is kept in the cache.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::EmbeddedBroker;
use super::outcome::{Outcome, Verdict, Verdicts};
use crate::cache::{Cache, key};
use crate::python::Environment;
use crate::tools;

const VERSION: &str = "3.0.12";
/// The broker that the suite believes to see.
const KAFKA_VERSION: &str = "4.3";
/// Seconds that one of its tests may take.
const TEST_SECONDS: u32 = 60;
/// What its tests ask of a broker: topics that make themselves, a session of 3 s, an authorizer.
const SETTINGS: [&str; 5] = [
    "auto.create.topics.enable=true",
    "num.partitions=4",
    "group.min.session.timeout.ms=3000",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];
/// Versions of what runs the tests.
const PACKAGES: [&str; 10] = [
    "pytest==8.4.2",
    "pytest-mock==3.15.1",
    "pytest-timeout==2.4.0",
    "py==1.11.0",
    "setuptools==80.9.0",
    "wheel==0.45.1",
    "crc32c==2.7.1",
    "lz4==4.4.4",
    "zstandard==0.23.0",
    "python-snappy==0.7.3",
];
/// What the source distribution leaves out and its fixtures import; an outside broker needs no more of it.
const SERVICE: &str = "class ExternalService:\n    def __init__(self, host, port):\n        self.host, self.port = host, port\n\n    def open(self):\n        pass\n\n    def close(self):\n        pass\n\n    stop = close\n\n\nclass SpawnedService:\n    pass\n";

pub(super) fn run(program: &Path, cache: &Cache) -> Result<Outcome> {
    let environment = install(cache)?;
    let folder = std::env::temp_dir().join(format!("pinnace-kafka-python-{}", std::process::id()));
    let broker = EmbeddedBroker::with_settings(program, folder, &SETTINGS)?;
    let mut verdicts = attempt(&environment, &broker, "1", &[])?;
    if verdicts.values().any(|verdict| matches!(verdict, Verdict::Failed(_))) {
        for (name, again) in attempt(&environment, &broker, "2", &["--last-failed"])? {
            let first = verdicts.remove(&name).with_context(|| format!("{name} was only run again"))?;
            verdicts.insert(name, first.and_again(again));
        }
    }
    let mut outcome = Outcome::default();
    verdicts.into_iter().for_each(|(name, verdict)| outcome.record(&name, verdict));
    broker.end(outcome.number("failed") > 0)?;
    Ok(outcome)
}

/// Runs pytest once. `more` goes to it; its notes on what failed outlive the attempt in the broker's folder.
fn attempt(
    environment: &Environment,
    broker: &EmbeddedBroker,
    number: &str,
    more: &[&str],
) -> Result<Verdicts> {
    let empty = broker.folder().join("no-kafka-here");
    fs::create_dir_all(&empty).context("cannot make an empty folder")?;
    let report = broker.folder().join(format!("report-{number}.xml"));
    let notes = broker.folder().join("pytest");
    let mut pytest = tools::command(environment.python(), ["-m", "pytest", "-o", "addopts=", "-q"]);
    pytest
        .args(["-o", "log_level=WARNING", "--tb=line", "test/integration"])
        .args(more)
        .arg(format!("--override-ini=cache_dir={}", notes.display()))
        .arg(format!("--timeout={TEST_SECONDS}"))
        .arg(format!("--junitxml={}", report.display()))
        .current_dir(environment.place().join(source_folder()))
        .env("KAFKA_URI", format!("kafka://{}", broker.address()))
        .env("KAFKA_VERSION", KAFKA_VERSION)
        .env("KAFKA_ROOT", &empty);
    // Its exit code says that a test failed; the report says which.
    let status = pytest.status().context("cannot start pytest")?;
    let text = fs::read_to_string(&report).with_context(|| format!("pytest left no report, {status}"))?;
    of_report(&text)
}

fn source_folder() -> String {
    format!("kafka_python-{VERSION}")
}

/// The virtual environment and the tests, made once.
fn install(cache: &Cache) -> Result<Environment> {
    let packages = PACKAGES.join(" ");
    let key = key([
        ("version", VERSION.as_bytes()),
        ("packages", packages.as_bytes()),
        ("service", SERVICE.as_bytes()),
    ]);
    Environment::open(cache, ("kafka-python", &key), |environment| {
        environment.pip(&[&["install"], PACKAGES.as_slice()].concat())?;
        let release = format!("kafka-python=={VERSION}");
        environment.unpack_source(&release, &source_folder(), &["--no-build-isolation"])?;
        environment.pip(&["install", "--no-build-isolation", &format!("./{}", source_folder())])?;
        let tests = environment.place().join(source_folder()).join("test");
        fs::write(tests.join("__init__.py"), "").context("cannot complete the tests")?;
        fs::write(tests.join("service.py"), SERVICE).context("cannot complete the tests")
    })
}

/// Reads a JUnit report as pytest writes it: one `testcase` element a test, with a child that says how it
/// came out unless it passed.
pub(super) fn of_report(text: &str) -> Result<Verdicts> {
    let mut verdicts = Verdicts::default();
    for case in text.split("<testcase ").skip(1) {
        let case = format!(" {}", case.split("</testcase>").next().unwrap_or(case));
        let name = format!("{}::{}", attribute(&case, "classname"), attribute(&case, "name"));
        let message = |of: &str| attribute(&format!(" {of}"), "message").chars().take(200).collect();
        let failure = ["<failure ", "<error "].iter().find_map(|tag| case.split_once(*tag));
        let verdict = match failure {
            _ if case.contains("<skipped") => Verdict::Skipped(attribute(&case, "message").to_owned()),
            Some((_, failure)) => Verdict::Failed(message(failure)),
            None => Verdict::Passed,
        };
        verdicts.insert(name, verdict);
    }
    ensure!(!verdicts.is_empty(), "pytest ran no test");
    Ok(verdicts)
}

fn attribute<'a>(element: &'a str, name: &str) -> &'a str {
    // The space tells `name` from `classname`.
    let start = format!(" {name}=\"");
    element.split(start.as_str()).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: passed, skipped, failed and broken tests are told apart, and a report without tests is an error.
    #[test]
    fn reports_are_read() {
        let report = r#"<testsuite><testcase classname="a" name="one" time="1" /><testcase classname="a" name="two"><skipped message="no" /></testcase><testcase classname="a" name="three"><failure message="boom">text</failure></testcase><testcase classname="a" name="four"><error message="bang">text</error></testcase></testsuite>"#;
        let verdicts: Vec<_> = of_report(report).unwrap().into_iter().collect();
        let wanted = [
            ("a::four", Verdict::Failed("bang".into())),
            ("a::one", Verdict::Passed),
            ("a::three", Verdict::Failed("boom".into())),
            ("a::two", Verdict::Skipped("no".into())),
        ];
        assert_eq!(verdicts, wanted.map(|(name, verdict)| (name.to_owned(), verdict)));
        assert!(of_report("<testsuite></testsuite>").is_err());
    }
}
