//! Folders in; what is served, told and refused out.

use super::*;
use control_plane::{Authority, authority::ServerNames};
use prometheus::Opts;
use std::fs;

const NAME: &str = "pinnace-operator.shop.svc";

struct Issued {
    chain: String,
    key: String,
    bundle: String,
    not_after: i64,
}

/// A certificate for `name` that lives for so long, of an authority of its own.
fn issued(name: &str, lifetime: Duration) -> Issued {
    let now = runtime::clock::unix_seconds();
    let authority = Authority::create("cluster.local", now).unwrap();
    let names = ServerNames { dns: vec![name.to_owned()], ..ServerNames::default() };
    let issued = authority.issue_server(&names, lifetime, now).unwrap();
    Issued {
        chain: issued.chain_pem,
        key: issued.key_pem,
        bundle: authority.bundle_pem(),
        not_after: issued.not_after,
    }
}

fn write(folder: &Path, issued: &Issued) {
    for (name, text) in [(CERTIFICATE, &issued.chain), (KEY, &issued.key), (AUTHORITY, &issued.bundle)] {
        fs::write(folder.join(name), text).unwrap();
    }
}

struct Uses {
    credentials: Credentials,
    expiration: IntGaugeVec,
    readiness: Readiness,
}

impl Uses {
    fn new() -> Self {
        runtime::tls::install_provider();
        let expiration = IntGaugeVec::new(Opts::new("expiration", "help"), &["certificate"]).unwrap();
        let readiness = Readiness::new();
        super::super::wait_for_certificate(&readiness);
        Self { credentials: Credentials::empty(), expiration, readiness }
    }

    async fn open(&self, folder: &Path) -> Result<Folder, FilesError> {
        Folder::open(folder, NAME, (self.credentials.clone(), self.expiration.clone()), &self.readiness).await
    }

    fn not_after(&self) -> i64 {
        self.expiration.with_label_values(&["webhook"]).get()
    }

    fn served(&self) -> Option<i64> {
        self.credentials.current().and_then(|material| material.not_after())
    }
}

/// Goal: what is in the folder is served and its end told; what comes later too, without a restart.
#[tokio::test(start_paused = true)]
async fn a_folder_is_read_again() {
    let (folder, uses) = (tempfile::tempdir().unwrap(), Uses::new());
    let (first, second) = (issued(NAME, Duration::from_secs(3600)), issued(NAME, Duration::from_secs(7200)));
    write(folder.path(), &first);
    let opened = uses.open(folder.path()).await.unwrap();
    assert_eq!((uses.served(), uses.not_after()), (Some(first.not_after), first.not_after));
    assert!(uses.readiness.is_ready());
    let running = opened.run();
    tokio::pin!(running);
    write(folder.path(), &second);
    let waited = tokio::time::timeout(PERIOD * 3, running.as_mut()).await;
    assert!(waited.is_err());
    assert_eq!((uses.served(), uses.not_after()), (Some(second.not_after), second.not_after));
    // Half of a change, and then nothing at all: what is served stays.
    fs::write(folder.path().join(KEY), &first.key).unwrap();
    drop(tokio::time::timeout(PERIOD * 3, running.as_mut()).await);
    fs::remove_file(folder.path().join(CERTIFICATE)).unwrap();
    drop(tokio::time::timeout(PERIOD * 3, running.as_mut()).await);
    assert_eq!((uses.served(), uses.not_after()), (Some(second.not_after), second.not_after));
    write(folder.path(), &first);
    drop(tokio::time::timeout(PERIOD * 3, running.as_mut()).await);
    assert_eq!(uses.served(), Some(first.not_after));
}

/// Goal: whatever is missing or does not fit is told at the start, with the file and what to do, and nothing is ready.
#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let (good, other) = (issued(NAME, Duration::from_secs(3600)), issued(NAME, Duration::from_secs(3600)));
    let elsewhere = issued("pinnace-operator.infra.svc", Duration::from_secs(3600));
    let long = "x".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1);
    type Change<'a> = Box<dyn Fn(&Path) + 'a>;
    let put = |name: &'static str, text: &str| -> Change<'_> {
        let text = text.to_owned();
        Box::new(move |folder| fs::write(folder.join(name), &text).unwrap())
    };
    let remove = |name: &'static str| -> Change<'_> {
        Box::new(move |folder| fs::remove_file(folder.join(name)).unwrap())
    };
    for (what, change, part) in [
        ("no certificate", remove(CERTIFICATE), "webhook.certificate.secret"),
        ("no key", remove(KEY), "tls.key"),
        ("another key", put(KEY, &other.key), "KeyMismatch"),
        ("no PEM", put(CERTIFICATE, "nonsense"), "holds no certificate"),
        ("another authority", put(AUTHORITY, &other.bundle), "do not vouch"),
        (
            "another name",
            Box::new(|folder| write(folder, &elsewhere)),
            "is not for pinnace-operator.shop.svc",
        ),
        ("too long", put(CERTIFICATE, &long), "no PEM text"),
    ] {
        let (folder, uses) = (tempfile::tempdir().unwrap(), Uses::new());
        write(folder.path(), &good);
        change(folder.path());
        let Err(error) = uses.open(folder.path()).await else { panic!("{what} is taken") };
        let told = super::super::chain(&error);
        assert!(told.contains(part), "{what}: {part} not in {told}");
        assert!(uses.served().is_none() && !uses.readiness.is_ready(), "{what}");
    }
}

/// Goal: without ca.crt the rest is enough; and one that has ended is served and told of, since all else must go on.
#[tokio::test]
async fn what_is_enough_is_enough() {
    let (folder, uses) = (tempfile::tempdir().unwrap(), Uses::new());
    let short = issued(NAME, Duration::from_secs(1));
    write(folder.path(), &short);
    fs::remove_file(folder.path().join(AUTHORITY)).unwrap();
    uses.open(folder.path()).await.unwrap();
    assert_eq!(uses.served(), Some(short.not_after));
}
