//! Which of all quotas holds for a caller. The nearest one, in Kafka's order; nothing is counted here.

use std::collections::{BTreeMap, HashMap};

use super::entity::{Entity, Kind, Name};

/// The quotas of one entity.
pub(crate) type Values = BTreeMap<Kind, f64>;
/// All quotas.
pub(crate) type All = BTreeMap<Entity, Values>;

/// Who shares a quota: what is counted is counted for all of them together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    User(String),
    ClientId(String),
    UserAndClientId(String, String),
    Address(String),
}

/// Something for each name, and for all others.
#[derive(Debug, Default)]
struct ByName<T> {
    default: T,
    exactly: HashMap<String, T>,
}

impl<T: Default> ByName<T> {
    fn entry(&mut self, name: &Name) -> &mut T {
        match name {
            Name::Default => &mut self.default,
            Name::Exactly(name) => self.exactly.entry(name.clone()).or_default(),
        }
    }

    /// The nearest first.
    fn levels(&self, name: &str) -> impl Iterator<Item = &T> {
        self.exactly.get(name).into_iter().chain([&self.default])
    }
}

#[derive(Debug, Default)]
struct OfUser {
    own: Values,
    clients: ByName<Values>,
}

/// All quotas, by who calls.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    users: ByName<OfUser>,
    clients: ByName<Values>,
    addresses: ByName<Values>,
}

impl Limits {
    pub(crate) fn of(quotas: &All) -> Self {
        let mut limits = Self::default();
        for (entity, values) in quotas {
            let slot = match entity {
                Entity::User(user) => &mut limits.users.entry(user).own,
                Entity::UserAndClientId(user, client_id) => limits.users.entry(user).clients.entry(client_id),
                Entity::ClientId(client_id) => limits.clients.entry(client_id),
                Entity::Ip(address) => limits.addresses.entry(address),
            };
            slot.clone_from(values);
        }
        limits
    }

    /// What a client may have, and with whom it shares that. Kafka's eight levels: the user with the client id, the
    /// user with any, the user; then the same of any user; then the client id, and any.
    pub(crate) fn of_client(&self, kind: Kind, user: &str, client_id: &str) -> Option<(f64, Who)> {
        for level in self.users.levels(user) {
            let mut clients = level.clients.levels(client_id);
            if let Some(limit) = clients.find_map(|values| values.get(&kind)) {
                return Some((*limit, Who::UserAndClientId(user.to_owned(), client_id.to_owned())));
            }
            if let Some(limit) = level.own.get(&kind) {
                return Some((*limit, Who::User(user.to_owned())));
            }
        }
        let limit = self.clients.levels(client_id).find_map(|values| values.get(&kind))?;
        Some((*limit, Who::ClientId(client_id.to_owned())))
    }

    /// How many connections a second an address may make.
    pub(crate) fn of_address(&self, address: &str) -> Option<(f64, Who)> {
        let mut levels = self.addresses.levels(address);
        let limit = levels.find_map(|values| values.get(&Kind::Connection))?;
        Some((*limit, Who::Address(address.to_owned())))
    }
}
