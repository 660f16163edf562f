//! The connection to the test: what is told is with the test's machine before the app goes on.

use crate::args::Args;
use anyhow::Context as _;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tasks::{OnError, Tasks};
use std::sync::Arc;
use std::time::Duration;
use tests::load::{HUSH, Line, READ, STALL};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, watch};

/// How long the test may take to answer the connection.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// What the test wants of the app for now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) publish: bool,
    pub(crate) read: bool,
}

/// Tells the test what happened. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Desk {
    socket: Arc<Mutex<OwnedWriteHalf>>,
    pub(crate) shutdown: Shutdown,
}

impl Desk {
    /// Connects and says who this is.
    pub(crate) async fn open(args: &Args, tasks: &Tasks) -> anyhow::Result<(Self, watch::Receiver<Orders>)> {
        let connecting = tokio::time::timeout(CONNECT_MAX, connect(&args.clerk));
        let socket = connecting.await.with_context(|| format!("nobody answers at {}", args.clerk))?;
        socket.set_nodelay(true)?;
        let (reader, writer) = socket.into_split();
        let desk = Self { socket: Arc::new(Mutex::new(writer)), shutdown: tasks.shutdown().clone() };
        desk.tell(&[Line::Hello { pod: args.pod.clone() }]).await?;
        let (sender, orders) = watch::channel(Orders { publish: true, read: true });
        let shutdown = desk.shutdown.clone();
        tasks.spawn("orders", OnError::Shutdown, async move {
            shutdown.or(follow(reader, sender)).await.unwrap_or(Ok(()))
        });
        Ok((desk, orders))
    }

    /// Tells all of it.
    pub(crate) async fn tell(&self, lines: &[Line]) -> anyhow::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        self.socket.lock().await.write_all(&text).await.context("the test does not listen any more")
    }
}

async fn connect(clerk: &str) -> TcpStream {
    let mut pauses = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    loop {
        match TcpStream::connect(clerk).await {
            Ok(socket) => return socket,
            Err(_) => tokio::time::sleep(pauses.next_pause()).await,
        }
    }
}

/// Does what the test says, until it hangs up.
async fn follow(reader: OwnedReadHalf, orders: watch::Sender<Orders>) -> anyhow::Result<()> {
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        orders.send_modify(|orders| match line.as_str() {
            HUSH => orders.publish = false,
            STALL => orders.read = false,
            READ => orders.read = true,
            _ => {}
        });
    }
    anyhow::bail!("the test has hung up")
}
