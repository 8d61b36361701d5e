//! Greetings and proofs, against servers that follow a script.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use ::store::{ErrorKind, Target};
use proptest::prelude::*;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAxSKOcxiet8lLMn8ImyUE\n\
    bGGKob5EdRz/4wdiw12ED0GfKKTKhVnodFCfm1mdy7bKOX5QxL9skrvYodpW43eR\n\
    R5bfOzIgy1qIB8RYb6qOXRBw1oA4snBDqtUjDv/lbHLJN+IbzM4oU+e3Lt9rXyLX\n\
    VY289ewONPweXHqSCnTL91w+wkU1peIFV2QhZ+upUCdCtwOn5hnJPNgxtbklFoya\n\
    C8W3Z7Xx7He2QDJsEWAqX197efw0L6j8X8Tyd8Uwb7zUB1tfMGhHfm9EwejPAtzx\n\
    4GztQNtNMtGS2oGZLQBLV9hib4dDL92iiZeckg2LAf4GsJofLLR8mcHCRoqVbQJ1\n\
    YQIDAQAB\n\
    -----END PUBLIC KEY-----\n";

const NONCE: &[u8; 20] = b"abcdefghijklmnopqrst";

/// A greeting; `MariaDB`'s has capabilities of its own.
fn greeting(plugin: &str, of_mariadb: u32) -> Vec<u8> {
    let mut capabilities = CapabilityFlags::all();
    capabilities.set(CapabilityFlags::CLIENT_LONG_PASSWORD, of_mariadb == 0);
    let [a, b, c, d] = capabilities.bits().to_le_bytes();
    let mut payload = b"\x0a8.0.33\0\x01\0\0\0".to_vec();
    payload.extend_from_slice(&NONCE[..8]);
    payload.extend_from_slice(&[0, a, b, 45, 2, 0, c, d, 21, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&of_mariadb.to_le_bytes());
    payload.extend_from_slice(&NONCE[8..]);
    payload.push(0);
    zero_terminated(&mut payload, plugin.as_bytes());
    payload
}

#[test]
fn greetings_say_what_is_spoken() {
    for (of_mariadb, known_columns) in [(0, false), (0x10, true), (0x0f, false)] {
        let greeting = Greeting::of(&greeting("x", of_mariadb)).expect("valid");
        assert_eq!((greeting.nonce.as_slice(), greeting.plugin.as_slice()), (&NONCE[..], &b"x"[..]));
        let (capabilities, agreed) = greeting.agreed(false);
        assert_eq!(agreed.contains(MariadbCapabilities::MARIADB_CLIENT_CACHE_METADATA), known_columns, "{of_mariadb}");
        assert!(capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF));
        let refused = CapabilityFlags::CLIENT_LOCAL_FILES | CapabilityFlags::CLIENT_MULTI_STATEMENTS;
        assert!(!capabilities.intersects(refused | CapabilityFlags::CLIENT_SSL | CapabilityFlags::CLIENT_COMPRESS));
    }
}

proptest! {
    #[test]
    fn arbitrary_greetings_and_keys_are_survived(
        noise in prop::collection::vec(any::<u8>(), 0..96),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let _ = Greeting::of(&noise);
        let mut greeting = greeting("caching_sha2_password", 0);
        let place = at.index(greeting.len());
        let _ = Greeting::of(&greeting[..place]);
        greeting[place] = byte;
        let _ = Greeting::of(&greeting);
        let _ = modulus_bytes(&noise);
        let mut key = KEY.as_bytes().to_vec();
        let place = at.index(key.len());
        prop_assert_eq!(encrypted(b"secret", &key[..place.min(key.len() - 10)]), None);
        key[place] = byte;
        let _ = encrypted(b"secret", &key);
        let _ = encrypted(b"secret", &noise);
    }
}

#[test]
fn passwords_are_encrypted_for_keys_that_they_fit() {
    assert_eq!(encrypted(b"secret", KEY.as_bytes()).expect("fits").len(), 256);
    assert_eq!(encrypted(&[1; 214], KEY.as_bytes()).expect("fits").len(), 256);
    assert_eq!(encrypted(&[1; 215], KEY.as_bytes()), None);
    assert_eq!(encrypted(b"secret", b"no key"), None);
}

/// One step of a server's: a payload that it sends, or what it must be sent.
#[derive(Clone)]
enum Step {
    Say(Vec<u8>),
    /// The length of the payload, and what is in it.
    Hear(Option<usize>, Vec<u8>),
}

