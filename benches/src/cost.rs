//! What this app costs, and what stands beside it: the sidecar that `pinnace run` has started as it has started us, or
//! the processes that we were told. As `benches/channel/cost.c` does it.

use crate::args::Options;

/// Ticks of the kernel's CPU counters in a second: the same on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What has been used so far, in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    own: f64,
    beside: f64,
}

impl Cost {
    pub(crate) fn now(options: &Options) -> Self {
        let beside = beside(options).into_iter().filter_map(|process| cpu_seconds(&process)).sum();
        Self { own: cpu_seconds("self").unwrap_or(0.0), beside }
    }

    /// What was used since.
    pub(crate) fn print_since(self, options: &Options) {
        let now = Self::now(options);
        println!("app_cpu_seconds {:.3}", now.own - self.own);
        println!("beside_cpu_seconds {:.3}", now.beside - self.beside);
    }
}

/// What the processes beside this one have in memory.
pub(crate) fn print_memory(options: &Options) {
    let processes = beside(options);
    for (name, line) in [("resident", "VmRSS:"), ("anonymous", "RssAnon:"), ("peak", "VmHWM:")] {
        let kibibytes: f64 = processes.iter().filter_map(|process| status(process, line)).sum();
        println!("beside_{name}_megabytes {:.2}", kibibytes * 1024.0 / 1e6);
    }
}

fn beside(options: &Options) -> Vec<String> {
    let parent = std::os::unix::process::parent_id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_beside = |process: &String| {
        let number = process.parse::<u32>();
        number.is_ok_and(|number| options.beside.contains(&number) || is_sidecar(process, parent))
    };
    names.filter(is_beside).collect()
}

fn is_sidecar(process: &str, parent: u32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let separate = words.next().is_some_and(|program| program.ends_with(b"/pinnace-sidecar"));
    (separate || words.next() == Some(b"sidecar"))
        && fields(process).and_then(|fields| fields.get(1)?.parse().ok()) == Some(parent)
}

/// The fields behind the name, which may hold spaces.
fn fields(process: &str) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_ascii_whitespace().map(str::to_owned).collect())
}

fn cpu_seconds(process: &str) -> Option<f64> {
    let fields = fields(process)?;
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

fn status(process: &str, name: &str) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what the kernel tells of this very process is read.
    #[test]
    fn own_figures_are_read() {
        assert!(cpu_seconds("self").is_some());
        assert!(status("self", "VmRSS:").unwrap() > 100.0);
        assert!(!is_sidecar("self", std::os::unix::process::parent_id()));
    }
}
