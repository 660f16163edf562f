//! Whole lives of roots on a made-up clock, while everybody calls everybody: no handshake may fail, however late a party
//! hears of new roots and takes a new certificate.

use super::*;
use rustls_pki_types::{ServerName, UnixTime};
use std::sync::Arc;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::server::WebPkiClientVerifier;

const STEP_S: i64 = 30;

/// Somebody with a certificate, who hears of everything late.
struct Party {
    name: &'static str,
    /// New roots and new certificates of its own are in use after so long.
    lag_s: i64,
    /// It asks for a certificate that lives so long, and for the next one when a part of its life is over.
    asked: Duration,
    renew_percent: i64,
    /// Whether a change of the bundle alone has it renewed.
    follows_bundle: bool,
    leaves: Vec<(i64, CertificateDer<'static>)>,
    renew_at: i64,
}

impl Party {
    fn new(
        name: &'static str,
        lag_s: i64,
        (asked, renew_percent): (Duration, i64),
        follows_bundle: bool,
    ) -> Self {
        Self { name, lag_s, asked, renew_percent, follows_bundle, leaves: Vec::new(), renew_at: 0 }
    }

    fn renew(&mut self, authority: &Authority, now: i64) {
        let identity = Some(Identity::new("shop", "billing"));
        let names = ServerNames { dns: vec!["party".to_owned()], identity, ..ServerNames::default() };
        let issued = authority.issue_server(&names, self.asked, now).unwrap();
        self.renew_at = now + (issued.not_after - now) * self.renew_percent / 100;
        self.leaves.push((now, leaf(&issued.chain_pem)));
    }

    fn leaf(&self, now: i64) -> &CertificateDer<'static> {
        let in_use = self.leaves.iter().rev().find(|(at, _)| at + self.lag_s <= now);
        &in_use.unwrap_or(&self.leaves[0]).1
    }
}

/// The bundle that was told so long ago.
fn bundle(told: &[(i64, String)], party: &Party, now: i64) -> String {
    let known = told.iter().rev().find(|(at, _)| at + party.lag_s <= now);
    known.unwrap_or(&told[0]).1.clone()
}

fn store(bundle: &str) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    Arc::new(store)
}

/// One dials the other: each must believe the other's certificate.
fn call(told: &[(i64, String)], (client, server): (&Party, &Party), now: i64) {
    let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap()));
    let seen = WebPkiServerVerifier::builder(store(&bundle(told, client, now))).build().unwrap();
    let name = ServerName::try_from("party").unwrap();
    let outcome = seen.verify_server_cert(server.leaf(now), &[], &name, &[], at);
    assert!(outcome.is_ok(), "{} does not believe {} at {now}: {outcome:?}", client.name, server.name);
    let seen = WebPkiClientVerifier::builder(store(&bundle(told, server, now))).build().unwrap();
    let outcome = seen.verify_client_cert(client.leaf(now), &[], at);
    assert!(outcome.is_ok(), "{} does not believe {} at {now}: {outcome:?}", server.name, client.name);
}

/// Lets time go by; gives how many roots signed, and the most that were trusted at once.
fn live(mut authority: Authority, mut parties: Vec<Party>, until: i64) -> (usize, usize) {
    runtime::tls::install_provider();
    let mut told = vec![(0, authority.bundle_pem())];
    let (mut signers, mut most) = (std::collections::BTreeSet::new(), 0);
    for now in (NOW..until).step_by(usize::try_from(STEP_S).unwrap()) {
        let mut changed = false;
        if let Some(next) = authority.advanced(now).unwrap() {
            authority = next;
            told.push((now, authority.bundle_pem()));
            changed = true;
        }
        signers.insert(authority.signer(now).unwrap().stored.certificate_pem.clone());
        most = most.max(authority.roots.len());
        for party in &mut parties {
            if party.leaves.is_empty() || now >= party.renew_at || (changed && party.follows_bundle) {
                party.renew(&authority, now);
            }
        }
        for (number, client) in parties.iter().enumerate() {
            for (other, server) in parties.iter().enumerate() {
                if number != other {
                    call(&told, (client, server), now);
                }
            }
        }
    }
    (signers.len(), most)
}

/// Everybody who takes part, each as late as it may be: kubelets bring a Broker's Secret within two minutes.
fn everybody() -> Vec<Party> {
    let day = Duration::from_secs(86_400);
    vec![
        Party::new("publisher", 10, (day, 65), false),
        Party::new("subscriber", 20, (day, 55), false),
        Party::new("operator", 0, (day, 50), true),
        Party::new("webhook", 10, (day * 30, 50), true),
        Party::new("broker", 120, (day * 90, 67), true),
    ]
}

/// Goal: roots cross over again and again while publishers, subscribers, brokers, webhook and operator call one another,
/// and no call fails. Roots of two hours: the shortest for which a broker that hears of everything two minutes late is
/// in time.
#[test]
fn no_call_fails_while_roots_cross_over() {
    let hours = Duration::from_secs(2 * 3600);
    let authority = Authority::create_with("cluster.local", hours, NOW).unwrap();
    let (signers, most) = live(authority, everybody(), NOW + 4 * seconds(hours));
    assert!(signers >= 4, "{signers} roots signed");
    assert_eq!(most, 2);
}

/// Goal: a setting that makes roots shorter, and one that makes them longer again, are taken up without a gap: what the
/// old root signed for ninety days is believed.
#[test]
fn another_setting_leaves_no_gap() {
    let hours = Duration::from_secs(2 * 3600);
    let mut old = everybody();
    let long = Authority::create("cluster.local", NOW).unwrap();
    old.iter_mut().for_each(|party| party.renew(&long, NOW));
    let (signers, _) = live(long.with_root_lifetime(hours), old, NOW + 3 * seconds(hours));
    assert!(signers >= 3, "{signers} roots signed");

    let short = Authority::create_with("cluster.local", hours, NOW).unwrap();
    let mut parties = everybody();
    parties.iter_mut().for_each(|party| party.renew(&short, NOW));
    let (signers, _) = live(short.with_root_lifetime(ROOT_LIFETIME), parties, NOW + 3 * seconds(hours));
    assert_eq!(signers, 2, "one step to a root that lives for years");
}

/// Goal: a root that ended while nobody looked signs nothing any more.
#[test]
fn an_ended_root_does_not_sign() {
    let minute = ROOT_LIFETIME_MIN;
    let authority = Authority::create_with("cluster.local", minute, NOW).unwrap();
    let late = NOW + 2 * seconds(minute);
    let next = authority.advanced(late).unwrap().unwrap();
    assert!(next.root_not_after(late) > late);
    let issued = next.issue_server(&ServerNames::default(), Duration::from_secs(3600), late);
    assert_eq!(issued.unwrap().not_after, late + seconds(minute / PARTS), "no leaf outlives its root");
}
