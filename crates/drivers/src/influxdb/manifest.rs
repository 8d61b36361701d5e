//! What is known to be ours: the buckets whose description is an entry.
//!
//! A bucket and its description come into being in one step of the server, so that there is never one without the other,
//! and go in one step: the manifest has nothing of its own that could stay. What is no entry is somebody else's.

use serde_json::{Value, json};
use store::{Dataset, Error, ErrorKind, LoadState, Namespace, OwnedObject, Result};

use super::api::{Api, is_id};
use crate::http::Method;

/// What every entry begins with.
const MARK: &str = "storelab manifest/";

/// And what those begin with that this version writes, with what is said of a bucket behind it.
const MARK_OF_THIS_VERSION: &str = "storelab manifest/1 ";
const PARTIAL: &str = "partial";
const LOADED: &str = "loaded: ";

/// Buckets that the server shows at a time; it knows no more.
const PAGE: usize = 100;

/// More buckets than this are no server's; a listing that does not end is one.
const BUCKETS_MAX: usize = 100_000;

/// A bucket of the organisation.
#[derive(Debug, Clone)]
struct Bucket {
    id: String,
    name: String,
    description: String,
}

/// A bucket of ours.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Whose it is; also its name.
    pub(crate) namespace: Namespace,
    id: String,
    /// The fingerprint of what was loaded, once that was complete.
    loaded: Option<String>,
}

impl Entry {
    /// What is told of it.
    pub(crate) fn object(&self) -> OwnedObject {
        let name = self.namespace.as_str().to_owned();
        OwnedObject { namespace: name.clone(), kind: "bucket".to_owned(), name }
    }

    /// None for a bucket that is somebody else's.
    ///
    /// # Errors
    /// `Config` for what begins as an entry and is none of this version's.
    fn of(bucket: &Bucket) -> Result<Option<Self>> {
        if !bucket.description.starts_with(MARK) {
            return Ok(None);
        }
        let namespace = bucket.name.strip_prefix("storelab_").and_then(|name| Namespace::new(name).ok());
        let loaded = bucket.description.strip_prefix(MARK_OF_THIS_VERSION).and_then(|state| match state {
            PARTIAL => Some(None),
            _ => state.strip_prefix(LOADED).map(|fingerprint| Some(fingerprint.to_owned())),
        });
        match (namespace, loaded) {
            (Some(namespace), Some(loaded)) => Ok(Some(Self { namespace, id: bucket.id.clone(), loaded })),
            _ => Err(Error::config(format!(
                "the description of the bucket `{}` begins as an entry of Storelab's manifest, storelab_…, and is none",
                bucket.name
            ))
            .with_hint("change that description, or clean with the version of Storelab that wrote it")),
        }
    }
}

/// All entries, in no order.
///
/// # Errors
/// `Config` where something passes for an entry; what the server says otherwise.
pub(crate) async fn entries(api: &mut Api) -> Result<Vec<Entry>> {
    Ok(look(api).await?.0)
}

/// What there is of a dataset.
pub(crate) async fn load_state(api: &mut Api, dataset: &Dataset) -> Result<LoadState> {
    let entry = find(api, dataset.namespace()).await?;
    Ok(match entry {
        None => LoadState::Absent,
        Some(Entry { loaded: None, .. }) => LoadState::Partial,
        Some(Entry { loaded: Some(fingerprint), .. }) => LoadState::Loaded(fingerprint),
    })
}

/// Makes the namespace's bucket, replacing ours of an earlier load.
///
/// # Errors
/// `Config` where the bucket of that name is somebody else's.
pub(crate) async fn create(api: &mut Api, namespace: &Namespace) -> Result<()> {
    let (entries, others) = look(api).await?;
    if others.iter().any(|name| name == namespace.as_str()) {
        return Err(foreign(namespace));
    }
    if let Some(entry) = entries.iter().find(|entry| entry.namespace == *namespace) {
        remove(api, entry).await?;
    }
    let bucket = json!({
        "orgID": api.organisation_id(),
        "name": namespace.as_str(),
        "description": format!("{MARK_OF_THIS_VERSION}{PARTIAL}"),
        // Nothing expires.
        "retentionRules": [],
    });
    match api.ask(Method::POST, "/api/v2/buckets", Some(&bucket)).await {
        Err(error) if error.to_string().contains("already exists") => Err(foreign(namespace)),
        result => result.map(drop),
    }
}

/// Says that the load of a dataset is complete.
///
/// # Errors
/// `Config` where it was never begun.
pub(crate) async fn finish(api: &mut Api, dataset: &Dataset) -> Result<()> {
    let namespace = dataset.namespace();
    let Some(entry) = find(api, namespace).await? else {
        return Err(Error::config(format!("there is no bucket {namespace} whose load could be complete"))
            .with_hint("load the data anew: somebody has cleaned it meanwhile"));
    };
    let change = json!({ "description": format!("{MARK_OF_THIS_VERSION}{LOADED}{}", dataset.fingerprint()) });
    api.ask(Method::PATCH, &path_of(&entry), Some(&change)).await.map(drop)
}

