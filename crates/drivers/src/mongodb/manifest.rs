//! What in a database is known to be Storelab's: a collection with a document for each collection of ours, written before
//! that is made.
//!
//! The manifest goes with its last entry, and nobody has to be locked out for that: it is renamed to a name of its own,
//! looked at once more, and dropped if it is empty still. Whoever wrote an entry meanwhile has it put back, also after a
//! crash in between, because such remains are read like the manifest itself.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use ::mongodb::bson::RawDocument;
use store::{Dataset, Error, LoadState, Namespace, OwnedObject, Result};

use super::connection::Connection;
use super::document::{document, get_path, get_text};
use super::error::{DUPLICATE_KEY, Failure, NAMESPACE_EXISTS, NAMESPACE_NOT_FOUND};

/// The manifest.
pub(crate) const COLLECTION: &str = "storelab_manifest";

/// What the name begins with that it has on its way out.
const REMAINS: &str = "storelab_manifest_gone_";

/// What an entry is about.
const KIND: &str = "collection";

const LOADING: &str = "loading";
const LOADED: &str = "loaded";

/// A collection that is still there after so many attempts to drop it is being made again and again.
const DROPS_MAX: usize = 10;

/// Something that is ours.
#[derive(Debug, Clone)]
struct Entry {
    object: OwnedObject,
    fingerprint: String,
    is_loaded: bool,
    /// The collection that has the entry.
    kept_in: String,
}

impl Entry {
    /// None where it is not one of ours.
    fn of(document: &RawDocument, kept_in: &str) -> Option<Self> {
        let text = |name| get_text(document, name);
        let (name, namespace) = (text("_id")?, text("namespace")?);
        let inner = namespace.strip_prefix("storelab_").and_then(|inner| Namespace::new(inner).ok());
        let is_named_so = name.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('_') && rest.len() > 1);
        if inner.is_none() || !is_named_so || text("kind") != Some(KIND) {
            return None;
        }
        let object = OwnedObject { namespace: namespace.to_owned(), kind: KIND.to_owned(), name: name.to_owned() };
        let (fingerprint, is_loaded) = (text("fingerprint")?.to_owned(), text("state")? == LOADED);
        Some(Self { object, fingerprint, is_loaded, kept_in: kept_in.to_owned() })
    }
}

/// The names of collections that match a pattern.
async fn names(connection: &mut Connection, pattern: &str) -> Result<BTreeSet<String>> {
    let command = document(|command| {
        command
            .small("listCollections", 1)
            .document("filter", |filter| {
                filter.document("name", |name| name.text("$regex", pattern).end());
            })
            .boolean("nameOnly", true);
    });
    let mut names = BTreeSet::new();
    connection
        .find(command, |found| {
            names.extend(get_text(found, "name").map(str::to_owned));
            Ok(())
        })
        .await?;
    Ok(names)
}

/// The collections of those names that exist.
async fn existing(connection: &mut Connection, wanted: &[String]) -> Result<BTreeSet<String>> {
    // Names of ours have no character that means something in a pattern.
    names(connection, &format!("^({})$", wanted.join("|"))).await
}

/// A collection's identity, which one that is made later under its name has not.
pub(crate) async fn identity(connection: &mut Connection, name: &str) -> Result<Option<[u8; 16]>> {
    let command = document(|command| {
        command.small("listCollections", 1).document("filter", |filter| filter.text("name", name).end());
    });
    let mut identity = None;
    connection
        .find(command, |found| {
            let uuid = get_path(found, "info.uuid").and_then(::mongodb::bson::RawBsonRef::as_binary);
            identity = uuid.and_then(|uuid| uuid.bytes.try_into().ok());
            Ok(())
        })
        .await?;
    Ok(identity)
}

