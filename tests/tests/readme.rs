//! The commands that README.md shows are run as they stand there. Blocks for a cluster are run by
//! the promise `readme_commands_work_on_a_cluster`.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::cargo::as_from_a_shell;
use tests::readme::{blocks, checkout, readme_blocks};
use tests::wait::until;

/// The tests that a block can name, here or on the cluster.
const TESTS: &[&str] = &["up", "ci", "cluster"];

/// A release build on a busy machine takes long.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Goal: no command in README.md escapes; each block names the test that runs it.
#[test]
fn every_command_block_names_its_test() {
    let text = std::fs::read_to_string(checkout().join("README.md")).unwrap();
    let blocks = blocks(&text);
    assert!(blocks.len() >= 6, "the blocks are found: {}", blocks.len());
    for block in blocks {
        assert!(TESTS.contains(&block.test.as_str()), "no test runs this block:\n{}", block.commands);
    }
}

/// Goal: local mode starts with the command of README.md, shows every part and every app at work,
/// and Ctrl-C ends it with 0.
#[test]
fn local_mode_starts_and_stops_as_shown() {
    let [block] = readme_blocks("up").try_into().expect("one block starts local mode");
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("output");
    let mut shell = shell(&block.commands, &output);
    let said = || std::fs::read_to_string(&output).unwrap_or_default();
    let wanted = ["broker", "checkout", "billing", "pricing", "shop", "orders", "prices"];
    let seen = until(BUILD_LIMIT, || {
        let ended = shell.try_wait().unwrap().is_some();
        let text = said();
        (ended || wanted.iter().all(|word| text.contains(word))).then_some(!ended)
    });
    assert_eq!(seen, Some(true), "local mode does not show {wanted:?}:\n{}", said());
    interrupt(&shell);
    let ended = until(STOP_LIMIT, || shell.try_wait().unwrap());
    let Some(status) = ended else {
        shell.kill().unwrap();
        panic!("local mode does not stop on Ctrl-C:\n{}", said());
    };
    assert!(status.success(), "{status}:\n{}", said());
}

/// Goal: the command for all tests is one that xtask knows; the run that contains this test is it.
#[test]
fn the_command_for_all_tests_exists() {
    let [block] = readme_blocks("ci").try_into().expect("one block runs all tests");
    assert_eq!(block.commands.trim(), "cargo xtask ci");
    let help = as_from_a_shell(&mut Command::new("bash"))
        .args(["-c", "cargo xtask ci --help"])
        .current_dir(checkout())
        .output();
    assert!(help.unwrap().status.success());
}

/// The block in a process group of its own, as a terminal would start it.
fn shell(commands: &str, output: &std::path::Path) -> Child {
    use std::os::unix::process::CommandExt as _;
    let file = File::create(output).expect("the folder is ours");
    as_from_a_shell(&mut Command::new("bash"))
        .args(["-c", &format!("exec {}", commands.trim())])
        .current_dir(checkout())
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("an open file can be shared"))
        .stderr(file)
        .process_group(0)
        .spawn()
        .expect("bash is there")
}

/// Ctrl-C reaches the whole group of the foreground.
fn interrupt(shell: &Child) {
    let group = format!("-{}", shell.id());
    let sent = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the group is still there");
}
