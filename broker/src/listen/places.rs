//! How many connections there may be, in all and from one address. Counts; opens and closes nothing.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// Why there is no place. The words are values of a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl Full {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
        }
    }
}

/// The connections that there are; no more addresses are known than have one.
#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    total_max: usize,
    address_max: usize,
    taken: Mutex<Taken>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(crate) fn new(total_max: usize, address_max: usize) -> Arc<Self> {
        Arc::new(Self { total_max, address_max, taken: Mutex::default() })
    }

    /// A place for a connection from an address.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.total >= self.total_max {
            return Err(Full::Total);
        }
        let here = taken.by_address.get(&address).copied().unwrap_or_default();
        if here >= self.address_max {
            return Err(Full::Address);
        }
        taken.total += 1;
        taken.by_address.insert(address, here + 1);
        Ok(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total = taken.total.saturating_sub(1);
        let left = taken.by_address.get(&self.address).map_or(0, |here| here.saturating_sub(1));
        if left == 0 {
            taken.by_address.remove(&self.address);
        } else {
            taken.by_address.insert(self.address, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: neither limit is passed, a place that is given back can be taken again, and nothing is kept of an
    /// address that has no connection.
    #[test]
    fn places_are_counted() {
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let places = Places::new(3, 2);
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert_eq!(places.take(one).err(), Some(Full::Address));
        let third = places.take(two).unwrap();
        assert_eq!(places.take(two).err(), Some(Full::Total));
        drop(first);
        let _again = places.take(one).unwrap();
        drop(third);
        assert_eq!(places.taken.lock().unwrap().by_address.len(), 1);
    }
}
