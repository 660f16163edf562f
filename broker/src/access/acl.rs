//! What a rule is, with the codes of the protocol. Nothing here decides.

use serde::{Deserialize, Serialize};

/// Declares an enumeration of the protocol with its codes.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub(crate) enum $name { $($variant = $code),* }

        impl $name {
            pub(crate) fn from_code(code: i8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            pub(crate) fn code(self) -> i8 {
                self as i8
            }
        }
    };
}

coded!(
    /// What an ACL is about. Delegation tokens and users have no ACLs here: there are no tokens.
    ResourceKind { Topic = 2, Group = 3, Cluster = 4, TransactionalId = 5 }
);
coded!(
    /// How the name of an ACL's resource is meant.
    Pattern { Literal = 3, Prefixed = 4 }
);
coded!(
    /// What is done with a resource.
    Operation {
        All = 2, Read = 3, Write = 4, Create = 5, Delete = 6, Alter = 7, Describe = 8, ClusterAction = 9,
        DescribeConfigs = 10, AlterConfigs = 11, IdempotentWrite = 12,
    }
);
coded!(
    /// Whether an ACL allows or denies; deny wins.
    Permission { Deny = 2, Allow = 3 }
);

impl ResourceKind {
    /// What can be done with such a resource, as Kafka lists it to clients that ask.
    pub(crate) fn operations(self) -> &'static [Operation] {
        use Operation::{
            Alter, AlterConfigs, ClusterAction, Create, Delete, Describe, DescribeConfigs, IdempotentWrite,
            Read, Write,
        };
        match self {
            Self::Topic => &[Read, Write, Create, Delete, Alter, Describe, DescribeConfigs, AlterConfigs],
            Self::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            Self::Cluster => {
                &[Create, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite]
            }
            Self::TransactionalId => &[Write, Describe],
        }
    }
}

impl Operation {
    /// Whether allowing this operation allows another.
    pub(crate) fn implies(self, wanted: Self) -> bool {
        self.covers(wanted)
            || match wanted {
                Self::Describe => matches!(self, Self::Read | Self::Write | Self::Delete | Self::Alter),
                Self::DescribeConfigs => self == Self::AlterConfigs,
                _ => false,
            }
    }

    /// Whether denying this operation denies another.
    pub(crate) fn covers(self, wanted: Self) -> bool {
        self == Self::All || self == wanted
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Acl {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    pub(crate) pattern: Pattern,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: Operation,
    pub(crate) permission: Permission,
}
