//! `pinnace` as a process: built once, started in a copy of the example, its output in a file.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use testkit::cargo::as_from_a_shell;
use tests::readme::checkout;
use tests::wait::until;

/// For anything that a healthy process does at once; a busy machine takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// The program, built by the same cargo that runs this test.
pub(crate) fn pinnace() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = as_from_a_shell(&mut Command::new("cargo"))
            .args(["build", "--locked", "--quiet", "--package", "pinnace"])
            .current_dir(checkout())
            .status()
            .expect("cargo is there");
        assert!(built.success(), "pinnace does not build");
        // target/debug/deps/local-… → target/debug/pinnace
        let own = std::env::current_exe().expect("a test knows its executable");
        own.parent().and_then(Path::parent).expect("cargo puts tests into deps").join("pinnace")
    })
}

/// A copy of an example with a data folder of its own.
pub(crate) struct Example {
    folder: tempfile::TempDir,
    /// Where apps find programs; `None` = where this test finds them.
    search_path: Option<String>,
}

impl Example {
    /// examples/orders.
    pub(crate) fn new() -> Self {
        Self::of("orders", None)
    }

    pub(crate) fn of(name: &str, search_path: Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let source = checkout().join("examples").join(name);
        for entry in std::fs::read_dir(source).expect("the example is there") {
            let path = entry.expect("the example can be read").path();
            if let (true, Some(name)) = (path.is_file(), path.file_name()) {
                std::fs::copy(&path, folder.path().join(name)).expect("the folder is ours");
            }
        }
        Self { folder, search_path }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Changes a manifest as an editor would.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.path().join(file);
        let text = std::fs::read_to_string(&path).expect("the file is ours");
        assert!(text.contains(from), "{file} does not hold {from}");
        std::fs::write(path, text.replace(from, to)).expect("the file is ours");
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path().join(file), text).expect("the folder is ours");
    }

    /// Starts `pinnace up` with more arguments.
    pub(crate) fn up(&self, more: &[&str]) -> Up {
        let number = std::fs::read_dir(self.path()).expect("the folder is ours").count();
        let output = self.path().join(format!("output-{number}.txt"));
        let file = File::create(&output).expect("the folder is ours");
        let child = Command::new(pinnace())
            .args(["up", "-f"])
            .arg(self.path())
            .args(more)
            .envs(self.search_path.iter().map(|path| ("PATH", path)))
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("an open file can be shared"))
            .stderr(file)
            .spawn()
            .expect("pinnace starts");
        Up { child, output, folder: self.path().join(".pinnace") }
    }

    /// Runs a tool as a service account; says whether it succeeded, and what it printed.
    pub(crate) fn run_as(&self, account: &str, tool: &[&str]) -> (bool, String) {
        self.run_with(&[], account, tool)
    }

    /// The same with variables for its sidecar.
    pub(crate) fn run_with(
        &self,
        variables: &[(&str, &str)],
        account: &str,
        tool: &[&str],
    ) -> (bool, String) {
        let output = Command::new(pinnace())
            .envs(variables.iter().copied())
            .args(["run", "-f"])
            .arg(self.path())
            .args(["--as", account, "--", "pinnace"])
            .args(tool)
            .stdin(Stdio::null())
            .output()
            .expect("pinnace starts");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A running `pinnace up`; killed when the test ends early.
pub(crate) struct Up {
    child: Child,
    output: PathBuf,
    /// Its data.
    folder: PathBuf,
}

impl Up {
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits until the output satisfies `wanted`.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let seen = until(LIMIT, || wanted(&self.said()).then_some(()));
        assert!(seen.is_some(), "{what} does not show:\n{}", self.said());
    }

    /// Waits until all apps of the example pass messages on.
    pub(crate) fn wait_for_messages(&self) {
        self.wait_for("every app", |said| {
            ["topics/orders -> kafka", "channels/prices -> grpc", "channels/prices -> zmtp"]
                .iter()
                .all(|line| said.contains(line))
        });
    }

    /// What a sidecar of this `up` says under /metrics.
    pub(crate) fn metrics(&self, sidecar: &str) -> String {
        let said = self.said();
        let line = said.lines().find(|line| line.starts_with(&format!("sidecar {sidecar} is up: ")));
        let address = line.and_then(|line| line.rsplit_once("metrics ")).map(|(_, address)| address.trim());
        let Some(Ok(mut stream)) = address.map(TcpStream::connect) else { return String::new() };
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n");
        // Whoever asks looks again: an answer that is cut off is no answer.
        if asked.and_then(|()| stream.read_to_string(&mut answer)).is_err() {
            answer.clear();
        }
        answer
    }

    pub(crate) fn signal(&self, name: &str) {
        let killed = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(killed.expect("kill is there").success());
    }

    /// Signals the app of this `up` whose command line ends with `script`.
    pub(crate) fn signal_app(&self, script: &str, name: &str) {
        let found = self.processes(&self.folder).into_iter().find(|line| line.trim().ends_with(script));
        assert!(found.is_some(), "{script} does not run:\n{}", self.said());
        let number = found.expect("checked above").split(':').next().unwrap_or_default().to_owned();
        let killed = Command::new("kill").args(["-s", name, &number]).status();
        assert!(killed.expect("kill is there").success());
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = until(LIMIT, || self.child.try_wait().expect("it is our child"));
        assert!(ended.is_some(), "up does not end:\n{}", self.said());
        ended.expect("checked above")
    }

    /// Processes that this `up` started, by what their command lines and addresses hold of its folder.
    pub(crate) fn processes(&self, data: &Path) -> Vec<String> {
        let data = data.display().to_string();
        let run = self.run_folder(&data);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").expect("this is Linux").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let read = |file: &str| {
                let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let ours = |text: &str| text.contains(&data) || text.contains(&run);
            let is_up = name == self.child.id().to_string();
            if name.parse::<u32>().is_ok() && !is_up && (ours(&read("cmdline")) || ours(&read("environ"))) {
                found.push(format!("{name}: {}", read("cmdline")));
            }
        }
        found
    }

    /// The folder of sockets; named in the data folder.
    fn run_folder(&self, data: &str) -> String {
        let place = std::fs::read_to_string(Path::new(data).join("attach")).unwrap_or_default();
        let folder = Path::new(&place).parent().map(|path| path.display().to_string()).unwrap_or_default();
        assert!(folder.starts_with("/tmp/pinnace-"), "no run folder in {place:?}:\n{}", self.said());
        folder
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // The test failed already: nothing to add.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
