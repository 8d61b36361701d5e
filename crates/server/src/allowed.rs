//! Where load may go at this moment: this machine where the operator says so, and what administrators have allowed.

use std::sync::{PoisonError, RwLock};

use results::Results;
use results::service::AllowedTarget as Kept;

use crate::policy::{AllowedTarget, Policy};

/// The policy of now, which runs ask for from threads of their own.
#[derive(Debug)]
pub(crate) struct Allowed {
    is_loopback_allowed: bool,
    policy: RwLock<Policy>,
}

impl Allowed {
    /// With the targets that are kept.
    pub(crate) fn new(is_loopback_allowed: bool, kept: Vec<Kept>) -> Self {
        Self { is_loopback_allowed, policy: RwLock::new(policy(is_loopback_allowed, kept)) }
    }

    /// As it was when it was last renewed.
    pub(crate) fn current(&self) -> Policy {
        self.policy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over the targets that are kept now.
    pub(crate) fn renew(&self, kept: Vec<Kept>) -> Policy {
        let policy = policy(self.is_loopback_allowed, kept);
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = policy.clone();
        policy
    }
}

/// Where a load may go that somebody asked a service on that store for, whoever drives it.
///
/// # Errors
/// What reading may bring.
pub fn policy_of(results: &mut Results, is_loopback_allowed: bool) -> results::Result<Policy> {
    Ok(policy(is_loopback_allowed, results.targets()?))
}

fn policy(is_loopback_allowed: bool, kept: Vec<Kept>) -> Policy {
    // One that today's rules would refuse, though it was allowed under older ones, is left out.
    let allowed = kept.into_iter().filter_map(|target| {
        AllowedTarget::new(&target.host, target.port, target.addresses)
            .inspect_err(|refusal| {
                tracing::warn!("{}:{} is no longer allowed: {}", target.host, target.port, refusal.reason);
            })
            .ok()
    });
    Policy::new(is_loopback_allowed, allowed.collect())
}
