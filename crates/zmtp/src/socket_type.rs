//! The socket types of ZeroMQ and who may talk to whom.

use std::fmt;

/// A socket type of rfc:28, rfc:29, rfc:30 and rfc:31 (the draft types are left out).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketType {
    /// Publishes, no subscriptions visible.
    Pub,
    /// Subscribes by prefix.
    Sub,
    /// Publishes and sees subscriptions.
    XPub,
    /// Subscribes with messages of its own.
    XSub,
    /// Sends work.
    Push,
    /// Takes work.
    Pull,
    /// Asks, then waits.
    Req,
    /// Answers.
    Rep,
    /// Asks without waiting.
    Dealer,
    /// Answers by identity.
    Router,
    /// One to one.
    Pair,
}

impl SocketType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Pub,
        Self::Sub,
        Self::XPub,
        Self::XSub,
        Self::Push,
        Self::Pull,
        Self::Req,
        Self::Rep,
        Self::Dealer,
        Self::Router,
        Self::Pair,
    ];

    /// The name in READY: upper case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::XPub => "XPUB",
            Self::XSub => "XSUB",
            Self::Push => "PUSH",
            Self::Pull => "PULL",
            Self::Req => "REQ",
            Self::Rep => "REP",
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
            Self::Pair => "PAIR",
        }
    }

    /// Reads a name as READY carries it; `None` for anything else.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|socket_type| socket_type.as_str().as_bytes() == name)
    }

    /// Whether a socket of this type may talk to one of `other`.
    #[must_use]
    pub fn talks_to(self, other: Self) -> bool {
        use SocketType::{Dealer, Pair, Pub, Pull, Push, Rep, Req, Router, Sub, XPub, XSub};
        match self {
            Pub | XPub => matches!(other, Sub | XSub),
            Sub | XSub => matches!(other, Pub | XPub),
            Push => other == Pull,
            Pull => other == Push,
            Req => matches!(other, Rep | Router),
            Rep => matches!(other, Req | Dealer),
            Dealer => matches!(other, Rep | Dealer | Router),
            Router => matches!(other, Req | Dealer | Router),
            Pair => other == Pair,
        }
    }

    /// The types this one talks to, in words: `SUB or XSUB`.
    #[must_use]
    pub fn peers(self) -> String {
        let names: Vec<&str> =
            Self::ALL.into_iter().filter(|other| self.talks_to(*other)).map(Self::as_str).collect();
        names.join(" or ")
    }

    /// Whether this type sends subscriptions.
    #[must_use]
    pub fn subscribes(self) -> bool {
        matches!(self, Self::Sub | Self::XSub)
    }

    /// Whether this type receives subscriptions.
    #[must_use]
    pub fn publishes(self) -> bool {
        matches!(self, Self::Pub | Self::XPub)
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::SocketType;

    /// Goal: the table of who may talk to whom is symmetric, and names come back.
    #[test]
    fn pairs_are_symmetric_and_names_round_trip() {
        for one in SocketType::ALL {
            assert_eq!(SocketType::parse(one.as_str().as_bytes()), Some(one));
            assert!(!one.peers().is_empty());
            for other in SocketType::ALL {
                assert_eq!(one.talks_to(other), other.talks_to(one), "{one} and {other}");
            }
        }
        assert_eq!(SocketType::parse(b"pub"), None);
        assert_eq!(SocketType::Pub.peers(), "SUB or XSUB");
    }
}
