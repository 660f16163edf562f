//! pyzmq, an unmodified ZeroMQ client, against the door. It is installed once into a virtual
//! environment beside the build's own files; what is missing for that fails the test by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::app::testing::{Stage, soon};

/// The version whose wheel brings libzmq 4.3.5.
const PYZMQ: &str = "pyzmq==27.1.0";

/// A python that has pyzmq.
fn python() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/NAME → target
    let target = test.ancestors().nth(3).expect("a test lives in target/PROFILE/deps");
    let folder = target.join("pyzmq-venv");
    let lock = std::fs::File::create(target.join("pyzmq-venv.lock")).unwrap();
    // Held until this function returns; other tests and processes wait here.
    lock.lock().unwrap();
    let python = folder.join("bin/python3");
    if !has_zmq(&python) {
        run(
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
            "python3 with its module venv",
        );
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PYZMQ];
        run(Command::new(&python).args(pip), "PyPI, to install pyzmq");
        assert!(has_zmq(&python), "pyzmq was installed and cannot be imported");
    }
    python
}

fn has_zmq(python: &Path) -> bool {
    Command::new(python).args(["-c", "import zmq"]).output().is_ok_and(|output| output.status.success())
}

fn run(command: &mut Command, needs: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("this test needs {needs}: {error}"));
    assert!(output.status.success(), "this test needs {needs}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs one function of `interop.py` against the doors of `stage`.
async fn play(stage: &Stage, scene: &'static str) {
    let tcp = format!("tcp://{}", stage.opened.zmq_listen[0]);
    let folder = stage.folder.path().join("zmq");
    let output = soon(async move {
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        let mut command = tokio::process::Command::new(python);
        command.args(["-c", include_str!("interop.py"), scene]).arg(folder).arg(tcp).kill_on_drop(true);
        command.output().await.unwrap()
    })
    .await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scene}: {said}");
}

/// Goal: multipart, empty frames, one-frame messages and order survive PUB → sidecar → SUB.
#[tokio::test]
async fn pyzmq_pub_to_pyzmq_sub() {
    play(&Stage::open().await, "pub_to_sub").await;
}

/// Goal: multipart and empty frames survive PUSH → sidecar → PULL, each message comes once, and both sockets work.
#[tokio::test]
async fn pyzmq_push_to_pyzmq_pull() {
    play(&Stage::open().await, "push_to_pull").await;
}

/// Goal: prefixes are counted as in ZeroMQ, may come late, and may go.
#[tokio::test]
async fn pyzmq_prefixes() {
    play(&Stage::open().await, "prefixes").await;
}

/// Goal: with a SUB that is slow to read, none of 50 000 messages is lost or out of order.
#[tokio::test]
async fn pyzmq_slow_subscriber_loses_nothing() {
    play(&Stage::open().await, "slow_subscriber").await;
}

/// Goal: heartbeats of a client are answered, so that an idle connection stays up.
#[tokio::test]
async fn pyzmq_heartbeats() {
    play(&Stage::open().await, "heartbeats").await;
}

/// Goal: XPUB and XSUB apps are served as PUB and SUB are, and TCP as ipc is.
#[tokio::test]
async fn pyzmq_extended_sockets_and_tcp() {
    play(&Stage::open().await, "extended_sockets_and_tcp").await;
}

/// Goal: a client that may not connect sees its handshake fail, and does not hang or loop.
#[tokio::test]
async fn pyzmq_sees_refusals() {
    play(&Stage::open().await, "refusals").await;
}

/// Goal: REQ → sidecar → REP in lock-step, whatever the parts, and whoever of the two comes first.
#[tokio::test]
async fn pyzmq_req_and_rep() {
    play(&Stage::open().await, "req_and_rep").await;
}

/// Goal: 100 requests of one DEALER are open at once, and each reply finds its request.
#[tokio::test]
async fn pyzmq_dealer_with_many_outstanding() {
    play(&Stage::open().await, "dealer_with_many_outstanding").await;
}

/// Goal: a DEALER that sends no envelope gets none.
#[tokio::test]
async fn pyzmq_dealer_without_envelope() {
    play(&Stage::open().await, "dealer_without_envelope").await;
}

/// Goal: one ROUTER answers many REQ and DEALER sockets in any order.
#[tokio::test]
async fn pyzmq_router_for_many_clients() {
    play(&Stage::open().await, "router_for_many_clients").await;
}

/// Goal: a REP killed in the middle of a request costs a relaxed REQ one more try.
#[tokio::test]
async fn pyzmq_rep_is_killed() {
    play(&Stage::open().await, "rep_is_killed").await;
}

/// Goal: a late reply is told from the one that is waited for.
#[tokio::test]
async fn pyzmq_relaxed_and_correlated() {
    play(&Stage::open().await, "relaxed_and_correlated").await;
}

/// Goal: idle sockets of who asks and who answers stay up with heartbeats.
#[tokio::test]
async fn pyzmq_asking_heartbeats() {
    play(&Stage::open().await, "asking_heartbeats").await;
}

/// Goal: REP, REQ and DEALER sockets may bind, go, and come back.
#[tokio::test]
async fn pyzmq_bound_sockets() {
    let stage = Stage::open().await;
    let sockets = ["rep", "req", "dealer"].map(|role| {
        let path = stage.folder.path().join(format!("bound.{role}"));
        format!("asking.{role}=ipc://{}", path.display()).parse().unwrap()
    });
    crate::app::zmtp::connect(&stage.doors, sockets.into());
    play(&stage, "bound_sockets").await;
}

/// Goal: sockets of the wrong type do not stay connected.
#[tokio::test]
async fn pyzmq_asking_refusals() {
    play(&Stage::open().await, "asking_refusals").await;
}
