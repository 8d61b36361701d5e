//! Encryption, ways of logging in, and what a server says about itself.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

use ::store::ErrorKind;

use super::*;

/// Longer than a server takes to read its files again on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn certificates_are_verified_unless_the_user_says_otherwise() {
    let Some(database) = Database::new().await else { return };
    let folder = tempfile::tempdir().expect("made");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    // The key must belong to whom servers run as.
    let owner = fs::metadata(format!("/proc/{}", database.server.process_id())).expect("it runs");
    for file in [&certificate, &key] {
        chown(file, Some(owner.uid()), Some(owner.gid())).expect("may be given");
    }
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let settings = [("ssl", "on"), ("ssl_cert_file", certificate.as_str()), ("ssl_key_file", key.as_str())];
    let server = start(&settings).expect("the other one was started");
    let url = server.url();
    let encrypted = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (option, expect) in [
        ("tls=off", "false"),
        ("tls=insecure", "true"),
        ("sslmode=require", "true"),
        (&format!("tls=verify&tls_ca={certificate}"), "true"),
        (&format!("sslmode=verify-full&tls_ca={certificate}"), "true"),
    ] {
        assert_eq!(run(&format!("{url}?{option}"), encrypted).await, [expect], "{option}");
    }
    for (option, place) in [
        ("tls=verify", url.to_owned()),
        (&format!("tls=verify&tls_ca={certificate}"), url.replace("127.0.0.1", "localhost")),
    ] {
        let error = refused(&format!("{place}?{option}")).await;
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
    }
    let store = connect(&format!("{url}?tls=insecure")).await.expect("reached");
    loaded(&*store, &operations(200, DataSize::Large)).await;
    passwords_of_other_kinds(url).await;
    server.stop().expect("stopped");
}

/// Lets in two users by their password in clear text and by its MD5 sum.
async fn passwords_of_other_kinds(url: &str) {
    run(url, "CREATE ROLE clear LOGIN PASSWORD 'canary-clear'").await;
    // The setting and the role in one statement: each connection has its own settings.
    let old = "DO $$ BEGIN SET LOCAL password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'canary-old'; END $$";
    run(url, old).await;
    let file = run(url, "SHOW hba_file").await.remove(0);
    let lines = "host all clear all password', 'host all old all md5', 'host all all all scram-sha-256";
    run(url, &format!("COPY (SELECT unnest(ARRAY['{lines}'])) TO '{file}'")).await;
    run(url, "SELECT pg_reload_conf()").await;
    let deadline = Instant::now() + PATIENCE;
    for (user, password) in [("clear", "canary-clear"), ("old", "canary-old")] {
        while let Err(error) = connect(&as_user(url, user, password)).await {
            assert!(Instant::now() < deadline, "{user}: {error}");
        }
        let error = refused(&as_user(url, user, "canary-wrong")).await;
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
    }
}

#[tokio::test]
async fn the_server_tells_what_matters() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let info = store.server().await.expect("read");
    assert!(info.version.starts_with("PostgreSQL ") && !info.version.contains('('), "{}", info.version);
    for name in ["shared_buffers", "fsync", "synchronous_commit", "max_connections", "work_mem", "server_version_num"] {
        assert!(info.settings.contains_key(name), "{name}");
    }
    assert_eq!((info.settings["fsync"].as_str(), info.process_id), ("off", Some(database.server.process_id())));
    assert!(info.operations_missing.is_empty());
    let counters = store.counters().await.expect("read");
    for name in ["xact_commit", "blks_hit", "tup_fetched", "checkpoints_timed", "num_timed", "wal_records"] {
        let version: u32 = info.settings["server_version_num"].parse().expect("a number");
        let has = match name {
            "checkpoints_timed" => version < 170_000,
            "num_timed" => version >= 170_000,
            "wal_records" => version >= 140_000,
            _ => true,
        };
        assert_eq!(counters.contains_key(name), has, "{name}: {counters:?}");
    }
    assert!(!counters.contains_key("datid"));
    let backends = counters["numbackends"];
    assert_eq!(store.counters().await.expect("read").get("numbackends"), Some(&backends), "one connection is kept");
}
