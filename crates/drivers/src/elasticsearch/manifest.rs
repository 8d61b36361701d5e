//! What in a cluster is known to be Storelab's.
//!
//! The manifest is the alias `storelab_manifest`. It leads to one empty index for each namespace, whose mapping says
//! under `_meta` what was made for it, written before that is made: an index, its alias and its `_meta` come into being
//! in one step of the cluster's own state, which all its nodes agree on, and the alias goes with its last index.
//! Whoever has something else of that name is told so by the server.
//!
//! Indices of data carry a mark of the same kind, so that one that somebody else made meanwhile is never dropped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Dataset, Error, LoadState, Namespace, OwnedObject, Result};

use super::client::{Client, understood};
use super::failure::Failure;
use super::indices::{self, Index};
use crate::http::{Method, StatusCode};

/// The alias.
const ALIAS: &str = "storelab_manifest";

/// What we keep under `_meta` in a mapping.
const MARK: &str = "storelab";

/// How long the cluster may take to agree on what it was asked before.
const AGREEMENT_TIMEOUT: &str = "30s";

/// What is known of a namespace.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    namespace: String,
    fingerprint: String,
    loaded: bool,
    /// The names of its indices, without the namespace.
    indices: Vec<String>,
}

/// The reply to the question for mappings, by index.
type Mappings = BTreeMap<String, Mapping>;

#[derive(Deserialize)]
struct Mapping {
    mappings: Meta,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "_meta", default)]
    meta: Value,
}

impl Entry {
    fn of(dataset: &Dataset, indices: Vec<String>) -> Self {
        let (namespace, fingerprint) = (dataset.namespace().to_string(), dataset.fingerprint());
        Self { namespace, fingerprint, loaded: false, indices }
    }

    /// The entry of an index that the alias leads to; none where it is not of our making.
    fn read(index: &str, mapping: &Mapping) -> Option<(Namespace, Self)> {
        let entry: Self = serde_json::from_value(mapping.mappings.meta.get(MARK)?.clone()).ok()?;
        let namespace = Namespace::new(entry.namespace.strip_prefix("storelab_")?).ok()?;
        // Names go into paths, where a star or a comma would mean other indices.
        let is_plain = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let is_ours = index == index_of(&namespace) && entry.indices.iter().all(is_plain);
        is_ours.then_some((namespace, entry))
    }

    fn meta(&self) -> Value {
        json!({ MARK: self })
    }

    /// What there is of the data.
    pub(super) fn state(&self) -> LoadState {
        if self.loaded { LoadState::Loaded(self.fingerprint.clone()) } else { LoadState::Partial }
    }

    /// What was made.
    pub(super) fn objects(&self, namespace: &Namespace) -> Vec<OwnedObject> {
        let object = |name: &String| OwnedObject {
            namespace: namespace.to_string(),
            kind: "index".to_owned(),
            name: namespace.object(name),
        };
        self.indices.iter().map(object).collect()
    }
}

/// The index that is a namespace's entry.
fn index_of(namespace: &Namespace) -> String {
    namespace.object("manifest")
}

/// The namespaces that are ours.
///
/// # Errors
/// `Config` where the manifest's name is somebody else's.
pub(super) async fn entries(client: &mut Client, prefix: &str) -> Result<BTreeMap<Namespace, Entry>> {
    let path = format!("{prefix}/{ALIAS}/_mapping");
    let mappings = mappings(client, &path).await?;
    mappings.iter().map(|(index, mapping)| Entry::read(index, mapping).ok_or_else(|| in_the_way(ALIAS))).collect()
}

/// What there is of a dataset.
pub(super) async fn state(client: &mut Client, prefix: &str, dataset: &Dataset) -> Result<LoadState> {
    let entries = entries(client, prefix).await?;
    Ok(entries.get(dataset.namespace()).map_or(LoadState::Absent, Entry::state))
}

/// Notes what is going to be made for a dataset, and drops what was made for another of its namespace.
///
/// # Errors
/// `Config` where a name that it needs is somebody else's.
pub(super) async fn begin(client: &mut Client, prefix: &str, dataset: &Dataset, indices: &[Index]) -> Result<()> {
    let namespace = dataset.namespace();
    let earlier = entries(client, prefix).await?.remove(namespace);
    let names: Vec<String> = indices.iter().map(|index| index.name.to_owned()).collect();
    let mut all = earlier.map_or_else(Vec::new, |entry| entry.indices);
    let is_new = all.is_empty();
    let added = names.iter().filter(|name| !all.contains(name)).cloned().collect::<Vec<_>>();
    let mut needed: Vec<String> = added.iter().flat_map(|name| indices::names(namespace, name)).collect();
    if is_new {
        needed.push(index_of(namespace));
    }
    if let Some(taken) = existing(client, prefix, &needed).await?.into_keys().next() {
        // An alias of a name that is needed leads to an index of another.
        return Err(in_the_way(if needed.contains(&taken) { taken } else { needed.join("` or `") }.as_str()));
    }
    all.extend(added);
    if is_new {
        make_entry(client, prefix, &Entry::of(dataset, all), namespace).await?;
    } else {
        write(client, prefix, &Entry::of(dataset, all.clone()), namespace).await?;
        drop_indices(client, prefix, namespace, &all).await?;
        write(client, prefix, &Entry::of(dataset, names), namespace).await?;
    }
    Ok(())
}