/// Everything that is ours.
///
/// # Errors
/// `Config` where something of the manifest's name is not ours.
async fn entries(connection: &mut Connection) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for kept_in in names(connection, &format!("^({COLLECTION}|{REMAINS}[0-9a-f]+)$")).await? {
        let mut foreign = false;
        let command = document(|command| command.text("find", &kept_in).end());
        let found = connection.find(command, |found| {
            match Entry::of(found, &kept_in) {
                Some(entry) if entries.iter().all(|known| known.object.name != entry.object.name) => {
                    entries.push(entry);
                }
                Some(_) => {}
                None => foreign = true,
            }
            Ok(())
        });
        found.await?;
        if foreign {
            return Err(Error::config(format!("there is a collection `{kept_in}` that Storelab did not make"))
                .with_hint("rename it, or use another database: mongodb://host/NAME"));
        }
    }
    entries.sort_by(|first, second| first.object.name.cmp(&second.object.name));
    Ok(entries)
}

/// What the manifest holds.
pub(crate) async fn owned(connection: &mut Connection) -> Result<Vec<OwnedObject>> {
    Ok(entries(connection).await?.into_iter().map(|entry| entry.object).collect())
}

/// What there is of a dataset that needs those collections.
pub(crate) async fn load_state(connection: &mut Connection, dataset: &Dataset, wanted: &[String]) -> Result<LoadState> {
    let mut entries = entries(connection).await?;
    entries.retain(|entry| entry.object.namespace == dataset.namespace().as_str());
    if entries.is_empty() {
        return Ok(LoadState::Absent);
    }
    let fingerprint = dataset.fingerprint();
    let is_complete = |name: &String| {
        let mut of_name = entries.iter().filter(|entry| entry.object.name == *name);
        of_name.any(|entry| entry.is_loaded && entry.fingerprint == fingerprint)
    };
    if wanted.iter().all(is_complete) && existing(connection, wanted).await?.len() == wanted.len() {
        return Ok(LoadState::Loaded(fingerprint));
    }
    Ok(LoadState::Partial)
}

/// Makes a dataset's collections, empty, in place of earlier ones of ours.
///
/// # Errors
/// `Config` where a name that is needed is somebody else's; nothing is touched then.
pub(crate) async fn begin(connection: &mut Connection, dataset: &Dataset, wanted: &[String]) -> Result<()> {
    let namespace = dataset.namespace();
    let mut entries = entries(connection).await?;
    entries.retain(|entry| entry.object.namespace == namespace.as_str());
    for name in existing(connection, wanted).await? {
        if entries.iter().all(|entry| entry.object.name != name) {
            return Err(not_ours(&name));
        }
    }
    drop_collections(connection, &entries).await?;
    let stale: Vec<_> = entries.into_iter().filter(|entry| !wanted.contains(&entry.object.name)).collect();
    remove_entries(connection, &stale).await?;
    write_entries(connection, dataset, wanted, LOADING).await?;
    for name in wanted {
        let made = connection.command(document(|command| command.text("create", name).end())).await;
        match made {
            Err(Failure { code: NAMESPACE_EXISTS, .. }) => return Err(not_ours(name)),
            result => drop(result?),
        }
    }
    Ok(())
}

fn not_ours(name: &str) -> Error {
    Error::config(format!("there is a collection `{name}` that Storelab did not make"))
        .with_hint("rename it, use another database, or run under another namespace")
}

/// Notes that a dataset is complete, so that neither it nor what was written before it can be lost.
pub(crate) async fn finish(connection: &mut Connection, dataset: &Dataset, wanted: &[String]) -> Result<()> {
    write_entries(connection, dataset, wanted, LOADED).await
}

async fn write_entries(connection: &mut Connection, dataset: &Dataset, names: &[String], state: &str) -> Result<()> {
    let (namespace, fingerprint) = (dataset.namespace().as_str(), dataset.fingerprint());
    let command = document(|command| {
        command.text("update", COLLECTION).array("updates", |updates| {
            for name in names {
                updates.document(|update| {
                    update.document("q", |query| query.text("_id", name).end());
                    update.document("u", |entry| {
                        entry.text("namespace", namespace).text("kind", KIND).text("state", state);
                        entry.text("fingerprint", &fingerprint);
                    });
                    update.boolean("upsert", true);
                });
            }
        });
        durable(command);
    });
    connection.command(command).await?;
    Ok(())
}

/// A write that a restart of any member does not take back.
fn durable(command: &mut super::document::Writer<'_>) {
    command.document("writeConcern", |concern| concern.text("w", "majority").boolean("j", true).end());
}

