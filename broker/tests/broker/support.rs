//! Starts the broker as a process, talks to it frame by frame, runs real clients against it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use bytes::Bytes;
use kafka_wire::{Request, frame};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    producer::{FutureProducer, FutureRecord},
};
use runtime::clock;

/// Generous: the machine may be busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A broker; killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) kafka: SocketAddr,
}

/// Waits until `ready` gives something.
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + DEADLINE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(clock::now() < deadline, "waited in vain for {what}");
        pause_for(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test thread that waits for another process")]
pub(crate) fn pause_for(duration: Duration) {
    std::thread::sleep(duration);
}

/// The command for a broker on free ports, with its data in `folder`.
pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace-broker"));
    command.arg("--data").arg(folder.join("data")).arg("--ready-file").arg(folder.join("ready"));
    command.stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

impl Broker {
    /// A broker without TLS, with its data in `folder`.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, "")
    }

    /// The same with more settings.
    pub(crate) fn start_with(folder: &Path, settings: &str) -> Self {
        let settings = format!("group.initial.rebalance.delay.ms=100\n{settings}");
        std::fs::write(folder.join("settings"), settings).unwrap();
        Self::start_on(folder, 0)
    }

    /// The same again, with the settings that it had, on a port that clients know.
    pub(crate) fn start_on(folder: &Path, port: u16) -> Self {
        let mut command = command(folder);
        command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        command.arg("--config").arg(folder.join("settings"));
        Self::run(command, folder)
    }

    /// Runs a command and waits until it serves.
    pub(crate) fn run(mut command: Command, folder: &Path) -> Self {
        let ready = folder.join("ready");
        drop(std::fs::remove_file(&ready));
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let kafka = wait_for("the ready file", || {
            assert_eq!(child.try_wait().unwrap(), None, "the broker ended");
            let text = std::fs::read_to_string(&ready).ok()?;
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            Some(parsed["kafka"].as_str().unwrap().parse().unwrap())
        });
        Self { child, kafka }
    }

    /// Stops it without warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, and waits until it did.
    pub(crate) fn stop(mut self) {
        let id = i32::try_from(self.child.id()).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = wait_for("the end of the broker", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// A bare connection.
    pub(crate) fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.kafka).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Wire { stream, next: 0 }
    }

    /// Settings for rdkafka.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.kafka.to_string());
        config.set("broker.address.family", "v4");
        config
    }

    /// Produces with the client's settings and waits for all acknowledgements.
    pub(crate) async fn produce(&self, config: &ClientConfig, topic: &str, payloads: &[String]) {
        let producer: FutureProducer = config.create().unwrap();
        let mut sent = Vec::new();
        for payload in payloads {
            let mut record = FutureRecord::<(), _>::to(topic).payload(payload);
            loop {
                match producer.send_result(record) {
                    Ok(delivery) => break sent.push(delivery),
                    // The queue is full: the first ones have to be delivered.
                    Err((_, back)) => record = back,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        for delivery in sent {
            tokio::time::timeout(DEADLINE, delivery).await.unwrap().unwrap().unwrap();
        }
    }

    /// Reads a partition from its beginning until `count` messages came, with their offsets.
    pub(crate) fn consume(&self, topic: &str, count: usize) -> Vec<(i64, String)> {
        let consumer: BaseConsumer = self.client().set("group.id", "reader").create().unwrap();
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&from).unwrap();
        let deadline = clock::now() + DEADLINE;
        let mut all = Vec::new();
        while all.len() < count {
            assert!(clock::now() < deadline, "{} of {count} messages came", all.len());
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    let payload = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                    all.push((message.offset(), payload));
                }
                Some(Err(error)) => println!("consuming: {error}"),
                None => {}
            }
        }
        all
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A connection that sends what it is told.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Wire {
    /// Sends a request and reads the answer.
    pub(crate) fn call<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.next += 1;
        let sent = frame::request(request, version, self.next, Some("test")).unwrap();
        self.stream.write_all(&sent.into_bytes()).unwrap();
        let (header, response) = frame::decode_response::<R>(self.read_frame(), version).unwrap();
        assert_eq!(header.correlation_id, self.next);
        response
    }

    /// Sends a request and does not wait for the answer.
    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) {
        self.next += 1;
        let sent = frame::request(request, version, self.next, Some("test")).unwrap();
        self.stream.write_all(&sent.into_bytes()).unwrap();
    }

    /// The bytes of the next answer.
    pub(crate) fn read_frame(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut bytes).unwrap();
        Bytes::from(bytes)
    }

    /// Whether the broker closes the connection without an answer.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Runs kcat, an old client, with `input` on its standard input.
pub(crate) fn kcat(broker: SocketAddr, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("kcat");
    command.arg("-b").arg(broker.to_string()).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Cargo points it to the librdkafka of today, which the old client would take for its own.
    command.env_remove("LD_LIBRARY_PATH");
    let spawned = command.spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{error}: install kcat (apt-get install kcat)"));
    let mut stdin = child.stdin.take().unwrap();
    // One that is refused may end before it has read its input; what it says and its exit tell.
    if let Err(error) = stdin.write_all(input.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "kcat takes no input");
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Numbered payloads.
pub(crate) fn payloads(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}