/// Notes that the dataset is complete.
pub(super) async fn finish(client: &mut Client, prefix: &str, dataset: &Dataset, indices: &[Index]) -> Result<()> {
    let names = indices.iter().map(|index| index.name.to_owned()).collect();
    let entry = Entry { loaded: true, ..Entry::of(dataset, names) };
    write(client, prefix, &entry, dataset.namespace()).await
}

/// Drops what was made for a namespace, and then its entry; what that was.
pub(super) async fn clean(
    client: &mut Client,
    prefix: &str,
    namespace: &Namespace,
    entry: &Entry,
) -> Result<Vec<OwnedObject>> {
    // An index whose maker was interrupted may still be on its way: the cluster does what it is asked in its order.
    let path = format!("{prefix}/_cluster/health?wait_for_events=languid&timeout={AGREEMENT_TIMEOUT}");
    client.send(Method::GET, &path, b"").await?;
    drop_indices(client, prefix, namespace, &entry.indices).await?;
    drop_all(client, prefix, &[index_of(namespace)]).await?;
    Ok(entry.objects(namespace))
}

/// What an index of ours says of itself.
pub(super) fn mark(namespace: &Namespace) -> Value {
    json!({ MARK: { "namespace": namespace.as_str() } })
}

/// That a name is somebody else's.
pub(super) fn in_the_way(name: &str) -> Error {
    Error::config(format!("an index or alias `{name}` exists, and Storelab did not make it"))
        .with_hint("rename or remove it, choose another cluster, or run under another namespace")
}

async fn make_entry(client: &mut Client, prefix: &str, entry: &Entry, namespace: &Namespace) -> Result<()> {
    let body = json!({
        "settings": { "number_of_shards": 1, "auto_expand_replicas": "0-1" },
        "mappings": { "dynamic": false, "_meta": entry.meta() },
        "aliases": { ALIAS: {} },
    });
    // Nobody reads it but for its mapping, which the cluster has without its shards.
    let path = format!("{prefix}/{}?wait_for_active_shards=0", index_of(namespace));
    let reply = client.send(Method::PUT, &path, body.to_string().as_bytes()).await?;
    if reply.status.is_success() {
        return Ok(());
    }
    let failure = Failure::of(reply);
    if failure.is("invalid_alias_name_exception") {
        return Err(in_the_way(ALIAS));
    }
    Err(if failure.is("resource_already_exists_exception") {
        in_the_way(&index_of(namespace))
    } else {
        failure.into_error()
    })
}

async fn write(client: &mut Client, prefix: &str, entry: &Entry, namespace: &Namespace) -> Result<()> {
    let body = json!({ "_meta": entry.meta() }).to_string();
    client.ask::<Value>(Method::PUT, &format!("{prefix}/{}/_mapping", index_of(namespace)), &body).await.map(|_| ())
}

/// Which of these names there are, as an index or an alias: the indices with what they say of themselves.
async fn existing(client: &mut Client, prefix: &str, names: &[String]) -> Result<Mappings> {
    if names.is_empty() {
        return Ok(Mappings::new());
    }
    mappings(client, &format!("{prefix}/{}/_mapping?ignore_unavailable=true", names.join(","))).await
}

/// The mappings of a path's indices, of which there may be none; asked for once, since the next moment others may drop them.
async fn mappings(client: &mut Client, path: &str) -> Result<Mappings> {
    let reply = client.send(Method::GET, path, b"").await?;
    if reply.status != StatusCode::NOT_FOUND {
        return understood(reply);
    }
    let failure = Failure::of(reply);
    if failure.is("index_not_found_exception") { Ok(Mappings::new()) } else { Err(failure.into_error()) }
}

/// Drops those of a namespace's indices that are there and ours.
async fn drop_indices(client: &mut Client, prefix: &str, namespace: &Namespace, names: &[String]) -> Result<()> {
    let names: Vec<String> = names.iter().map(|name| namespace.object(name)).collect();
    let mut found = existing(client, prefix, &names).await?;
    let is_ours = |mapping: &Mapping| mapping.mappings.meta == mark(namespace);
    found.retain(|name, mapping| names.contains(name) && is_ours(mapping));
    drop_all(client, prefix, &found.into_keys().collect::<Vec<_>>()).await
}

async fn drop_all(client: &mut Client, prefix: &str, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let path = format!("{prefix}/{}?ignore_unavailable=true", names.join(","));
    let reply = client.send(Method::DELETE, &path, b"").await?;
    // Somebody else may have cleaned at the same time.
    if reply.status.is_success() || reply.status == StatusCode::NOT_FOUND {
        return Ok(());
    }
    Err(Failure::of(reply).into_error())
}
