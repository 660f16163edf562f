//! Who is at the other end of a connection. Made once a connection, or once it has authenticated itself.

use runtime::tls::Identity;

/// The name of somebody who has not said who he is.
const ANONYMOUS: &str = "User:ANONYMOUS";

/// How much somebody may do before any rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rights {
    /// Everything: the listener has no authorizer.
    All,
    /// What the rules say.
    Rules,
    /// Nothing, whatever the rules say.
    None,
}

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal {
    /// `User:NAME`.
    text: String,
    /// `User:NAMESPACE/*`, for a service account by certificate.
    namespace: Option<String>,
    rights: Rights,
}

impl Principal {
    /// Somebody on a listener that asks for no name. `authorized`: the rules hold there.
    pub(crate) fn anonymous(authorized: bool) -> Self {
        Self { text: ANONYMOUS.to_owned(), namespace: None, rights: Self::rights(authorized) }
    }

    /// The service account of a certificate.
    pub(crate) fn account(identity: &Identity) -> Self {
        Self {
            text: format!("User:{identity}"),
            namespace: Some(format!("User:{}/*", identity.namespace)),
            rights: Rights::Rules,
        }
    }

    /// Somebody who has proved to be the user NAME. `authorized`: the rules hold there.
    pub(crate) fn user(name: &str, authorized: bool) -> Self {
        Self { text: format!("User:{name}"), namespace: None, rights: Self::rights(authorized) }
    }

    /// A certificate that names no service account.
    pub(crate) fn nobody() -> Self {
        Self { text: ANONYMOUS.to_owned(), namespace: None, rights: Rights::None }
    }

    fn rights(authorized: bool) -> Rights {
        if authorized { Rights::Rules } else { Rights::All }
    }

    /// `User:NAME`, as rules name it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// All names by which rules may mean this one.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        [Some(self.text.as_str()), Some("User:*"), self.namespace.as_deref()].into_iter().flatten()
    }

    /// What is settled without rules.
    pub(super) fn settled(&self) -> Option<bool> {
        match self.rights {
            Rights::All => Some(true),
            Rights::None => Some(false),
            Rights::Rules => None,
        }
    }
}
