//! The tokens that the service knows, in memory: each request is compared with all of them.

use std::hint::black_box;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use results::service::{Token, TokenHash, TokenSecret};
use tokio::sync::Mutex;

use super::Actor;
use crate::problem::Problem;
use crate::storage::Storage;

/// How old what is known may be: a token that another process made or took back counts after this at the latest.
const AGE_MAX: Duration = Duration::from_secs(1);

/// All tokens, read again when they have become old.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    known: RwLock<Option<Known>>,
    /// One reads them again, the others wait for that.
    reading: Mutex<()>,
}

/// All tokens as they were at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    tokens: Arc<[Token]>,
    read_at: Instant,
}

impl Tokens {
    /// The tokens of now.
    ///
    /// # Errors
    /// 503 where the store does not answer: who cannot be known is not let in.
    pub(crate) async fn current(&self, storage: &Storage) -> Result<Known, Problem> {
        if let Some(known) = self.fresh() {
            return Ok(known);
        }
        let _reading = self.reading.lock().await;
        if let Some(known) = self.fresh() {
            return Ok(known);
        }
        let read_at = Instant::now();
        let tokens = storage.read(results::Results::tokens).await?;
        let known = Known { tokens: tokens.into(), read_at };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        Ok(known)
    }

    /// Forgets what is known: a token was made or taken back here, which counts at once.
    pub(crate) fn forget(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn fresh(&self) -> Option<Known> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|known| known.read_at.elapsed() < AGE_MAX).cloned()
    }
}

impl Known {
    /// Whether there has never been a token. One that is revoked or expired closes the service all the same: who took it back
    /// did not mean to let everybody in.
    pub(crate) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Who sent that token, where it is valid.
    pub(crate) fn owner_of(&self, secret: &TokenSecret, now: Timestamp) -> Option<Actor> {
        let hash = secret.hash();
        let mut found = None;
        // All of them, whichever it is, and each to its end.
        for token in &*self.tokens {
            if are_equal(&token.hash, &hash) {
                found = Some(token);
            }
        }
        let token = found.filter(|token| token.is_valid(now))?;
        Some(Actor { role: token.role, name: token.name.clone(), token: Some(token.id) })
    }
}

/// Compares without stopping at the first difference, so that time tells nothing about what is kept.
fn are_equal(one: &TokenHash, other: &TokenHash) -> bool {
    black_box(one.iter().zip(other).fold(0, |differences, (a, b)| black_box(differences | (a ^ b)))) == 0
}

#[cfg(test)]
mod tests {
    use results::service::Role;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_a_valid_token_has_an_owner() {
        let secret = TokenSecret::sent("storelab_x");
        let at = |second| Timestamp::from_second(second).expect("in range");
        let token = Token {
            id: Uuid::nil(),
            name: "ci".to_owned(),
            role: Role::Operator,
            hash: secret.hash(),
            created_at: at(0),
            expires_at: Some(at(10)),
            revoked_at: None,
        };
        let known = |token: Token| Known { tokens: vec![token].into(), read_at: Instant::now() };
        let owner = known(token.clone()).owner_of(&secret, at(9)).expect("it is valid");
        assert_eq!((owner.name.as_str(), owner.role), ("ci", Role::Operator));
        assert_eq!(known(token.clone()).owner_of(&secret, at(10)), None, "expired");
        assert_eq!(known(token.clone()).owner_of(&TokenSecret::sent("storelab_y"), at(9)), None, "another");
        let revoked = Token { revoked_at: Some(at(5)), ..token };
        assert_eq!(known(revoked.clone()).owner_of(&secret, at(6)), None, "revoked");
        assert!(!known(revoked).is_empty());
    }
}
