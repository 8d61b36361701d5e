//! A server that encrypts, as one should that a team reaches over a network.

use std::fs::{Permissions, metadata, set_permissions, write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use provision::{Certificates, Options, Server};
use results::{Error, Location, Results};
use tempfile::TempDir;

use crate::on::{On, client, place, server_process, url_of};
use crate::{keep, open};

/// How many connections of ours there are, by whether they are encrypted.
const CONNECTIONS: &str = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl) FROM pg_stat_ssl \
                           JOIN pg_stat_activity USING (pid) WHERE application_name = 'storelab'";

pub(crate) fn as_it_is_asked_for(on: On) {
    // Whose key is it to be? That of the user whom servers run as here.
    let (_folder, plain) = place(on);
    let user = metadata(format!("/proc/{}", server_process())).expect("it runs");
    let (files, server) = encrypting_server(&user);
    let trusted = format!("tls_ca={}", files.path().join("server.crt").display());
    let url = server.url();
    let mut observer = client(url);
    for options in
        [format!("tls=verify&{trusted}"), format!("sslmode=verify-full&{trusted}"), "sslmode=require".to_owned()]
    {
        let mut results = open(&Location::Postgres(format!("{url}?{options}")));
        let record = keep(&mut results, "encrypted");
        let connections = observer.query_one(CONNECTIONS, &[]).expect("counted");
        assert!(connections.get::<_, i64>(0) > 0, "{options}: its connections are encrypted");
        assert_eq!(connections.get::<_, i64>(1), 0, "{options}: all of them are");
        assert_eq!(results.record(record.id).expect("there"), record);
    }
    // Whoever cannot be trusted, or cannot encrypt, is told nothing.
    for refused in [format!("{url}?tls=verify"), format!("{}?tls=verify&{trusted}", url_of(&plain))] {
        let error = Results::open(&Location::Postgres(refused)).expect_err("refused");
        assert!(matches!(error, Error::Unreachable { .. }) && error.hint().is_some(), "{error:?}");
    }
}

/// A server with a certificate of its own, and the folder that it is in.
fn encrypting_server(user: &std::fs::Metadata) -> (TempDir, Server) {
    let folder = tempfile::tempdir().expect("a folder");
    set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a name that can be certified");
    let [certificate, key] = ["server.crt", "server.key"].map(|name| folder.path().join(name));
    write(&certificate, made.cert.pem()).expect("the folder is ours");
    write(&key, made.signing_key.serialize_pem()).expect("the folder is ours");
    // The server wants its key to be its own.
    set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    chown(&key, Some(user.uid()), Some(user.gid())).expect("whoever starts servers may give files");
    let engine = provision::engine("postgres").expect("it is known");
    let certificates = Certificates { certificate: &certificate, key: &key, both: Path::new(""), port: 0 };
    let encryption = engine.encryption(&certificates).expect("it can encrypt");
    let settings = encryption.settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let server = Server::start(engine, &Options { settings, ..Options::default() }).expect("it starts");
    (folder, server)
}
