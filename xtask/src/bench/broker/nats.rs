//! nats-server: the measure for a small broker's start. Its client protocol is another, so nothing else is compared.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cache::remove_folder;
use crate::process::free_address;
use crate::wait::{self, Stopwatch};

const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds from the start of the process, with JetStream on a new folder, to its first answer.
pub(super) fn start(program: &Path, folder: &Path) -> Result<f64> {
    remove_folder(folder)?;
    std::fs::create_dir_all(folder).context("cannot make the folder of nats-server")?;
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string(), "--jetstream"]);
    command.arg("--store_dir").arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let clock = Stopwatch::start();
    let mut child = command.spawn().context("cannot start nats-server")?;
    let answered = wait::closely("nats-server to listen", PATIENCE, || Ok(TcpStream::connect(address).ok()))
        .and_then(first_answer)
        .map(|()| clock.elapsed().as_secs_f64());
    // It is ours and no longer needed, whatever it said.
    drop(child.kill());
    child.wait().context("cannot wait for the end of nats-server")?;
    answered
}

fn first_answer(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").context("cannot ping nats-server")?;
    let mut lines = BufReader::new(stream).lines();
    let pong = lines.by_ref().take(3).any(|line| line.is_ok_and(|line| line == "PONG"));
    ensure!(pong, "nats-server did not answer a ping");
    Ok(())
}
