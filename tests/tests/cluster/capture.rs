//! What goes over the wire between pods: captures packets with tcpdump in the cluster's network
//! and reads the TCP payloads out of the capture file.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::kube;

/// The file header of a capture, and the header of each packet in it.
const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
/// Link type "Linux cooked, version 2" and the length of its header.
const COOKED: u32 = 276;
const COOKED_HEADER: usize = 20;
/// How much of each packet is kept, more than any has; and how much waits for tcpdump while others have the processors.
/// Without the first, tcpdump sets 256 KiB aside for each packet, and its usual 2 MiB are full after eight.
const PACKET_BYTES_MAX: &str = "65535";
const BUFFER_KIBIBYTES: &str = "131072";
const TCP: u8 = 6;
/// The flag of the packet that opens a direction.
const SYN: u8 = 2;

/// A running capture.
pub(crate) struct Capture {
    tcpdump: Child,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

/// One direction of a connection: source and destination, each address and port.
pub(crate) type Flow = ([u8; 4], u16, [u8; 4], u16);

impl Capture {
    /// Captures all TCP packets to or from this address, from now on.
    pub(crate) fn start(host: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("packets");
        let tcpdump = Command::new("tcpdump")
            .args(["-i", "any", "-y", "LINUX_SLL2", "-s", PACKET_BYTES_MAX, "-B", BUFFER_KIBIBYTES])
            .args(["-U", "--immediate-mode", "-Z", "root", "-w"])
            .arg(&file)
            .arg(format!("tcp and host {host}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start tcpdump")?;
        let mut capture = Self { tcpdump, file, _folder: folder };
        kube::until("tcpdump to listen", Duration::from_secs(30), || {
            ensure!(capture.tcpdump.try_wait()?.is_none(), "tcpdump has ended");
            Ok(fs::metadata(&capture.file).is_ok_and(|file| file.len() >= 24).then_some(()))
        })?;
        Ok(capture)
    }

    /// Ends the capture and gives, for each flow, its payload in the order it was sent.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<Flow, Vec<u8>>> {
        kube::run("kill", &["-INT", &self.tcpdump.id().to_string()])?;
        self.tcpdump.wait().context("cannot wait for tcpdump")?;
        parse(&fs::read(&self.file).context("tcpdump wrote no file")?)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        drop(self.tcpdump.kill());
        drop(self.tcpdump.wait());
    }
}

fn parse(file: &[u8]) -> Result<BTreeMap<Flow, Vec<u8>>> {
    let link = file.get(20..24).context("the capture has no header")?;
    let link = u32::from_le_bytes(link.try_into()?);
    if link != COOKED {
        bail!("the capture has link type {link}, not {COOKED}");
    }
    let mut flows: BTreeMap<Flow, Stream> = BTreeMap::new();
    let mut rest = file.get(FILE_HEADER..).unwrap_or_default();
    while let Some(size) = rest.get(8..12) {
        let size = usize::try_from(u32::from_le_bytes(size.try_into()?))?;
        let Some(packet) = rest.get(PACKET_HEADER..PACKET_HEADER + size) else { break };
        if let Some((flow, segment)) = segment(packet.get(COOKED_HEADER..).unwrap_or_default()) {
            flows.entry(flow).or_default().add(segment);
        }
        rest = rest.get(PACKET_HEADER + size..).unwrap_or_default();
    }
    let read = |(flow, stream): (Flow, Stream)| {
        let payload = stream.payload().with_context(|| format!("what was captured of {flow:?}"))?;
        Ok((flow, payload))
    };
    flows.into_iter().map(read).collect()
}

/// One direction of a connection, put together. Each packet is seen on several interfaces, and not
/// always in the order in which it was sent.
#[derive(Default)]
struct Stream {
    /// The sequence number of the first byte, from the packet that opened the connection.
    first: Option<u32>,
    segments: BTreeMap<u32, Vec<u8>>,
}

impl Stream {
    fn add(&mut self, segment: Segment<'_>) {
        if segment.opens {
            self.first = Some(segment.sequence.wrapping_add(1));
        } else if segment.payload.is_empty() {
            // An acknowledgement. Behind a FIN its number is one past the last byte.
        } else if self.segments.get(&segment.sequence).is_none_or(|seen| seen.len() < segment.payload.len()) {
            self.segments.insert(segment.sequence, segment.payload.to_vec());
        }
    }

    /// What was sent, in order; an error where the capture has missed some of it. Of a connection that is older than the
    /// capture, what was seen.
    fn payload(self) -> Result<Vec<u8>> {
        let first = self.first.unwrap_or_default();
        let mut segments: Vec<_> = self.segments.into_iter().collect();
        segments.sort_by_key(|(sequence, _)| sequence.wrapping_sub(first));
        let mut all = Vec::new();
        for (sequence, payload) in segments {
            let at = usize::try_from(sequence.wrapping_sub(first))?;
            if self.first.is_none() {
                all.extend(payload);
                continue;
            }
            ensure!(at <= all.len(), "tcpdump missed bytes {} to {at} of a connection", all.len());
            // What was sent again may begin with what is there already.
            all.extend(payload.get(all.len() - at..).unwrap_or_default());
        }
        Ok(all)
    }
}

struct Segment<'a> {
    opens: bool,
    sequence: u32,
    payload: &'a [u8],
}

/// The flow and the segment of an IPv4 packet that carries TCP.
fn segment(packet: &[u8]) -> Option<(Flow, Segment<'_>)> {
    let first = *packet.first()?;
    if first >> 4 != 4 || *packet.get(9)? != TCP {
        return None;
    }
    let header = usize::from(first & 15) * 4;
    let length = usize::from(u16::from_be_bytes(packet.get(2..4)?.try_into().ok()?));
    let tcp = packet.get(header..length)?;
    let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| packet.get(at..at + 4)?.try_into().ok();
    let payload = tcp.get(usize::from(*tcp.get(12)? >> 4) * 4..)?;
    let sequence = u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?);
    let segment = Segment { opens: tcp.get(13)? & SYN != 0, sequence, payload };
    Some(((address(12)?, port(0)?, address(16)?, port(2)?), segment))
}