/// Sends or takes one payload.
fn play(stream: &mut (impl Read + Write), step: &Step, sequence: &mut u8) {
    match step {
        Step::Say(payload) => {
            let mut bytes = Vec::new();
            *sequence = packet::packet(&mut bytes, *sequence, |out| out.extend_from_slice(payload));
            stream.write_all(&bytes).expect("written");
        }
        Step::Hear(length, part) => {
            let mut header = [0; HEADER_BYTES];
            stream.read_exact(&mut header).expect("read");
            assert_eq!(header[3], *sequence, "the sequence goes on");
            *sequence += 1;
            let mut payload = vec![0; usize::from(header[0]) + 256 * usize::from(header[1])];
            stream.read_exact(&mut payload).expect("read");
            assert!(length.is_none_or(|length| payload.len() == length), "{payload:?}");
            assert!(payload.windows(part.len().max(1)).any(|bytes| bytes == part) || part.is_empty(), "{payload:?}");
        }
    }
}

/// Enters a server that follows the script; after its first two steps encrypted, where there is a configuration.
async fn enter_scripted(script: Vec<Step>, encryption: Option<Arc<ServerConfig>>) -> Result<Spoken> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let tls = if encryption.is_some() { "insecure" } else { "off" };
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("accepted");
        let mut sequence = 0;
        let (clear, encrypted) = script.split_at(if encryption.is_some() { 2 } else { script.len() });
        for step in clear {
            play(&mut stream, step, &mut sequence);
        }
        if let Some(configuration) = encryption {
            let connection = ServerConnection::new(configuration).expect("valid");
            let mut stream = StreamOwned::new(connection, stream);
            for step in encrypted {
                play(&mut stream, step, &mut sequence);
            }
        }
    });
    let target = Target::parse(&format!("mysql://u:secret@127.0.0.1:{port}/d?tls={tls}")).expect("valid");
    let entered = enter(&Address::of(&super::super::MYSQL, &target).expect("valid")).await.map(|(_, spoken)| spoken);
    server.join().expect("the script was followed");
    entered
}

#[tokio::test]
async fn an_encrypted_connection_is_given_the_password_itself() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("made");
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let configuration = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("valid");
    let script = vec![
        Step::Say(greeting("caching_sha2_password", 0)),
        Step::Hear(Some(32), Vec::new()),
        Step::Hear(None, b"caching_sha2_password\0".to_vec()),
        Step::Say(vec![MORE, SHA2_PASSWORD_WANTED]),
        Step::Hear(Some(7), b"secret\0".to_vec()),
        Step::Say(vec![OK, 0, 0, 2, 0, 0, 0]),
    ];
    enter_scripted(script, Some(Arc::new(configuration))).await.expect("let in");
}

#[tokio::test]
async fn passwords_are_proved_as_the_server_asks() {
    let done = Step::Say(vec![OK, 0, 0, 2, 0, 0, 0]);
    let native = scramble_native(NONCE, b"secret").expect("a password").to_vec();
    let sha2 = scramble_sha256(NONCE, b"secret").expect("a password").to_vec();
    let switch = |plugin: &[u8]| Step::Say([&[END][..], plugin, b"\0", NONCE, b"\0"].concat());
    let greet = |plugin: &str| Step::Say(greeting(plugin, 0));
    let introduced = |proof: &[u8]| Step::Hear(None, proof.to_vec());
    let key = Step::Say([&[MORE][..], KEY.as_bytes()].concat());
    let wanted = [greet("caching_sha2_password"), introduced(&sha2), Step::Say(vec![MORE, SHA2_PASSWORD_WANTED])];
    let asked_for_key = [&wanted[..], &[Step::Hear(Some(1), vec![SHA2_KEY_REQUEST])]].concat();
    for script in [
        vec![greet("mysql_native_password"), introduced(&native), done.clone()],
        vec![greet("caching_sha2_password"), introduced(&sha2), Step::Say(vec![MORE, SHA2_ENTERED]), done.clone()],
        [&asked_for_key[..], &[key, Step::Hear(Some(256), Vec::new()), done.clone()]].concat(),
        vec![
            greet("unheard_of"),
            introduced(b"u\0\0d\0mysql_native_password\0"),
            switch(SHA2),
            Step::Hear(Some(32), sha2.clone()),
            Step::Say(vec![MORE, SHA2_ENTERED]),
            done.clone(),
        ],
        vec![greet("caching_sha2_password"), introduced(&sha2), switch(NATIVE), Step::Hear(Some(20), native), done],
    ] {
        assert!(enter_scripted(script, None).await.expect("let in").without_eof);
    }
    for (script, told) in [
        (vec![Step::Say(b"\xff\x10\x04Too many connections".to_vec())], "error 1040"),
        (vec![greet("unheard_of"), introduced(b""), switch(b"unheard_of")], "unheard_of"),
        (vec![greet("unheard_of"), introduced(b""), Step::Say(vec![END])], "mysql_old_password"),
        (vec![greet("unheard_of"), introduced(b""), Step::Say(vec![7])], "does not speak"),
        ([&asked_for_key[..], &[Step::Say(b"\x01no key".to_vec())]].concat(), "RSA key"),
    ] {
        let error = enter_scripted(script, None).await.expect_err(told);
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
        assert!(error.to_string().contains(told) && !format!("{error:?}").contains("secret"), "{error}");
    }
}
