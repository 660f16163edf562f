//! Running other programs: each failure names the command line, its exit and the end of what it
//! printed. Knows nothing about what the programs are for.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use testkit::cargo::as_from_a_shell;

/// How many lines of a failed program's output an error repeats.
const TAIL_LINES: usize = 15;

/// A program with arguments, ready to run. It is not told that cargo has started this one.
pub(crate) fn command<I>(program: impl AsRef<OsStr>, arguments: I) -> Command
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    as_from_a_shell(command.args(arguments).stdin(Stdio::null()));
    command
}

/// Runs to the end and gives standard output; any other exit than 0 is an error with the end of
/// what the program printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{} failed, {}:\n{}", line(command), output.status, said(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end with the caller's output; any other exit than 0 is an error.
pub(crate) fn visible(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed, {status}", line(command));
    }
    Ok(())
}

/// Builds a program of the checkout and says where it is; `arguments` go to `cargo build`.
pub(crate) fn build(root: &Path, program: &str, arguments: &[&str]) -> Result<PathBuf> {
    println!("building {program}");
    let mut cargo = command("cargo", ["build", "--message-format=json-render-diagnostics"]);
    let printed = output(cargo.args(arguments).current_dir(root).stderr(Stdio::inherit()))?;
    let mut executables = printed.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        (path.file_name()? == program).then_some(path)
    });
    executables.next_back().with_context(|| format!("cargo built no {program}"))
}

/// True when the program runs and exits with 0.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Where a program is, among the usual folders of a Debian machine and of its users.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// The command line as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn said(output: &Output) -> String {
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    tail(&text, TAIL_LINES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a failure says which command, how it ended and what it printed last.
    #[test]
    fn a_failure_names_command_exit_and_output() {
        let error = output(&mut command("sh", ["-c", "echo the reason >&2; exit 7"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c"), "{text}");
        assert!(text.contains("exit status: 7"), "{text}");
        assert!(text.contains("the reason"), "{text}");
    }

    /// Goal: the tail is the end of a text, and all of a short one.
    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
