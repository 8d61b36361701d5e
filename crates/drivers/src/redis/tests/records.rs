//! The key-value verbs.

use ::store::{Fields, Values, complete};

use super::*;

fn row(key: Option<&str>, values: &[(usize, &str)]) -> SeenRow {
    (key.map(str::to_owned), values.iter().map(|(column, text)| (*column, (*text).to_owned())).collect())
}

#[tokio::test]
async fn the_verbs_do_what_their_contract_says() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = records(3);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, 1).await;
    let values = |bytes, first| Values { bytes, length: FIELD_LENGTH, first };
    let all = |key| Request::Read { key, fields: Fields::All };
    let script = [
        (all("user0001"), 1, vec![row(None, &[(0, "00000001"), (1, "00000001")])]),
        (all("absent"), 0, vec![]),
        (Request::Read { key: "user0002", fields: Fields::One(1) }, 1, vec![row(None, &[(1, "00000002")])]),
        (Request::Read { key: "absent", fields: Fields::One(1) }, 0, vec![]),
        (Request::Insert { key: "user0009", values: values(b"aaaaaaaabbbbbbbb", 0) }, 1, vec![]),
        (all("user0009"), 1, vec![row(None, &[(0, "aaaaaaaa"), (1, "bbbbbbbb")])]),
        (Request::Update { key: "user0009", values: values(b"cccccccc", 1) }, 1, vec![]),
        (all("user0009"), 1, vec![row(None, &[(0, "aaaaaaaa"), (1, "cccccccc")])]),
        (Request::Update { key: "absent", values: values(b"cccccccc", 1) }, 0, vec![]),
        (all("absent"), 0, vec![]),
        (Request::Delete { key: "user0001" }, 1, vec![]),
        (Request::Delete { key: "user0001" }, 0, vec![]),
        (all("user0001"), 0, vec![]),
        (
            Request::Scan { start: "user0001", limit: 2 },
            2,
            vec![
                row(Some("user0002"), &[(0, "00000002"), (1, "00000002")]),
                row(Some("user0009"), &[(0, "aaaaaaaa"), (1, "cccccccc")]),
            ],
        ),
        (Request::Scan { start: "zzz", limit: 2 }, 0, vec![]),
    ];
    for (request, expect, shown) in script {
        let mut seen = Seen::default();
        assert_eq!(run(session.as_mut(), request, &mut seen).await, Ok(expect), "{request:?}");
        assert_eq!(seen.0, shown, "{request:?}");
    }
    let reserved = Request::Insert { key: "!index", values: values(b"aaaaaaaabbbbbbbb", 0) };
    assert_eq!(run(session.as_mut(), reserved, &mut ()).await, Err(ErrorKind::Unsupported));
    // Two records, their index, the manifest: an update that missed and deletes leave nothing.
    let left = key_count(&mut beside(&server).await).await;
    assert_eq!(left, 3 + 2);
}

#[tokio::test]
async fn scans_are_in_key_order_and_do_not_stop_others() {
    const DEPTH: u32 = 16;
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = records(3000);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, DEPTH as usize).await;
    let mut seen = Seen::default();
    let scan = Request::Scan { start: "user0500", limit: 1000 };
    assert_eq!(run(session.as_mut(), scan, &mut seen).await, Ok(1000));
    for (place, (key, values)) in seen.0.iter().enumerate() {
        let number = 500 + place;
        assert_eq!(key.as_deref(), Some(format!("user{number:04}").as_str()));
        assert_eq!(*values, row(None, &[(0, &format!("{number:08}")), (1, &format!("{number:08}"))]).1);
    }

    // Odd tokens read one record, even ones scan; completions may overtake, rows stay together.
    for token in 0..DEPTH {
        let key = format!("user{:04}", token * 100);
        let request = if token % 2 == 0 {
            Request::Scan { start: &key, limit: token + 1 }
        } else {
            Request::Read { key: &key, fields: Fields::All }
        };
        session.submit(token, &request).expect("below the depth");
    }
    let mut tokens: Vec<u32> = Vec::new();
    for _ in 0..DEPTH {
        let mut seen = Seen::default();
        let completion = complete(session.as_mut(), &mut seen).await;
        let token = completion.token;
        let expect = if token % 2 == 0 { token as usize + 1 } else { 1 };
        assert_eq!(completion.result.expect("answered").rows, expect as u64);
        assert_eq!(seen.0.len(), expect, "token {token}");
        assert_eq!(seen.0[0].1[0].1, format!("{:08}", token * 100));
        tokens.push(token);
    }
    assert!(!tokens.is_sorted(), "a read does not wait for a scan: {tokens:?}");
    tokens.sort_unstable();
    assert!(tokens.into_iter().eq(0..DEPTH), "each completes once");
}

#[tokio::test]
async fn large_values_go_through_a_deep_pipeline() {
    const LENGTH: usize = 1 << 20;
    const DEPTH: u32 = 16;
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = records(0);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, DEPTH as usize).await;
    let keys: Vec<String> = (0..DEPTH).map(|token| format!("k{token}")).collect();
    // All writes and all reads at once: more than the sockets hold, so both directions stand still unless both are served.
    for round in 0..2 {
        for (token, key) in keys.iter().enumerate() {
            let bytes = vec![b'a' + token as u8; LENGTH];
            let values = Values { bytes: &bytes, length: LENGTH, first: 0 };
            let request =
                if round == 0 { Request::Insert { key, values } } else { Request::Read { key, fields: Fields::All } };
            session.submit(token as u32, &request).expect("below the depth");
        }
        for token in 0..DEPTH {
            let mut seen = Seen::default();
            let completion = complete(session.as_mut(), &mut seen).await;
            assert_eq!((completion.token, completion.result.expect("answered").rows), (token, 1));
            if round == 1 {
                let text = &seen.0[0].1[0].1;
                assert!(text.len() == LENGTH && text.bytes().all(|byte| byte == b'a' + token as u8), "token {token}");
            }
        }
    }
}
