//! The programs that are built from Go modules: what they are called, where their sources are,
//! how they are built. Builds only what the cache does not hold, one at a time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cache::{self, Cache};
use crate::tools;
use crate::wait::Stopwatch;

/// The kind under which the cache keeps parts.
const KIND: &str = "parts";
/// The oldest Go that builds all parts: major, minor.
const GO_OLDEST: (u32, u32) = (1, 26);
/// How many packages Go compiles at once; each takes a core and up to 1 GiB.
const PARALLEL: &str = "2";

/// One Go module that gives one or more programs.
struct Part {
    /// The folder under `xtask/cluster/parts`.
    name: &'static str,
    version: &'static str,
    /// What `go build` is asked for: the module's tools, or the module itself.
    target: &'static str,
    /// Program names, each with the name that Go gives the file.
    programs: &'static [(&'static str, &'static str)],
    /// Variables that carry the version, which a build from a module would not know.
    stamps: &'static [(&'static str, &'static str)],
    /// What to expect, for the one who waits.
    takes: &'static str,
}

const PARTS: &[Part] = &[
    Part {
        name: "etcd",
        version: "3.6.16",
        target: "tool",
        programs: &[("etcd", "server")],
        stamps: &[],
        takes: "a minute",
    },
    Part {
        name: "containerd",
        version: "2.4.2",
        target: "tool",
        programs: &[
            ("containerd", "containerd"),
            ("containerd-shim-runc-v2", "containerd-shim-runc-v2"),
            ("ctr", "ctr"),
        ],
        stamps: &[("github.com/containerd/containerd/v2/version.Version", "v2.4.2")],
        takes: "a minute",
    },
    Part {
        name: "coredns",
        version: "1.15.0",
        target: ".",
        programs: &[("coredns", "coredns")],
        stamps: &[],
        takes: "two minutes",
    },
    Part {
        name: "helm",
        version: "4.3.1",
        target: "tool",
        programs: &[("helm", "helm")],
        stamps: &[("helm.sh/helm/v4/internal/version.version", "v4.3.1")],
        takes: "three minutes",
    },
    Part {
        name: "kubernetes",
        version: "1.36.3",
        target: "tool",
        programs: &[
            ("kube-apiserver", "kube-apiserver"),
            ("kube-controller-manager", "kube-controller-manager"),
            ("kube-scheduler", "kube-scheduler"),
            ("kubelet", "kubelet"),
            ("kube-proxy", "kube-proxy"),
            ("kubectl", "kubectl"),
        ],
        stamps: &[
            ("k8s.io/component-base/version.gitVersion", "v1.36.3"),
            ("k8s.io/component-base/version.gitMajor", "1"),
            ("k8s.io/component-base/version.gitMinor", "36"),
            ("k8s.io/client-go/pkg/version.gitVersion", "v1.36.3"),
            ("k8s.io/client-go/pkg/version.gitMajor", "1"),
            ("k8s.io/client-go/pkg/version.gitMinor", "36"),
        ],
        takes: "eight minutes",
    },
];

/// Builds what is missing of all parts and gives each program's name and place.
pub(crate) fn all(cache: &Cache) -> Result<Vec<(&'static str, PathBuf)>> {
    let mut programs = Vec::new();
    for part in PARTS {
        let folder = built(part, cache)?;
        programs.extend(part.programs.iter().map(|(name, _)| (*name, folder.join(name))));
    }
    Ok(programs)
}

/// Builds the part that a program belongs to, when it is missing, and gives the program's place.
pub(crate) fn program(cache: &Cache, program: &str) -> Result<PathBuf> {
    let part = PARTS
        .iter()
        .find(|part| part.programs.iter().any(|(name, _)| *name == program))
        .with_context(|| format!("no part of the test cluster brings the program {program}"))?;
    Ok(built(part, cache)?.join(program))
}

fn built(part: &Part, cache: &Cache) -> Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/parts").join(part.name);
    let key = key(part, &sources)?;
    cache.folder(KIND, &key, |folder| build(part, &sources, folder))
}

/// Part, version and a hash of all that its build reads from the checkout.
fn key(part: &Part, sources: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .with_context(|| format!("cannot list the sources in {}", sources.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    files.sort();
    let mut pieces = vec![("flags".to_owned(), linker_flags(part).into_bytes())];
    for file in &files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        pieces.push((name.into_owned(), content));
    }
    let hash = cache::key(pieces.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())));
    Ok(format!("{}-{}-{hash}", part.name, part.version))
}

fn build(part: &Part, sources: &Path, folder: &Path) -> Result<()> {
    let go = go()?;
    let clock = Stopwatch::start();
    println!(
        "building {} {}; only once on this machine, about {} on two cores",
        part.name, part.version, part.takes
    );
    let mut command = tools::command("nice", ["-n", "10"]);
    command
        .arg(go)
        .args(["build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-p", PARALLEL])
        .args(["-ldflags", &linker_flags(part), "-o"])
        .arg(folder.join(""))
        .arg(part.target)
        .current_dir(sources)
        .env("CGO_ENABLED", "0")
        .env("GOMAXPROCS", PARALLEL)
        .env_remove("GOFLAGS");
    tools::output(&mut command)
        .with_context(|| format!("cannot build {} from {}", part.name, sources.display()))?;
    for (name, file) in part.programs {
        let (from, to) = (folder.join(file), folder.join(name));
        fs::rename(&from, &to).with_context(|| format!("the build of {} gave no {file}", part.name))?;
    }
    println!("built {} {} in {} s", part.name, part.version, clock.elapsed().as_secs());
    Ok(())
}

fn linker_flags(part: &Part) -> String {
    part.stamps.iter().fold("-s -w".to_owned(), |flags, (name, value)| format!("{flags} -X {name}={value}"))
}

/// The Go compiler, when it is new enough.
fn go() -> Result<&'static str> {
    let Ok(version) = tools::output(Command::new("go").arg("version")) else {
        bail!("the cluster's programs are built with Go; install Go 1.26 or newer (go.dev/dl)");
    };
    match parse_go_version(&version) {
        Some(found) if found >= GO_OLDEST => Ok("go"),
        _ => bail!("Go 1.26 or newer is needed, found: {}", version.trim()),
    }
}

/// `go version go1.26.8 linux/amd64` → (1, 26).
fn parse_go_version(text: &str) -> Option<(u32, u32)> {
    let number = text.split_whitespace().nth(2)?.strip_prefix("go")?;
    let mut pieces = number.split(['.', '-']);
    Some((pieces.next()?.parse().ok()?, pieces.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the version of a Go compiler is read from what it says, and nonsense is none.
    #[test]
    fn go_says_its_version() {
        assert_eq!(parse_go_version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(parse_go_version("go version go1.27 linux/amd64"), Some((1, 27)));
        assert_eq!(parse_go_version("command not found"), None);
    }

    /// Goal: the versions stamped and printed are the ones that the modules require.
    #[test]
    fn versions_agree_with_the_modules() {
        for part in PARTS {
            let module =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/parts").join(part.name).join("go.mod");
            let text = fs::read_to_string(&module).unwrap();
            // A module that is only a tool is required "// indirect".
            let wanted = format!(" v{}", part.version);
            let code = |line: &str| line.split(" //").next().unwrap_or_default().to_owned();
            assert!(
                text.lines().any(|line| code(line).ends_with(&wanted)),
                "{} requires no module in {wanted}",
                module.display()
            );
        }
    }
}
