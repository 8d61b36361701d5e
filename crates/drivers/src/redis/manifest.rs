//! What in a server is known to be Storelab's: one hash, from namespace to state, written before the first key is.
//!
//! In a cluster the hash is on the master of its slot, and the keys that it speaks of are on all of them.

use std::collections::BTreeMap;

use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result};

use super::connection::Connection;
use super::reply::Replies;
use super::servers::Servers;
use crate::resp::{argument, command, command_of};

/// The hash's key.
pub(crate) const KEY: &[u8] = b"storelab_manifest";

/// What an entry begins with while its load is under way, and once it is complete; the fingerprint follows.
const LOADING: &str = "loading ";
const LOADED: &str = "loaded ";

/// How long an entry may take to reach a replica. A replica that is there needs less than a millisecond.
const REPLICATION_MILLISECONDS: &[u8] = b"500";

/// Keys that the server looks at for one step of a walk: it answers nobody else meanwhile, so about a millisecond.
const SCAN_COUNT: &[u8] = b"1000";

/// The namespaces that are ours, with their states. Fields that cannot be ours are not taken for it: their keys are
/// neither listed nor removed.
pub(crate) async fn entries(servers: &mut Servers) -> Result<BTreeMap<String, (Namespace, LoadState)>> {
    let read = |replies: &mut Replies<'_>| {
        let mut entries = BTreeMap::new();
        for _ in 0..replies.array()? / 2 {
            let (name, state) = (replies.bytes()?, replies.bytes()?);
            let name = String::from_utf8_lossy(name);
            if let Some(namespace) = name.strip_prefix("storelab_").and_then(|name| Namespace::new(name).ok()) {
                entries.insert(name.into_owned(), (namespace, state_of(state)));
            }
        }
        Ok(entries)
    };
    servers.keeper().ask(&[b"HGETALL", KEY], read).await.map_err(in_the_way)
}

/// What there is of a dataset.
pub(crate) async fn load_state(servers: &mut Servers, dataset: &Dataset) -> Result<LoadState> {
    let field = dataset.namespace().as_str().as_bytes();
    let read = |replies: &mut Replies<'_>| Ok(replies.bulk()?.map_or(LoadState::Absent, state_of));
    servers.keeper().ask(&[b"HGET", KEY, field], read).await.map_err(in_the_way)
}

fn state_of(entry: &[u8]) -> LoadState {
    match String::from_utf8_lossy(entry).strip_prefix(LOADED) {
        Some(fingerprint) => LoadState::Loaded(fingerprint.to_owned()),
        None => LoadState::Partial,
    }
}

/// Makes the namespace ours and empty.
///
/// # Errors
/// `Config` where keys that are not ours have its prefix.
pub(crate) async fn begin(servers: &mut Servers, dataset: &Dataset) -> Result<()> {
    let namespace = dataset.namespace();
    let ours = load_state(servers, dataset).await? != LoadState::Absent;
    if !ours {
        for connection in servers.all() {
            if any_key(connection, namespace).await? {
                return Err(Error::config(format!(
                    "keys that start with `{namespace}:` exist, and Storelab did not make them"
                ))
                .with_hint("rename or remove them, choose another database, or run under another namespace"));
            }
        }
    }
    write(servers, dataset, LOADING).await?;
    if ours {
        remove_keys(servers, namespace).await?;
    }
    Ok(())
}

/// Notes that the dataset is complete.
pub(crate) async fn finish(servers: &mut Servers, dataset: &Dataset) -> Result<()> {
    write(servers, dataset, LOADED).await
}

async fn write(servers: &mut Servers, dataset: &Dataset, state: &str) -> Result<()> {
    let entry = format!("{state}{}", dataset.fingerprint());
    let field = dataset.namespace().as_str().as_bytes();
    let has_replicas = servers.has_replicas();
    let keeper = servers.keeper();
    keeper.tell(&[b"HSET", KEY, field, entry.as_bytes()]).await.map_err(in_the_way)?;
    if has_replicas {
        // A replica that takes over must know what is ours. One that is away cannot, and does not keep us from working.
        keeper.tell(&[b"WAIT", b"1", REPLICATION_MILLISECONDS]).await?;
    }
    Ok(())
}

/// Removes a namespace's keys and then its entry.
pub(crate) async fn clean(servers: &mut Servers, namespace: &Namespace) -> Result<OwnedObject> {
    remove_keys(servers, namespace).await?;
    servers.keeper().tell(&[b"HDEL", KEY, namespace.as_str().as_bytes()]).await?;
    Ok(owned_object(namespace))
}

/// A namespace as one thing that is ours.
pub(crate) fn owned_object(namespace: &Namespace) -> OwnedObject {
    OwnedObject { namespace: namespace.to_string(), kind: "keys".to_owned(), name: format!("{namespace}:*") }
}

fn in_the_way(error: Error) -> Error {
    if error.kind() == ErrorKind::Rejected && error.to_string().contains("WRONGTYPE") {
        return Error::config("a key `storelab_manifest` exists that Storelab did not make")
            .with_hint("rename it, or choose another database: redis://host/1")
            .with_source(error);
    }
    error
}

/// One step of a walk over all keys: those of the namespace, and where the walk goes on; it ends at `0`.
async fn scan(connection: &mut Connection, namespace: &Namespace, cursor: &[u8]) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    // A namespace has no character that means something in a pattern.
    let pattern = format!("{namespace}:*");
    let command: &[&[u8]] = &[b"SCAN", cursor, b"MATCH", pattern.as_bytes(), b"COUNT", SCAN_COUNT];
    let read = |replies: &mut Replies<'_>| {
        replies.array()?;
        let cursor = replies.bytes()?.to_vec();
        let count = replies.array()?;
        let keys = (0..count).map(|_| replies.bytes().map(<[u8]>::to_vec)).collect::<Result<_>>()?;
        Ok((cursor, keys))
    };
    connection.ask(command, read).await
}

async fn any_key(connection: &mut Connection, namespace: &Namespace) -> Result<bool> {
    let mut cursor = b"0".to_vec();
    loop {
        let (next, keys) = scan(connection, namespace, &cursor).await?;
        if !keys.is_empty() {
            return Ok(true);
        }
        if next == b"0" {
            return Ok(false);
        }
        cursor = next;
    }
}

async fn remove_keys(servers: &mut Servers, namespace: &Namespace) -> Result<()> {
    let is_cluster = servers.is_cluster();
    for connection in servers.all() {
        let mut cursor = b"0".to_vec();
        loop {
            let (next, keys) = scan(connection, namespace, &cursor).await?;
            let replies = unlink(connection.out(), &keys, is_cluster);
            if replies > 0 {
                connection.confirm(replies).await?;
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
    }
    Ok(())
}

/// Appends what removes keys: one command, or in a cluster, where a command's keys must share a slot, one for each. How many
/// replies that has. UNLINK frees the memory beside the server's work, where DEL would make everybody wait.
fn unlink(out: &mut Vec<u8>, keys: &[Vec<u8>], is_cluster: bool) -> u32 {
    if is_cluster {
        for key in keys {
            command_of(out, &[b"UNLINK", key]);
        }
        return keys.len() as u32;
    }
    if keys.is_empty() {
        return 0;
    }
    command(out, 1 + keys.len());
    argument(out, b"UNLINK");
    for key in keys {
        argument(out, key);
    }
    1
}
