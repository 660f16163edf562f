//! The handle that callers hold: finds a broker, keeps one connection, sets deadlines.
//!
//! Any broker does: brokers of a KRaft cluster forward what only the controller may do, and the
//! Embedded engine is one node.

use std::sync::Arc;
use std::time::Duration;

use kafka_wire::Request;
use runtime::tls::Credentials;
use tokio::sync::Mutex;

use crate::connection::Connection;
use crate::error::AdminError;

/// Time for connecting and for one call, if nothing else is set.
const DEADLINE_DEFAULT: Duration = Duration::from_secs(15);

/// How a broker is spoken to.
#[derive(Debug, Clone)]
pub enum Security {
    /// Plain text: only for loopback.
    Plain,
    /// TLS under our own certificate.
    Tls {
        /// Ours; the current ones are used at each dial.
        credentials: Credentials,
        /// DNS names of which the broker's certificate must carry one; the dialled host if empty.
        server_names: Vec<String>,
    },
}

/// Where the brokers are and how long to wait for them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Addresses, `HOST:PORT`, tried in order.
    pub bootstrap: Vec<String>,
    /// Plain or TLS.
    pub security: Security,
    /// What we call ourselves in the broker's logs.
    pub client_id: String,
    /// Time for one call, connecting included.
    pub deadline: Duration,
}

impl Settings {
    /// Settings with the usual deadline.
    #[must_use]
    pub fn new(bootstrap: Vec<String>, security: Security, client_id: &str) -> Self {
        Self { bootstrap, security, client_id: client_id.to_owned(), deadline: DEADLINE_DEFAULT }
    }
}

/// Administers the brokers of one cluster. Clones share one connection, calls take turns on it.
#[derive(Clone)]
pub struct Admin {
    settings: Arc<Settings>,
    connection: Arc<Mutex<Option<Connection>>>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Admin").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Admin {
    /// Connects at the first call, and again whenever the connection broke.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings), connection: Arc::default() }
    }

    /// Time that the broker may take to carry out a change, for the field of that name.
    pub(crate) fn timeout_ms(&self) -> i32 {
        i32::try_from(self.settings.deadline.as_millis()).unwrap_or(i32::MAX)
    }

    /// Sends one request under the deadline.
    ///
    /// Nothing is sent twice: after a broken call nobody knows whether it was carried out, and the
    /// caller, who looks before it changes anything, tries again better than we could.
    pub(crate) async fn call<R: Request>(&self, request: R) -> Result<R::Response, AdminError> {
        self.call_in(|_version| request).await
    }

    /// Like [`Self::call`] with a request made for the version that both sides speak.
    pub(crate) async fn call_in<R: Request>(
        &self,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, AdminError> {
        let deadline = self.settings.deadline;
        tokio::time::timeout(deadline, self.call_without_deadline(request))
            .await
            .unwrap_or(Err(AdminError::Deadline { api: R::API_KEY, deadline }))
    }

    async fn call_without_deadline<R: Request>(
        &self,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, AdminError> {
        let mut slot = self.connection.lock().await;
        // Taken out, so that a call that is dropped half-way takes its connection with it.
        let standing = slot.take().and_then(Connection::unless_stale);
        let mut connection = match standing {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let version = match connection.version::<R>() {
            Ok(version) => version,
            Err(error) => {
                *slot = Some(connection);
                return Err(error);
            }
        };
        let answer = connection.call(&request(version), version).await?;
        *slot = Some(connection);
        Ok(answer)
    }

    async fn connect(&self) -> Result<Connection, AdminError> {
        let mut failure = AdminError::NoBootstrap;
        // One address that swallows packets must not use up the time of the others.
        let addresses = u32::try_from(self.settings.bootstrap.len().max(1)).unwrap_or(u32::MAX);
        let share = self.settings.deadline / addresses;
        for address in &self.settings.bootstrap {
            match tokio::time::timeout(share, Connection::open(address, &self.settings)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => failure = error,
                Err(_) => {
                    let source = std::io::ErrorKind::TimedOut.into();
                    failure = AdminError::Connect { address: address.clone(), source };
                }
            }
        }
        Err(failure)
    }
}
