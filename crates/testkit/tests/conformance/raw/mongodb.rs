//! `MongoDB` by its client library's own documents.

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection, Database};
use store::{Dataset, LocalBoxFuture, OwnedObject, Target};

use super::{Alone, Side, SideEntry};
use crate::lab::TABLE;

/// The database that the driver works in where the URL names none.
const DATABASE_DEFAULT: &str = "storelab";

/// What comes of a collection, an index or a view that users have: the command that makes it.
fn objects() -> Vec<Document> {
    vec![
        doc! { "create": "log", "capped": true, "size": 65_536 },
        doc! { "createIndexes": "people", "indexes": [{ "key": { "name": 1 }, "name": "people_name", "unique": true }] },
        doc! { "createIndexes": "orders", "indexes": [{ "key": { "person": 1, "total": -1 }, "name": "of_person" }] },
        doc! { "create": "totals", "viewOn": "orders", "pipeline": [{ "$group": { "_id": "$person" } }] },
        doc! { "create": "storelabXmanifest", "validator": { "a": { "$type": "int" } }, "validationLevel": "moderate" },
        doc! { "create": "storelab_manifest_copy" },
    ]
}

/// Documents of users, by collection; some of nearly our names.
fn documents() -> Vec<(&'static str, Vec<Document>)> {
    vec![
        (
            "people",
            vec![doc! { "_id": 1, "name": "Ada", "born": 1815.5 }, doc! { "_id": 2, "name": "Åke", "tags": ["x"] }],
        ),
        ("orders", vec![doc! { "_id": 10, "person": 1, "total": 100_i64 }, doc! { "_id": 11, "person": 2 }]),
        ("storelab", vec![doc! { "_id": "not ours" }]),
        ("my_storelab_manifest", vec![doc! { "_id": "storelab_c1_usertable", "state": "loaded" }]),
        ("log", vec![doc! { "_id": 1, "line": "first" }]),
    ]
}

pub(super) const SIDE: SideEntry = SideEntry {
    driver: "mongodb",
    open: |target| Box::pin(async move { Box::new(Door::open(target)) as Box<dyn Side> }),
    alone: Alone::Database(|_, number| Box::pin(async move { format!("conformance_{}_{number}", std::process::id()) })),
    forgeries: &[
        ("select", "items.payload"),
        ("select", "items.code"),
        ("select", "items gone"),
        ("update", "items gone"),
        ("delete", "items gone"),
        ("aggregate", "orders.amount"),
        ("aggregate", "orders.customer"),
        ("aggregate", "orders gone"),
        ("lookup", "customers.name"),
        ("lookup", "customers.region"),
        ("lookup", "orders.amount"),
        ("lookup", "orders gone"),
        ("textsearch", "articles.title"),
        ("textsearch", "articles.body"),
        ("textsearch", "articles gone"),
        ("transaction", "accounts.balance"),
        ("transaction", "accounts gone"),
    ],
};

struct Door {
    client: Client,
    database: Database,
}

impl Door {
    fn open(target: &Target) -> Self {
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: target.host().to_owned(), port: target.port() }];
        options.direct_connection = Some(true);
        if let (Some(user), Some(password)) = (target.user(), target.password()) {
            let mut credential = Credential::default();
            credential.username = Some(user.to_owned());
            credential.password = Some(password.expose().to_owned());
            credential.source = Some("admin".to_owned());
            options.credential = Some(credential);
        }
        let client = Client::with_options(options).expect("the options fit together");
        let name = if target.path().is_empty() { DATABASE_DEFAULT } else { target.path() };
        Self { database: client.database(name), client }
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    async fn found(&self, collection: &str) -> Vec<Document> {
        let found = self.collection(collection).find(doc! {}).sort(doc! { "_id": 1 }).await.expect("it can be read");
        found.try_collect().await.expect("all can be read")
    }

    /// A collection's definition and indexes, and all that is in it.
    async fn describe(&self, definition: &Document, lines: &mut Vec<String>) {
        let name = definition.get_str("name").expect("it has a name");
        // Where the server keeps definitions, which are listed by themselves.
        if name.starts_with("system.") {
            return;
        }
        lines.push(format!("{name} is {definition}"));
        if definition.get_str("type").is_ok_and(|kind| kind == "collection") {
            let indexes = self.database.run_cursor_command(doc! { "listIndexes": name }).await.expect("it has indexes");
            let indexes: Vec<Document> = indexes.try_collect().await.expect("all are listed");
            lines.extend(indexes.iter().map(|index| format!("{name} index {index}")));
        }
        lines.extend(self.found(name).await.iter().map(|found| format!("{name} {found}")));
    }
}

