//! Keeps other processes out while the manifest changes.

use std::time::Instant;

use store::{Error, ErrorKind, Result, Value};

use super::Link;
use super::manifest::{PATIENCE, PAUSE, Script};

/// How many locks there are where dead sessions may hold some.
const NUMBERS: u32 = 100;

/// How often a lock may be refused for no reason of the asker's.
const REFUSALS_MAX: u32 = 3;

/// Locks that outlive the sessions that hold them. So there are many, by number, and everybody takes the first that no dead
/// session holds. Then the dialect's `lock` has the number as its parameter.
#[derive(Debug)]
pub(crate) struct OutlivingLocks {
    /// One parameter, a number; one row with the session that holds the lock, or NULL.
    pub(crate) holder: &'static str,
    /// One parameter, a session; one row where it lives.
    pub(crate) session: &'static str,
    /// One row with this session.
    pub(crate) own_session: &'static str,
}

impl<L: Link> Script<'_, L> {
    /// Keeps other processes out while the manifest changes. To be followed by `unlock`, whatever happens.
    ///
    /// # Errors
    /// `Conflict` where others keep it for longer than patience lasts.
    pub(super) async fn lock(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut refusals = 0;
        while !self.try_lock(&mut refusals).await? {
            if Instant::now() > until {
                return Err(Error::new(ErrorKind::Conflict, "another process is changing storelab's objects there")
                    .with_hint("wait until it has ended and try again"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Ends `lock`, and gives what was done in it.
    pub(super) async fn unlock<T>(&mut self, result: Result<T>) -> Result<T> {
        let unlocked = self.run(self.dialect.unlock, &[]).await.map(|_| ());
        let value = result?;
        unlocked.map(|()| value)
    }

    /// Whether the lock was got; where many want it at once, some products refuse it before its own time is over.
    async fn try_lock(&mut self, refusals: &mut u32) -> Result<bool> {
        let got = match self.dialect.outliving_locks {
            Some(locks) => self.lock_one_of(locks).await,
            None => self.take_lock(&[]).await,
        };
        match got {
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            // OceanBase has an internal error for some of those that ask at once for a lock that there never was.
            Err(error)
                if error.kind() == ErrorKind::Rejected
                    && self.dialect.outliving_locks.is_some()
                    && *refusals < REFUSALS_MAX =>
            {
                *refusals += 1;
                Ok(false)
            }
            got => got,
        }
    }

    async fn take_lock(&mut self, parameters: &[&str]) -> Result<bool> {
        let rows = self.run(self.dialect.lock, parameters).await?;
        Ok(rows.is_empty() || rows.value(0, 0) == Value::Integer(1))
    }

    async fn lock_one_of(&mut self, locks: &OutlivingLocks) -> Result<bool> {
        let number = self.first_of_the_living(locks).await?.to_string();
        if !self.take_lock(&[&number]).await? {
            return Ok(false);
        }
        // Several that ask at once for a lock that there never was may all be told that they have it. Who has it is settled
        // a moment later.
        tokio::time::sleep(PAUSE).await;
        let is_own = self.is_own(locks, &number).await;
        if !matches!(is_own, Ok(true)) {
            self.run(self.dialect.unlock, &[]).await?;
        }
        is_own
    }

    async fn is_own(&mut self, locks: &OutlivingLocks, number: &str) -> Result<bool> {
        let own = self.session_of(locks.own_session, &[]).await?;
        Ok(own.is_some() && self.session_of(locks.holder, &[number]).await? == own)
    }

    /// The first number whose lock no dead session holds. A session that held it before and after a look at those that
    /// live, and was not among them, is dead and holds it for ever: whoever gave it back in between would be either gone
    /// from the lock or among the living.
    async fn first_of_the_living(&mut self, locks: &OutlivingLocks) -> Result<u32> {
        for number in 0..NUMBERS {
            let text = number.to_string();
            let Some(holder) = self.session_of(locks.holder, &[&text]).await? else { return Ok(number) };
            let lives = !self.run(locks.session, &[&holder.to_string()]).await?.is_empty();
            if lives || self.session_of(locks.holder, &[&text]).await? != Some(holder) {
                return Ok(number);
            }
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("all {NUMBERS} locks of the manifest are held by sessions that are gone"),
        )
        .with_hint("use another database there: the server keeps the named locks of sessions that were cut off, over a restart too"))
    }

    async fn session_of(&mut self, text: &str, parameters: &[&str]) -> Result<Option<i64>> {
        let rows = self.run(text, parameters).await?;
        let Value::Integer(session) = rows.value(0, 0) else { return Ok(None) };
        Ok(Some(session))
    }
}
