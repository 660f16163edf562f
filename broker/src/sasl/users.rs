//! Users: those of a file (a mounted Secret) with passwords, and the broker's own table of SCRAM credentials.
//!
//! The file wins over the table. A user of the file may use PLAIN and SCRAM. Passwords stay here.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use ring::{digest, hmac};
use subtle::ConstantTimeEq as _;
use tokio::sync::Mutex;

use super::{
    Verifier,
    oauth::Keys,
    scram::{Credential, Hash},
};
use crate::store::{Change, Store, StoreError, json_change};

const PREFIX: &str = "scram/";
/// Users of the file, and of the table.
const FILE_USERS_MAX: usize = 1_000;
pub(crate) const TABLE_USERS_MAX: usize = 10_000;
/// How often the files are looked at.
const FILE_CHECK: Duration = Duration::from_secs(2);
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A user of the file.
struct Listed {
    password: String,
    scram: HashMap<Hash, Credential>,
}

type File = HashMap<String, Listed>;
/// By user and hash.
type Table = BTreeMap<(String, Hash), Credential>;

/// A change to the table: the user, the hash, and the new credential or `None` to remove it.
pub(crate) type Alteration = (String, Hash, Option<Credential>);

/// All users.
pub(crate) struct Users {
    pub(crate) file: Option<PathBuf>,
    /// For these the file's passwords are prepared.
    hashes: Vec<Hash>,
    listed: RwLock<Arc<File>>,
    table: RwLock<Table>,
    store: Arc<Store>,
    changing: Mutex<()>,
    /// Makes salts that are the same each time for one name, and tell nothing.
    secret: hmac::Key,
}