impl Side for Door {
    fn populate(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            for object in objects() {
                self.database.run_command(object).await.expect("it can be made");
            }
            for (collection, documents) in documents() {
                self.collection(collection).insert_many(documents).await.expect("they can be inserted");
            }
        })
    }

    fn fingerprint(&mut self) -> LocalBoxFuture<'_, Vec<String>> {
        Box::pin(async {
            let listed = self.database.list_collections().await.expect("collections are listed");
            let listed: Vec<_> = listed.try_collect().await.expect("all are listed");
            let mut lines = Vec::new();
            for collection in listed {
                let definition = mongodb::bson::serialize_to_document(&collection).expect("it came as a document");
                self.describe(&definition, &mut lines).await;
            }
            lines.sort();
            lines
        })
    }

    fn connections(&mut self) -> LocalBoxFuture<'_, Option<usize>> {
        Box::pin(async {
            // By the name that the driver's connections go by, which says what database they are for.
            let of_ours = doc! { "appName": format!("storelab {}", self.database.name()) };
            let stages = [
                doc! { "$currentOp": { "allUsers": true, "idleConnections": true } },
                doc! { "$match": of_ours },
                doc! { "$group": { "_id": "$connectionId" } },
            ];
            let listed = self.client.database("admin").aggregate(stages).await.expect("connections are listed");
            let listed: Vec<Document> = listed.try_collect().await.expect("all are listed");
            Some(listed.len())
        })
    }

    fn size<'a>(&'a mut self, owned: &'a [OwnedObject]) -> LocalBoxFuture<'a, Option<u64>> {
        Box::pin(async move {
            let mut size = 0;
            for object in owned {
                size += self.collection(&object.name).count_documents(doc! {}).await.expect("they can be counted");
            }
            Some(size)
        })
    }

    fn occupy<'a>(&'a mut self, dataset: &'a Dataset) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let table = if let Dataset::Records(_) = dataset { TABLE } else { "accounts" };
            let theirs = self.collection(&dataset.namespace().object(table));
            theirs.insert_one(doc! { "_id": 7, "mine": true }).await.expect("it can be inserted");
        })
    }

    fn occupy_manifest(&mut self) -> LocalBoxFuture<'_, ()> {
        Box::pin(async {
            let theirs = doc! { "_id": 7, "name": "people" };
            self.collection("storelab_manifest").insert_one(theirs).await.expect("it can be inserted");
        })
    }

    fn forge<'a>(&'a mut self, forgery: &'static str, namespace: &'a str) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let table = forgery.split(['.', ' ']).next().expect("a forgery names a table");
            let collection = self.collection(&format!("{namespace}_{table}"));
            let Some((_, field)) = forgery.split_once('.') else {
                collection.delete_many(doc! {}).await.expect("they can be deleted");
                return;
            };
            let change = match field {
                "payload" | "name" | "title" | "body" => doc! { "$set": { field: "forged" } },
                _ => doc! { "$inc": { field: 1 } },
            };
            let changed = collection.update_many(doc! {}, change).await.expect("they can be changed");
            assert!(changed.modified_count > 0, "there is nothing to forge in {forgery}");
        })
    }
}
