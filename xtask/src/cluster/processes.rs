//! Processes by record: a file that names a process so that nobody is taken for it later. A pid
//! alone is not enough, it is given out again; with its start time and the boot it is.
//! Starts and stops nothing but single processes; knows nothing about their order or purpose.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Which field of `/proc/PID/stat`, counted after the name, holds the start time.
const STARTED_FIELD: usize = 19;
/// The identity of this boot of the machine.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One process, told apart from all others that ever had its pid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) pid: u32,
    /// Clock ticks between boot and the start of the process.
    started: u64,
    boot: String,
}

impl Recorded {
    /// The process that has this pid now; none when there is none, or only its remains.
    pub(crate) fn now(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, _, started) = parse_stat(&stat)?;
        let boot = fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        (state != 'Z' && state != 'X').then_some(Self { pid, started, boot })
    }

    /// Whether that very process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        Self::now(self.pid).as_ref() == Some(self)
    }

    /// Ends the process at once, if it is still that very process.
    pub(crate) fn kill(&self) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| self.is_alive()) {
            // It may end by itself between the look and the signal, which is as good.
            kill_process(pid, Signal::KILL).ok();
        }
    }

    /// Writes the record; a reader finds all of it or nothing.
    pub(crate) fn save(&self, file: &Path) -> Result<()> {
        let partial = file.with_extension("partial");
        fs::write(&partial, format!("{} {} {}\n", self.pid, self.started, self.boot))
            .and_then(|()| fs::rename(&partial, file))
            .with_context(|| format!("cannot write the process record {}", file.display()))
    }

    /// Reads a record; a missing or damaged one is none.
    pub(crate) fn load(file: &Path) -> Option<Self> {
        parse(&fs::read_to_string(file).ok()?)
    }
}

/// The child that a process started, if it has exactly one or more: the first by pid.
pub(crate) fn child_of(parent: u32) -> Option<u32> {
    let mut children: Vec<u32> = fs::read_dir("/proc")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .ok()
                .and_then(|stat| parse_stat(&stat))
                .is_some_and(|(_, its_parent, _)| its_parent == parent)
        })
        .collect();
    children.sort_unstable();
    children.first().copied()
}

fn parse(text: &str) -> Option<Recorded> {
    let mut words = text.split_whitespace();
    let recorded = Recorded {
        pid: words.next()?.parse().ok()?,
        started: words.next()?.parse().ok()?,
        boot: words.next()?.to_owned(),
    };
    words.next().is_none().then_some(recorded)
}

/// State, parent and start time; the name before them may hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<(char, u32, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    Some((state, fields.get(1)?.parse().ok()?, fields.get(STARTED_FIELD)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a process name with brackets and spaces does not shift the fields.
    #[test]
    fn stat_is_read_behind_the_name() {
        let stat = "12 (a) S (b) S 7 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 2";
        assert_eq!(parse_stat(stat), Some(('S', 7, 4711)));
        assert_eq!(parse_stat("12 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    /// Goal: a record comes back as it was written; damage is no process, not another one.
    #[test]
    fn a_record_comes_back_or_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("self");
        let own = Recorded::now(std::process::id()).unwrap();
        own.save(&file).unwrap();
        assert_eq!(Recorded::load(&file), Some(own.clone()));
        assert!(own.is_alive());

        for damage in ["", "12", "12 34", "x 34 boot", "12 34 boot more"] {
            fs::write(&file, damage).unwrap();
            assert_eq!(Recorded::load(&file), None, "{damage}");
        }
        assert_eq!(Recorded::load(&folder.path().join("missing")), None);
    }

    /// Goal: another process that got the same pid is never taken for the recorded one, and so
    /// never killed.
    #[test]
    fn a_pid_given_out_again_is_another_process() {
        let own = Recorded::now(std::process::id()).unwrap();
        let before = Recorded { started: own.started.saturating_sub(1), ..own.clone() };
        let other_boot = Recorded { boot: "another".to_owned(), ..own };
        assert!(!before.is_alive());
        assert!(!other_boot.is_alive());
        before.kill();
        other_boot.kill();
    }

    /// Goal: killing ends the recorded process, and what is left of it does not count as alive.
    #[test]
    fn a_killed_process_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let recorded = Recorded::now(child.id()).unwrap();
        recorded.kill();
        child.wait().unwrap();
        assert!(!recorded.is_alive());
    }
}
