//! Hears what the apps of a scenario tell (`tests/load`), to the last word of a pod that is killed, and tells them what to
//! do. Judges nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tests::load::Line;

use crate::book::Book;
use crate::kube;

/// Between two looks at sockets that had nothing to say.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Listens until it is dropped.
pub(crate) struct Clerk {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    book: Mutex<Book>,
    /// Apps that are connected, by pod.
    apps: Mutex<Vec<(String, TcpStream)>>,
    problem: Mutex<Option<String>>,
    ended: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clerk {
    pub(crate) fn open() -> Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", 0)).context("cannot listen for apps")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::<Shared>::default();
        let hearing = Arc::clone(&shared);
        let thread = runtime::tasks::spawn_thread("clerk", move || {
            if let Err(error) = hear(&listener, &hearing) {
                *lock(&hearing.problem) = Some(format!("{error:#}"));
            }
        })?;
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Looks into what was heard so far.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> Result<T> {
        if let Some(problem) = lock(&self.shared.problem).as_ref() {
            return Err(anyhow!("the clerk hears nothing more: {problem}"));
        }
        Ok(look(&lock(&self.shared.book)))
    }

    /// Waits until `look` finds something in what was heard.
    pub(crate) fn until<T>(&self, what: &str, look: impl Fn(&Book) -> Option<T>) -> Result<T> {
        kube::until(what, kube::LIMIT, || self.read(&look))
    }

    /// Gives an order to the apps whose pod's name begins so; returns to how many.
    pub(crate) fn order(&self, pods: &str, word: &str) -> Result<usize> {
        let mut told = 0;
        for (_, socket) in lock(&self.shared.apps).iter_mut().filter(|(pod, _)| pod.starts_with(pods)) {
            socket.write_all(format!("{word}\n").as_bytes()).context("an app does not listen")?;
            told += 1;
        }
        Ok(told)
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// One app's connection.
struct Ear {
    socket: TcpStream,
    /// Empty until it has said hello.
    pod: String,
    /// The beginning of a line.
    rest: Vec<u8>,
}

fn hear(listener: &TcpListener, shared: &Shared) -> Result<()> {
    let mut ears: Vec<Ear> = Vec::new();
    while !shared.ended.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                ears.push(Ear { socket, pod: String::new(), rest: Vec::new() });
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("cannot accept an app"),
        }
        let (mut silent, mut open) = (true, Vec::new());
        for mut ear in ears {
            match ear.listen(shared)? {
                Heard::Something => silent = false,
                Heard::Nothing => {}
                Heard::End => {
                    lock(&shared.apps).retain(|(pod, _)| *pod != ear.pod);
                    continue;
                }
            }
            open.push(ear);
        }
        ears = open;
        if silent {
            kube::pause(PAUSE);
        }
    }
    Ok(())
}

enum Heard {
    Something,
    Nothing,
    End,
}

impl Ear {
    fn listen(&mut self, shared: &Shared) -> Result<Heard> {
        let mut bytes = vec![0; READ_BYTES];
        match self.socket.read(&mut bytes) {
            Ok(0) => Ok(Heard::End),
            Ok(read) => {
                self.rest.extend_from_slice(&bytes[..read]);
                self.take_lines(shared)?;
                Ok(Heard::Something)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Heard::Nothing),
            // The pod was killed.
            Err(_) => Ok(Heard::End),
        }
    }

    fn take_lines(&mut self, shared: &Shared) -> Result<()> {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        for text in whole.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
            match serde_json::from_slice(text).context("an app says what nobody understands")? {
                Line::Hello { pod } => {
                    lock(&shared.apps).push((pod.clone(), self.socket.try_clone()?));
                    self.pod = pod;
                }
                line => lock(&shared.book).take(&self.pod, line),
            }
        }
        Ok(())
    }
}
