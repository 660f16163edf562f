//! What a scenario does to the cluster, by kubectl as a person would. Each failure carries what
//! kubectl said; each wait has a deadline.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// How long anything may take that is not itself promised to be faster; machines are busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(200);

/// Runs a program to its end and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = attempt(program, arguments, "")?;
    ensure!(output.status.success(), "{program} {} failed: {}", arguments.join(" "), said(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program with this input to its end, however it ends.
pub(crate) fn attempt(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {program}; is this run by cargo xtask e2e?"))?;
    let mut stdin = child.stdin.take().context("the child has no standard input")?;
    // A program that does not read its input closes it; what it says then is what counts.
    let written = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().with_context(|| format!("cannot wait for {program}"))?;
    if output.status.success() {
        written.with_context(|| format!("{program} did not read its input"))?;
    }
    Ok(output)
}

/// Both outputs of a program.
pub(crate) fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&text).trim().to_owned()
}

/// `kubectl` with these words.
pub(crate) fn kubectl(arguments: &[&str]) -> Result<String> {
    run("kubectl", arguments)
}

/// Applies objects; what is there already is changed.
pub(crate) fn apply(objects: &str) -> Result<()> {
    let output = attempt("kubectl", &["apply", "-f", "-"], objects)?;
    ensure!(output.status.success(), "kubectl apply failed: {}", said(&output));
    Ok(())
}

/// Applies objects that must be refused, and gives the refusal.
pub(crate) fn refused(objects: &str) -> Result<String> {
    let output = attempt("kubectl", &["apply", "-f", "-"], objects)?;
    ensure!(!output.status.success(), "this should have been refused:\n{objects}");
    Ok(said(&output))
}

/// One object, for example `topic/orders`; none when it is not there.
pub(crate) fn object(namespace: &str, name: &str) -> Result<Option<Value>> {
    let text = kubectl(&["--namespace", namespace, "get", name, "--ignore-not-found", "--output=json"])?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&text).context("kubectl printed no JSON")?))
}

/// Whether an object's condition `Ready` is true.
pub(crate) fn is_ready(object: &Value) -> bool {
    condition(object, "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// A condition of an object.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Waits until an object is Ready, and shows its status when it does not get there.
pub(crate) fn wait_ready(namespace: &str, name: &str, limit: Duration) -> Result<Value> {
    let mut last = Value::Null;
    let found = until(&format!("{name} in {namespace} to be Ready"), limit, || {
        last = object(namespace, name)?.unwrap_or_default();
        Ok(is_ready(&last).then(|| last.clone()))
    });
    found.with_context(|| format!("its status is {}", last["status"]))
}

/// Runs a shell script in a container.
pub(crate) fn exec(namespace: &str, pod: &str, container: &str, script: &str) -> Result<String> {
    kubectl(&["--namespace", namespace, "exec", pod, "-c", container, "--", "sh", "-c", script])
}

/// Looks until `look` finds something, fails, or the time is over.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > limit {
            bail!("gave up waiting for {what} after {} s", limit.as_secs());
        }
        pause(PAUSE);
    }
}

/// The clock, for deadlines and for promises that name a time.
#[expect(clippy::disallowed_methods, reason = "scenarios run on the real clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Rests between two looks.
#[expect(clippy::disallowed_methods, reason = "scenarios have no runtime whose threads could starve")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
