//! Who must say something in time, and who need not.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::app::testing::{Stage, soon};

/// Reads until `wanted` bytes came or an error did, long past a deadline that is over at once.
async fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let (mut client, door) = tokio::io::duplex(256);
    client.write_all(bytes).await?;
    let mut door = FirstBytes::new(door, clock::now());
    let mut seen = vec![0; bytes.len()];
    door.read_exact(&mut seen).await?;
    let more = tokio::time::timeout(Duration::from_millis(100), door.read_u8()).await;
    match more {
        Ok(ended) => Err(ended.expect_err("nobody wrote more")),
        Err(_) => Ok(seen),
    }
}

/// Goal: a connection that does not say what it speaks ends at the deadline; one that has said
/// it, by another byte than the preface has or by all of it, may be silent as long as it likes.
#[tokio::test]
async fn only_the_undecided_have_a_deadline() {
    for undecided in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let error = soon(read(undecided)).await.expect_err("it had no deadline");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{undecided:?}");
    }
    for decided in [&b"G"[..], b"PO", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        assert_eq!(soon(read(decided)).await.expect("it was cut"), decided);
    }
}

/// Goal: a socket that an earlier process left is replaced; a file that is no socket is not.
#[tokio::test]
async fn only_sockets_are_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/api.sock");
    drop(bind_unix(&path).unwrap());
    assert!(path.exists(), "the file outlives its process");
    drop(bind_unix(&path).unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    assert_eq!(bind_unix(&file).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

/// Goal: at shutdown, open subscriptions end with a reason and every connection closes by itself.
#[tokio::test]
async fn shutdown_ends_connections_in_order() {
    let stage = Stage::open().await;
    let mut stream = TcpStream::connect(stage.opened.listen.unwrap()).await.unwrap();
    stream.write_all(b"GET /v1/channels/prices/messages HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut head = [0; 16];
    soon(stream.read_exact(&mut head)).await.unwrap();
    let idle = TcpStream::connect(stage.opened.listen.unwrap()).await.unwrap();
    stage.doors.tasks.shutdown().begin();
    let mut rest = Vec::new();
    soon(stream.read_to_end(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    assert!(rest.contains("shutting down"), "{rest}");
    assert_eq!(stage.doors.tasks.drain(Duration::from_secs(30)).await, 0);
    drop(idle);
}
