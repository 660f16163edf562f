//! The ZeroMQ door: a PUB or SUB socket over `ipc://`, with the same state machine as the sidecar's end.

use super::{Incoming, Outgoing, Received, Wanted, join, nobody, text};
use crate::args::Via;
use crate::tools::Failure;
use crate::tools::target::Target;
use bytes::{Buf as _, Bytes};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use zmtp::{Config, Event, Heartbeat, Session, SocketType};

/// How long the sidecar may take to say what it wants from a PUB socket.
const SUBSCRIBED_DEADLINE: Duration = Duration::from_secs(10);
const HEARTBEAT: Heartbeat = Heartbeat { interval: Duration::from_secs(5), timeout: Duration::from_secs(20) };

struct Connection {
    stream: UnixStream,
    session: Session,
    path: PathBuf,
}

impl Connection {
    async fn open(
        folder: &Path,
        target: &Target,
        socket_type: SocketType,
        role: &str,
    ) -> Result<Self, Failure> {
        let path = folder.join(format!("{}.{role}", target.name));
        let stream = UnixStream::connect(&path)
            .await
            .map_err(|error| nobody("ZeroMQ", &path.display().to_string(), error))?;
        let config = Config { heartbeat: Some(HEARTBEAT), ..Config::new(socket_type) };
        Ok(Self { stream, session: Session::new(config, now()), path })
    }

    fn broken(&self, error: impl std::fmt::Display) -> Failure {
        nobody("ZeroMQ", &self.path.display().to_string(), error)
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        while self.session.output().has_remaining() {
            let written = self.stream.write_buf(self.session.output()).await;
            written.map_err(|error| self.broken(error))?;
        }
        Ok(())
    }

    /// The next event; writes and reads as needed.
    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            let event = self.session.poll_event();
            self.flush().await?;
            if let Some(event) = event.map_err(|error| Failure::Refused(error.to_string()))? {
                return Ok(event);
            }
            let pause = self.session.poll_timeout().map(|at| at.saturating_duration_since(now()));
            let pause = pause.unwrap_or(HEARTBEAT.interval);
            let reading = self.stream.read_buf(self.session.input());
            match tokio::time::timeout(pause, reading).await {
                Ok(Ok(0)) => return Err(self.broken("the sidecar closed the connection")),
                Ok(Ok(_)) => self.session.handle_input(now()),
                Ok(Err(error)) => return Err(self.broken(error)),
                Err(_) => {
                    let expired = self.session.handle_timeout(now());
                    expired.map_err(|error| self.broken(error))?;
                }
            }
        }
    }
}

fn now() -> std::time::Instant {
    runtime::clock::now().into_std()
}

pub(crate) struct Publisher {
    connection: Connection,
}

impl Publisher {
    pub(super) async fn open(target: &Target, folder: &Path) -> Result<Self, Failure> {
        let mut connection = Connection::open(folder, target, SocketType::Pub, "pub").await?;
        // A PUB socket sends only what is subscribed to; the sidecar subscribes once it is ready.
        let subscribed = async {
            loop {
                if let Event::Subscribe(_) = connection.next().await? {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(SUBSCRIBED_DEADLINE, subscribed).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Failure::Unavailable("the sidecar's socket subscribes to nothing".to_owned()));
            }
        }
        Ok(Self { connection })
    }

    pub(super) async fn publish(&mut self, message: Outgoing) -> Result<String, Failure> {
        let frames = [Bytes::from(message.subject), Bytes::from(message.payload)];
        self.connection.session.send_message(&frames);
        self.connection.flush().await?;
        Ok(String::new())
    }
}

pub(super) async fn subscribe(
    wanted: &Wanted,
    folder: &Path,
    queue: &mpsc::Sender<Incoming>,
) -> Result<(), Failure> {
    let mut connection = Connection::open(folder, &wanted.target, SocketType::Sub, "sub").await?;
    loop {
        let incoming = match connection.next().await? {
            Event::Ready(_) => {
                if wanted.prefixes.is_empty() {
                    connection.session.send_subscribe(&Bytes::new());
                }
                for prefix in &wanted.prefixes {
                    connection.session.send_subscribe(&Bytes::from(prefix.clone()));
                }
                Incoming::Open { via: Via::Zmtp }
            }
            Event::Message(frames) => {
                let (subject, parts) =
                    frames.split_first().map_or((Bytes::new(), &[][..]), |(s, p)| (s.clone(), p));
                let message =
                    Received { subject: text(&subject), payload: join(parts), ..Received::default() };
                Incoming::Message { via: Via::Zmtp, message }
            }
            Event::Subscribe(_) | Event::Cancel(_) => continue,
        };
        // When nobody takes any more, the process is ending.
        drop(queue.send(incoming).await);
    }
}
