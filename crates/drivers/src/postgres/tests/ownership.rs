//! What is ours, and what is not.

use ::store::{ErrorKind, OwnedObject};

use super::*;

#[tokio::test]
async fn only_what_is_ours_is_replaced_and_dropped() {
    let Some(database) = Database::new().await else { return };
    for text in [
        "CREATE TABLE theirs (id INTEGER PRIMARY KEY, x TEXT)",
        "INSERT INTO theirs VALUES (1, 'kept')",
        "CREATE TABLE storelab_kv_other (x TEXT)",
        "CREATE SCHEMA behind",
        "CREATE TABLE behind.storelab_kv_usertable (x TEXT)",
    ] {
        run(&database.url, text).await;
    }
    let before = database.objects().await;
    // A schema behind the current one is searched too: what lies there must not be taken for ours.
    let store = database.store_with("options=-c%20search_path%3Dpublic%2Cbehind").await;
    assert_eq!(store.clean(None).await.expect("nothing to do"), []);
    assert_eq!(database.objects().await, before);
    for _ in 0..2 {
        loaded(&*store, &operations(20, DataSize::Small)).await;
        loaded(&*store, &records()).await;
    }
    let other = operations(21, DataSize::Small);
    assert_eq!(store.load_state(&other).await.expect("state"), LoadState::Partial);
    run(&database.url, "DROP TABLE storelab_kv_usertable").await;
    assert_eq!(store.load_state(&records()).await.expect("state"), LoadState::Partial);
    let dropped = store.clean(Some(records().namespace())).await.expect("cleaned");
    let object = OwnedObject {
        namespace: "storelab_kv".to_owned(),
        kind: "table".to_owned(),
        name: "storelab_kv_usertable".to_owned(),
    };
    assert_eq!(dropped, [object]);
    assert_eq!(store.load_state(&records()).await.expect("state"), LoadState::Absent);
    let owned = store.owned().await.expect("listed");
    assert_eq!(owned.iter().filter(|object| object.kind == "table").count(), 6);
    assert_eq!(store.clean(None).await.expect("cleaned"), owned);
    assert_eq!(database.objects().await, before);
    assert_eq!(run(&database.url, "SELECT x FROM theirs").await, ["kept"]);
}

#[tokio::test]
async fn names_that_are_taken_are_refused_and_nothing_is_touched() {
    for taken in [
        "CREATE TABLE storelab_kv_usertable (x TEXT)",
        "CREATE VIEW storelab_kv_usertable AS SELECT 1",
        "CREATE SEQUENCE storelab_kv_usertable",
        "CREATE TABLE storelab_manifest (x TEXT)",
    ] {
        let Some(database) = Database::new().await else { return };
        run(&database.url, taken).await;
        let before = database.objects().await;
        let store = database.store().await;
        let error = store.create(&records()).await.expect_err(taken);
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Config, true), "{error}");
        assert_eq!(database.objects().await, before);
        let _ = store.clean(None).await;
        assert_eq!(database.objects().await, before);
    }
}

#[tokio::test]
async fn a_manifest_that_others_wrote_to_drops_nothing_of_theirs() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    store.create(&records()).await.expect("created");
    run(&database.url, "CREATE TABLE theirs (x TEXT)").await;
    let forged = "INSERT INTO storelab_manifest (namespace, kind, name, fingerprint, state) \
        VALUES ('storelab_a', 'table', 'theirs', '', 'loaded')";
    run(&database.url, forged).await;
    assert_eq!(store.clean(None).await.expect_err("refused").kind(), ErrorKind::Config);
    assert!(database.objects().await.iter().any(|name| name.ends_with(".theirs")));
}

#[tokio::test]
async fn makers_take_turns() {
    let Some(database) = Database::new().await else { return };
    let (one, two) = (database.store().await, database.store().await);
    let (kv, ops) = (records(), operations(5, DataSize::Small));
    let (first, second, third) = tokio::join!(one.create(&kv), two.create(&ops), two.create(&kv));
    first.and(second).and(third).expect("each in its turn");
    assert_eq!(one.clean(None).await.expect("cleaned").len(), two.owned().await.expect("listed").len() + 12);
}
