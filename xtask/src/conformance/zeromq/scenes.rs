//! The scenes of `cases.c` and `cases.py`: plays one as a process, and restarts a sidecar when it asks for that.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::mesh::Mesh;
use crate::conformance::outcome::Outcome;
use crate::tools;

pub(super) const C_SOURCE: &str = include_str!("cases.c");
const PYTHON_SOURCE: &str = include_str!("cases.py");

/// Seconds that one scene may take.
const SCENE_SECONDS: &str = "240";
/// Lines of a failed scene that are repeated.
const TAIL_LINES: usize = 3;

const LIBZMQ_SCENES: [&str; 13] = [
    "multipart",
    "multipart_over_tcp",
    "prefixes",
    "sizes",
    "large",
    "heartbeats",
    "extended",
    "many_sockets",
    "paused",
    "many_publishers",
    "restarts",
    "binds",
    "refusals",
];
const PYZMQ_SCENES: [&str; 21] = [
    "multipart",
    "multipart_over_tcp",
    "prefixes",
    "many_prefixes",
    "sizes",
    "large",
    "heartbeats",
    "extended",
    "many_sockets",
    "paused",
    "restarts",
    "binds",
    "requests",
    "many_requests",
    "requests_over_restarts",
    "refusals",
    "other_mechanisms",
    "zmtp_3_0",
    "newer_versions",
    "hostile",
    "held_open",
];

/// One scene, ready to be played.
pub(super) struct Scene {
    /// Who plays it and what: `libzmq: multipart`.
    name: String,
    command: Command,
}

/// The scenes of the C programs.
pub(super) fn libzmq(program: &Path) -> Vec<Scene> {
    let scene = |name: &str| {
        let mut command = limited();
        command.arg(program).arg(name);
        Scene { name: format!("libzmq: {}", name.replace('_', " ")), command }
    };
    LIBZMQ_SCENES.map(scene).into()
}

/// The scenes of pyzmq and of raw bytes.
pub(super) fn pyzmq(python: &Path, folder: &Path) -> Result<Vec<Scene>> {
    let source = folder.join("cases.py");
    std::fs::write(&source, PYTHON_SOURCE).context("cannot write the Python programs")?;
    let scene = |name: &str| {
        let mut command = limited();
        command.arg(python).arg(&source).arg(name);
        Scene { name: format!("pyzmq: {}", name.replace('_', " ")), command }
    };
    Ok(PYZMQ_SCENES.map(scene).into())
}

fn limited() -> Command {
    tools::command("timeout", ["--kill-after=5", SCENE_SECONDS])
}

/// Plays scenes on a mesh.
pub(super) struct Player<'a> {
    pub(super) mesh: &'a Mesh,
    /// Takes what the programs print.
    pub(super) folder: &'a Path,
}

impl Player<'_> {
    /// Plays all of them, one after the other.
    pub(super) fn all(&self, scenes: Vec<Scene>, outcome: &mut Outcome) {
        for Scene { name, command } in scenes {
            let played = self.play(&name, command);
            outcome.count(&name, played);
        }
    }

    fn play(&self, name: &str, mut command: Command) -> Result<()> {
        let log = self.folder.join(format!("{}.log", name.replace([' ', ':'], "-")));
        let file = File::create(&log).with_context(|| format!("cannot make {}", log.display()))?;
        command.envs(self.mesh.environment()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", tools::line(&command)))?;
        let mut input = child.stdin.take().context("the input was asked for")?;
        let output = child.stdout.take().context("the output was asked for")?;
        let mut problem = None;
        for line in BufReader::new(output).lines() {
            let line = line.with_context(|| format!("cannot read what {name} prints"))?;
            if let Some(side) = line.strip_prefix("restart ") {
                let restarted = self.mesh.restart(side).and_then(|()| Ok(input.write_all(b"done\n")?));
                problem = restarted.err();
            }
            if problem.is_some() {
                // The scene ends when its input does.
                break;
            }
        }
        drop(input);
        let status = child.wait()?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        if !status.success() {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("{status}: {}", tools::tail(&said, TAIL_LINES).replace('\n', "; "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each scene is in its program, and each of the program's is played.
    #[test]
    fn scenes_are_those_of_the_programs() {
        let listed = C_SOURCE.split("} scenes[] = {").nth(1).unwrap().split("};").next().unwrap();
        assert_eq!(listed.matches("{\"").count(), LIBZMQ_SCENES.len());
        for name in LIBZMQ_SCENES {
            assert!(listed.contains(&format!("{{\"{name}\", {name}}}")), "{name}");
        }
        for name in PYZMQ_SCENES {
            assert!(PYTHON_SOURCE.contains(&format!("\ndef {name}():\n")), "{name}");
        }
    }
}