/// Drops a bucket of ours, by its number: not another one that has its name by now.
pub(crate) async fn remove(api: &mut Api, entry: &Entry) -> Result<()> {
    match api.ask(Method::DELETE, &path_of(entry), None).await {
        // Somebody else was quicker.
        Err(error) if error.kind() == ErrorKind::Rejected && error.to_string().contains("not found") => Ok(()),
        result => result.map(drop),
    }
}

async fn find(api: &mut Api, namespace: &Namespace) -> Result<Option<Entry>> {
    Ok(entries(api).await?.into_iter().find(|entry| entry.namespace == *namespace))
}

fn path_of(entry: &Entry) -> String {
    format!("/api/v2/buckets/{}", entry.id)
}

fn foreign(namespace: &Namespace) -> Error {
    Error::config(format!("there is a bucket {namespace} that Storelab did not make"))
        .with_hint("rename or drop it, or choose another namespace")
}

/// All entries, and the names of all other buckets.
async fn look(api: &mut Api) -> Result<(Vec<Entry>, Vec<String>)> {
    let (mut entries, mut others) = (Vec::new(), Vec::new());
    let mut after = String::new();
    loop {
        let path = format!("/api/v2/buckets?orgID={}&limit={PAGE}{after}", api.organisation_id());
        let answer = api.ask(Method::GET, &path, None).await?;
        let buckets = parse(&answer)?;
        // The server's own buckets are on every first page.
        let last = buckets.iter().map(|bucket| bucket.id.clone()).next_back();
        let count = buckets.len();
        for bucket in buckets {
            match Entry::of(&bucket)? {
                Some(entry) => entries.push(entry),
                None => others.push(bucket.name),
            }
        }
        match last {
            Some(last) if count >= PAGE && entries.len() + others.len() < BUCKETS_MAX => {
                after = format!("&after={last}");
            }
            _ => return Ok((entries, others)),
        }
    }
}

fn parse(answer: &Value) -> Result<Vec<Bucket>> {
    let wrong = || {
        Error::wrong_result("InfluxDB's list of buckets is none")
            .with_hint("check that the target is InfluxDB itself and not something before it that changes replies")
    };
    let buckets = answer.get("buckets").and_then(Value::as_array).ok_or_else(wrong)?;
    let text = |bucket: &Value, name| bucket.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let bucket = |bucket: &Value| {
        let [id, name, description] = ["id", "name", "description"].map(|part| text(bucket, part));
        // The number becomes part of a path.
        if is_id(&id) { Ok(Bucket { id, name, description }) } else { Err(wrong()) }
    };
    buckets.iter().map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, description: &str) -> Result<Option<Entry>> {
        Entry::of(&Bucket {
            id: "0123456789abcdef".to_owned(),
            name: name.to_owned(),
            description: description.to_owned(),
        })
    }

    #[test]
    fn only_what_has_an_entry_is_ours() {
        for (name, description) in
            [("people", ""), ("storelab_x", ""), ("storelab_x", "made by hand"), ("x", "storelab")]
        {
            assert!(entry(name, description).expect("not ours").is_none(), "{name} {description}");
        }
        let ours = |description| entry("storelab_x", description).expect("an entry").expect("ours").loaded;
        assert_eq!(ours("storelab manifest/1 partial"), None);
        assert_eq!(ours("storelab manifest/1 loaded: records/1 2x3x4"), Some("records/1 2x3x4".to_owned()));
        for (name, description) in [
            ("people", "storelab manifest/1 partial"),
            ("storelab_X", "storelab manifest/1 partial"),
            ("storelab_x", "storelab manifest/2 partial"),
            ("storelab_x", "storelab manifest/1 perhaps"),
        ] {
            let error = entry(name, description).expect_err("it passes for an entry");
            assert_eq!(error.kind(), ErrorKind::Config, "{name} {description}");
        }
    }

    #[test]
    fn a_list_of_buckets_has_numbers_that_fit_a_path() {
        let listed = |id: &str| parse(&json!({ "buckets": [{ "id": id, "name": "a" }] }));
        assert_eq!(listed("0123456789abcdef").expect("a list").len(), 1);
        for id in ["", "../../../orgs/01", "0123456789abcde?"] {
            assert_eq!(listed(id).expect_err("no number").kind(), ErrorKind::WrongResult, "{id}");
        }
        assert!(parse(&json!({ "buckets": 7 })).is_err() && parse(&Value::Null).is_err());
    }
}
