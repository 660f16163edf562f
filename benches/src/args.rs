//! What the load generator is told: a role, a client, and options as `name=value`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};

/// An app or a relay that speaks gRPC.
#[derive(Parser)]
pub(crate) struct Args {
    role: Role,
    /// Always `grpc`: the other clients are those of `benches/channel`.
    client: String,
    /// `name=value`, as at the head of `benches/channel/main.c`; of a relay `app`, `listen` and `peer`, addresses.
    options: Vec<String>,
    /// The door of the sidecar.
    #[arg(long, env = "PINNACE_SOCKET")]
    socket: Option<PathBuf>,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Sends messages, flat out or at a pace.
    Publish,
    /// Counts them.
    Subscribe,
    /// One message at a time.
    Ping,
    /// Sends back what comes.
    Pong,
    /// Stands between apps: gRPC in, gRPC out.
    Relay,
}

/// All options, with defaults for what was not said.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) out: String,
    pub(crate) into: String,
    pub(crate) folder: PathBuf,
    pub(crate) beside: Vec<u32>,
    pub(crate) count: u64,
    pub(crate) bytes: usize,
    pub(crate) publishers: u64,
    pub(crate) subscribers: u64,
    pub(crate) index: u64,
    pub(crate) pace: u64,
    pub(crate) life: Duration,
    /// Of a relay: where apps come, where the other relay comes, and where that one is.
    pub(crate) app: String,
    pub(crate) listen: String,
    pub(crate) peer: String,
}

impl Args {
    /// Reads the options.
    pub(crate) fn options(self) -> Result<Options> {
        if self.client != "grpc" {
            bail!("{} is no client of this program", self.client);
        }
        let mut options = Options {
            role: self.role,
            socket: self.socket,
            out: String::new(),
            into: String::new(),
            folder: PathBuf::from("."),
            beside: Vec::new(),
            count: 1_000,
            bytes: 100,
            publishers: 1,
            subscribers: 1,
            index: 0,
            pace: 0,
            life: Duration::from_secs(300),
            app: String::new(),
            listen: String::new(),
            peer: String::new(),
        };
        for option in &self.options {
            let (name, value) =
                option.split_once('=').with_context(|| format!("{option} is no name=value"))?;
            options.set(name, value).with_context(|| format!("{option} cannot be read"))?;
        }
        Ok(options)
    }
}

impl Options {
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "out" => value.clone_into(&mut self.out),
            "in" => value.clone_into(&mut self.into),
            "app" => value.clone_into(&mut self.app),
            "listen" => value.clone_into(&mut self.listen),
            "peer" => value.clone_into(&mut self.peer),
            "folder" => self.folder = PathBuf::from(value),
            "beside" => {
                let numbers = value.split(',').filter(|number| !number.is_empty());
                self.beside = numbers.map(str::parse).collect::<Result<_, _>>()?;
            }
            "count" => self.count = value.parse()?,
            "bytes" => self.bytes = value.parse()?,
            "publishers" => self.publishers = value.parse()?,
            "subscribers" => self.subscribers = value.parse()?,
            "index" => self.index = value.parse()?,
            "pace" => self.pace = value.parse()?,
            "life" => self.life = Duration::from_secs(value.parse()?),
            "pattern" if value == "pubsub" => {}
            _ => bail!("there is no such option here"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: options are read, and what is no option of this program is an error.
    #[test]
    fn options_are_read() {
        let read = |options: &[&str]| {
            let line = ["grpc-load", "publish", "grpc"].into_iter().chain(options.iter().copied());
            Args::try_parse_from(line).unwrap().options()
        };
        let options = read(&["bytes=16", "beside=3,4", "in=sidecar:ping", "pattern=pubsub"]).unwrap();
        assert_eq!(
            (options.bytes, options.beside, options.into),
            (16, vec![3, 4], "sidecar:ping".to_owned())
        );
        assert!(read(&["pattern=pipeline"]).is_err());
        assert!(read(&["size=16"]).is_err());
        assert!(read(&["bytes"]).is_err());
    }
}
