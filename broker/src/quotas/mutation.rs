//! The quota of one request that makes or deletes partitions.

use kafka_wire::ErrorCode;

use super::{Bucket, Quotas, entity::Kind, limits::Who};
use crate::partition::Refusal;

/// What one request may change, and how long its client has to wait for what it did.
pub(crate) struct Mutation {
    limit: Option<(f64, Who)>,
    strict: bool,
    /// For the answer.
    pub(crate) throttle_time_ms: i32,
}

impl Mutation {
    pub(super) fn new(limit: Option<(f64, Who)>, strict: bool) -> Self {
        Self { limit, strict, throttle_time_ms: 0 }
    }

    /// Whether the client has such a quota.
    pub(crate) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Takes what a change costs. One that finds nothing left is refused where the client knows that error; it is made
    /// where it does not, and the client waits longer for the next. A change that finds little left is made.
    pub(crate) fn take(&mut self, quotas: &Quotas, partitions: usize) -> Result<(), Refusal> {
        let Some((limit, who)) = &self.limit else { return Ok(()) };
        let (limit, strict, now_ms) = (*limit, self.strict, quotas.now_ms());
        let mut refused = false;
        let wait_ms = quotas.buckets.with(who.clone(), now_ms, |bucket: &mut Bucket, windows| {
            refused = strict && bucket.tokens(limit, now_ms, windows) < 0.0;
            if !refused {
                bucket.take(super::float(partitions), limit, now_ms, windows);
            }
            if strict && !refused { 0.0 } else { bucket.wait_ms(limit, now_ms, windows) }
        });
        self.throttle_time_ms = self.throttle_time_ms.max(quotas.settle(Kind::Mutation, wait_ms));
        if refused { Err(ErrorCode::ThrottlingQuotaExceeded.into()) } else { Ok(()) }
    }
}