/// Drops what the manifest holds, of one namespace or of all, and the manifest with its last entry.
pub(crate) async fn clean(connection: &mut Connection, namespace: Option<&Namespace>) -> Result<Vec<OwnedObject>> {
    let mut entries = entries(connection).await?;
    entries.retain(|entry| namespace.is_none_or(|wanted| wanted.as_str() == entry.object.namespace));
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    drop_collections(connection, &entries).await?;
    remove_entries(connection, &entries).await?;
    retire(connection).await?;
    Ok(entries.into_iter().map(|entry| entry.object).collect())
}

/// Drops collections until none of them is there: a command that an earlier connection had sent may have made one.
async fn drop_collections(connection: &mut Connection, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let all: Vec<String> = entries.iter().map(|entry| entry.object.name.clone()).collect();
    let mut left: Vec<String> = all.clone();
    for _ in 0..DROPS_MAX {
        for name in &left {
            drop_collection(connection, name).await?;
        }
        left = existing(connection, &all).await?.into_iter().collect();
        if left.is_empty() {
            return Ok(());
        }
    }
    Err(Error::new(store::ErrorKind::Conflict, format!("`{}` is made again while it is dropped", left[0]))
        .with_hint("end the other process that loads the same data, and try again"))
}

async fn drop_collection(connection: &mut Connection, name: &str) -> Result<()> {
    match connection.command(document(|command| command.text("drop", name).end())).await {
        Err(Failure { code: NAMESPACE_NOT_FOUND, .. }) => Ok(()),
        result => result.map(drop).map_err(Error::from),
    }
}

async fn remove_entries(connection: &mut Connection, entries: &[Entry]) -> Result<()> {
    for entry in entries {
        let command = document(|command| {
            command.text("delete", &entry.kept_in).array("deletes", |deletes| {
                deletes.document(|delete| {
                    delete.document("q", |query| query.text("_id", &entry.object.name).end()).small("limit", 1);
                });
            });
            durable(command);
        });
        connection.command(command).await?;
    }
    Ok(())
}

/// Drops the manifest, and what is left of earlier ones, where they hold nothing.
async fn retire(connection: &mut Connection) -> Result<()> {
    if is_empty(connection, COLLECTION).await? {
        let aside = format!("{REMAINS}{:016x}", RandomState::new().hash_one(std::process::id()));
        let database = connection.database().to_owned();
        let command = document(|command| {
            command
                .text("renameCollection", &format!("{database}.{COLLECTION}"))
                .text("to", &format!("{database}.{aside}"));
        });
        match connection.command_on("admin", command).await {
            // It never was, or somebody else has done the same.
            Err(Failure { code: NAMESPACE_NOT_FOUND, .. }) => {}
            result => drop(result?),
        }
    }
    for remains in names(connection, &format!("^{REMAINS}[0-9a-f]+$")).await? {
        put_back(connection, &remains).await?;
        if is_empty(connection, &remains).await? {
            drop_collection(connection, &remains).await?;
        }
    }
    Ok(())
}

async fn is_empty(connection: &mut Connection, name: &str) -> Result<bool> {
    let command = document(|command| command.text("find", name).small("limit", 1).boolean("singleBatch", true).end());
    Ok(connection.find(command, |_| Ok(())).await? == 0)
}

/// Moves entries that were written while the manifest was renamed.
async fn put_back(connection: &mut Connection, remains: &str) -> Result<()> {
    let mut entries = Vec::new();
    let command = document(|command| command.text("find", remains).end());
    let found = connection.find(command, |found| {
        if let Some(entry) = Entry::of(found, remains) {
            entries.push((entry, found.as_bytes().to_vec()));
        }
        Ok(())
    });
    found.await?;
    for (entry, bytes) in entries {
        let command = document(|command| {
            command.text("insert", COLLECTION).array("documents", |documents| {
                documents.written(&bytes, &[bytes.len()]);
            });
            durable(command);
        });
        match connection.command(command).await {
            // It was written anew since.
            Err(Failure { code: DUPLICATE_KEY, .. }) => {}
            result => drop(result?),
        }
        remove_entries(connection, std::slice::from_ref(&entry)).await?;
    }
    Ok(())
}
