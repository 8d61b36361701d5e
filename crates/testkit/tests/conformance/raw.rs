//! The data as its owner sees it, past the driver's verbs: the SQL face, plain commands, or a [`Side`] door.
//!
//! A store with neither SQL nor Redis' commands has one file below `raw/` with its [`Side`], and one line in [`SIDES`].

mod cassandra;
mod dynamodb;
mod elasticsearch;
mod influxdb;
mod mongodb;
mod redis;

use store::{
    Capability, Dataset, Driver, Error, ErrorKind, LocalBoxFuture, OwnedObject, Request, Session, Target, Value,
    execute,
};

use crate::data::{Owned, Seen};
use crate::lab::{CONFLICTS_MAX, Lab};

pub(crate) use cassandra::clients_of;
pub(crate) use redis::{Commands, Reply};

/// A way into a store past its driver's verbs, written with as little of the driver's code as can be.
pub(crate) trait Side {
    /// Makes what users have: a handful of objects with data, some nearly of our names (`storelab`, `my_storelab_manifest`).
    fn populate(&mut self) -> LocalBoxFuture<'_, ()>;

    /// Everything that there is, users' or ours: definitions and data, one line each, in order.
    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>>;

    /// The connections to the server (or to the trial's own database) as the server counts them; none where it does not.
    fn connections(&mut self) -> LocalBoxFuture<'_, Option<usize>> {
        Box::pin(async { None })
    }

    /// Rows, documents or points in these objects, as the server counts them; none where they cannot be counted.
    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>>;

    /// Makes somebody else's object of the name that the dataset's first one would have, with something in it.
    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()>;

    /// Makes somebody else's object of the manifest's name, with something in it.
    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()>;

    /// Changes loaded data as one of [`SideEntry::forgeries`] says.
    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()>;
}

/// A driver's side door.
pub(crate) struct SideEntry {
    /// The driver's name.
    pub(crate) driver: &'static str,
    /// Opens it on a target in clear text.
    pub(crate) open: for<'a> fn(&'a Target) -> LocalBoxFuture<'a, Box<dyn Side>>,
    /// How a trial is alone.
    pub(crate) alone: Alone,
    /// An operation, and the forgery after which it must not succeed on row 7 of 40.
    pub(crate) forgeries: &'static [(&'static str, &'static str)],
}

/// How a trial gets to be alone.
#[derive(Clone, Copy)]
pub(crate) enum Alone {
    /// In a database of its own: makes it, and gives the path by which a target's URL names it.
    Database(for<'a> fn(&'a Target, u64) -> LocalBoxFuture<'a, String>),
    /// With the server to itself: no other trial runs on it meanwhile.
    Server,
}

/// The side doors, alphabetic by driver.
pub(crate) static SIDES: &[&SideEntry] =
    &[&cassandra::ENTRY, &dynamodb::ENTRY, &elasticsearch::ENTRY, &influxdb::ENTRY, &mongodb::SIDE];

/// A driver's side door, where it has one.
pub(crate) fn side(driver: &dyn Driver) -> Option<&'static SideEntry> {
    SIDES.iter().copied().find(|entry| entry.driver == driver.name())
}

/// Whether there is a way in past the driver's verbs.
pub(crate) fn has_other_way_in(driver: &dyn Driver) -> bool {
    driver.capabilities().has(Capability::Sql) || driver.name() == "redis" || side(driver).is_some()
}

/// A way to the data past the driver's verbs.
pub(crate) enum Raw {
    Sql(Box<dyn Session>),
    Redis(Commands),
    Side(Box<dyn Side>),
}

impl Raw {
    /// None for stores that have no other way in.
    pub(crate) async fn open(lab: &Lab) -> Option<Self> {
        if lab.has(Capability::Sql) {
            return Some(Self::Sql(lab.session(None, 1).await));
        }
        if let Some(entry) = side(lab.driver) {
            return Some(Self::Side((entry.open)(&lab.clear_target()).await));
        }
        (lab.driver.name() == "redis").then(|| Self::Redis(Commands::connect(&lab.clear_target())))
    }

    /// Runs a statement that must succeed; its rows.
    pub(crate) async fn sql(&mut self, text: &str) -> Vec<Vec<Owned>> {
        let mut conflicts = 0;
        loop {
            match self.try_sql(text, &[]).await {
                // Others change tables of theirs in the same file meanwhile.
                Err(error) if error.kind() == ErrorKind::Conflict && conflicts < CONFLICTS_MAX => conflicts += 1,
                result => return result.unwrap_or_else(|error| panic!("{text}: {error} ({})", error.kind())),
            }
        }
    }

    /// The whole number that a statement selects.
    pub(crate) async fn number(&mut self, text: &str) -> i64 {
        match self.sql(text).await.as_slice() {
            [row] if matches!(row.as_slice(), [Owned::Integer(_)]) => match row[0] {
                Owned::Integer(number) => number,
                _ => unreachable!("it was just looked at"),
            },
            other => panic!("{text} gave {other:?} and not one whole number"),
        }
    }

    /// Runs a statement; its rows.
    pub(crate) async fn try_sql(&mut self, text: &str, values: &[Value<'_>]) -> Result<Vec<Vec<Owned>>, Error> {
        let Self::Sql(session) = self else { panic!("this store has no SQL") };
        run_sql(session.as_mut(), text, values).await
    }

    /// Plain commands.
    pub(crate) fn redis(&mut self) -> &mut Commands {
        let Self::Redis(commands) = self else { panic!("this store has no such commands") };
        commands
    }
}

/// Prepares and runs a statement on a session; its rows.
pub(crate) async fn run_sql(
    session: &mut dyn Session,
    text: &str,
    parameters: &[Value<'_>],
) -> Result<Vec<Vec<Owned>>, Error> {
    let statement = session.sql().expect("the store has the SQL face").prepare(text).await?;
    let mut seen = Seen::default();
    execute(session, &Request::Statement { statement, parameters }, &mut seen).await?;
    Ok(seen.rows.into_iter().map(|row| row.values.into_values().collect()).collect())
}