/// The users cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    #[error("cannot read the users file {file}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("line {line} of the users file {file} is wrong: {reason}")]
    Line { file: PathBuf, line: usize, reason: &'static str },
    #[error("the users file {file} is too large: 1 MiB and {FILE_USERS_MAX} users at most")]
    TooLarge { file: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Users {
    /// Opens the table, and the file if there is one.
    pub(crate) fn open(
        store: &Arc<Store>,
        file: Option<PathBuf>,
        hashes: Vec<Hash>,
    ) -> Result<Self, UsersError> {
        let mut table = Table::new();
        for (key, credential) in store.load::<Credential>(PREFIX)? {
            let parsed = key
                .split_once('/')
                .and_then(|(code, user)| Some((user.to_owned(), Hash::from_code(code.parse().ok()?)?)));
            let damaged = || StoreError::Damaged(format!("{PREFIX}{key} names no mechanism"));
            table.insert(parsed.ok_or_else(damaged)?, credential);
        }
        let secret = [runtime::random::bytes16(), runtime::random::bytes16()].concat();
        let users = Self {
            file,
            hashes,
            listed: RwLock::default(),
            table: RwLock::new(table),
            store: Arc::clone(store),
            changing: Mutex::new(()),
            secret: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        };
        users.read_again()?;
        Ok(users)
    }

    /// Uses the file as it is now; blocks while passwords are prepared.
    pub(crate) fn read_again(&self) -> Result<(), UsersError> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut listed = File::new();
        for (user, password) in read(file)? {
            let prepare =
                |hash: &Hash| (*hash, Credential::from_password(*hash, &password, self.salt(&user, *hash)));
            let scram = self.hashes.iter().map(prepare).collect();
            listed.insert(user, Listed { password, scram });
        }
        *self.listed.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(listed);
        Ok(())
    }

    fn salt(&self, user: &str, hash: Hash) -> Vec<u8> {
        hmac::sign(&self.secret, format!("{}/{user}", hash.code()).as_bytes()).as_ref().to_vec()
    }

    fn listed(&self) -> Arc<File> {
        Arc::clone(&self.listed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the user is in the file.
    pub(crate) fn is_listed(&self, user: &str) -> bool {
        self.listed().contains_key(user)
    }

    /// Whether this is the user's password in the file; takes as long for unknown users and for wrong passwords
    /// of any length.
    pub(crate) fn has_password(&self, user: &str, password: &str) -> bool {
        let listed = self.listed();
        let known = listed.get(user);
        let hashed = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
        let (right, given) = (hashed(known.map_or("", |it| &it.password)), hashed(password));
        bool::from(right.as_ref().ct_eq(given.as_ref())) && known.is_some()
    }

    /// The user's credential; for unknown users one that nothing fits.
    pub(crate) fn credential(&self, user: &str, hash: Hash) -> Credential {
        if let Some(listed) = self.listed().get(user) {
            let of_file = listed.scram.get(&hash).cloned();
            return of_file.unwrap_or_else(|| Credential::of_nobody(hash, self.salt(user, hash)));
        }
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let of_table = table.get(&(user.to_owned(), hash)).cloned();
        of_table.unwrap_or_else(|| Credential::of_nobody(hash, self.salt(user, hash)))
    }

    /// The users of the table, each with hashes and iterations.
    pub(crate) fn describe(&self) -> BTreeMap<String, Vec<(Hash, i32)>> {
        let mut users: BTreeMap<String, Vec<(Hash, i32)>> = BTreeMap::new();
        for ((user, hash), credential) in &*self.table.read().unwrap_or_else(PoisonError::into_inner) {
            users.entry(user.clone()).or_default().push((*hash, credential.iterations));
        }
        users
    }

    /// Whether the table has this credential.
    pub(crate) fn is_in_table(&self, user: &str, hash: Hash) -> bool {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.contains_key(&(user.to_owned(), hash))
    }

    /// Changes the table, all or none; false when there would be too many users.
    pub(crate) async fn alter(&self, alterations: Vec<Alteration>) -> Result<bool, StoreError> {
        let _changing = self.changing.lock().await;
        let more = alterations.iter().filter(|(.., credential)| credential.is_some()).count();
        if self.table.read().unwrap_or_else(PoisonError::into_inner).len() + more > 2 * TABLE_USERS_MAX {
            return Ok(false);
        }
        let mut changes: Vec<Change> = Vec::new();
        for (user, hash, credential) in &alterations {
            let key = format!("{PREFIX}{}/{user}", hash.code());
            changes.push(match credential {
                Some(credential) => json_change(key, credential)?,
                None => (key, None),
            });
        }
        self.store.write(changes)?.await?;
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        for (user, hash, credential) in alterations {
            match credential {
                Some(credential) => drop(table.insert((user, hash), credential)),
                None => drop(table.remove(&(user, hash))),
            }
        }
        Ok(true)
    }
}

/// Reads users and keys again whenever their files change, until the process ends.
pub(crate) async fn follow(verifier: Arc<Verifier>) {
    let stamp = |file: Option<&PathBuf>| {
        let metadata = std::fs::metadata(file?).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    let stamps = |verifier: &Verifier| {
        (stamp(verifier.users.file.as_ref()), stamp(verifier.keys.as_ref().map(|keys| &keys.file)))
    };
    let mut seen = stamps(&verifier);
    loop {
        tokio::time::sleep(FILE_CHECK).await;
        let now = stamps(&verifier);
        if now == seen {
            continue;
        }
        seen = now;
        let this = Arc::clone(&verifier);
        // Preparing passwords takes the processor.
        let read = tokio::task::spawn_blocking(move || {
            if let Err(error) = this.users.read_again() {
                tracing::warn!(error = crate::error_text(&error), "the users stay as they were");
            }
            if let Some(Err(error)) = this.keys.as_ref().map(Keys::read_again) {
                tracing::warn!(error, "the keys for bearer tokens stay as they were");
            }
        });
        if let Err(error) = read.await {
            tracing::error!(%error, "reading the users panicked");
        }
    }
}

/// Reads lines `NAME=PASSWORD`; empty lines and those that start with `#` are skipped. Errors never show a password.
fn read(file: &Path) -> Result<Vec<(String, String)>, UsersError> {
    let failed = |source| UsersError::Read { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(UsersError::TooLarge { file: file.to_owned() });
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    let mut users: Vec<(String, String)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |reason| UsersError::Line { file: file.to_owned(), line: at + 1, reason };
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (user, password) =
            line.split_once('=').ok_or_else(|| wrong("it is not of the form NAME=PASSWORD"))?;
        let user = user.trim();
        if user.is_empty() || user.len() > 1_000 || password.is_empty() {
            return Err(wrong("a name of 1 to 1000 bytes and a password are needed"));
        }
        if users.iter().any(|(other, _)| other == user) {
            return Err(wrong("the user is there twice"));
        }
        users.push((user.to_owned(), password.to_owned()));
    }
    if users.len() > FILE_USERS_MAX {
        return Err(UsersError::TooLarge { file: file.to_owned() });
    }
    Ok(users)
}
