//! The document that is published is the one that the service shows, and the page /docs needs nothing else.

use std::path::Path;

use crate::support::Lab;

#[test]
fn the_published_document_is_the_one_that_is_served() {
    let lab = Lab::open();
    let served = String::from_utf8(lab.get("/openapi.json").send().expect(200).body).expect("text");
    assert_eq!(served, server::openapi());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/api/openapi.json");
    let published = std::fs::read_to_string(path).expect("docs/api/openapi.json is there");
    assert!(published == served, "docs/api/openapi.json is old: storelab serve --openapi > docs/api/openapi.json");
}

#[test]
fn the_page_is_whole_and_may_load_nothing_else() {
    let lab = Lab::open();
    let answer = lab.get("/docs").send().expect(200);
    assert!(answer.header("content-type").is_some_and(|value| value.starts_with("text/html")));
    let policy = answer.header("content-security-policy").expect("a policy").to_owned();
    assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let page = String::from_utf8(answer.body).expect("text");
    assert!(page.contains("<script>") && !page.contains("src=") && !page.contains("@import"));
    let begin = lab.get("/").send().expect(307);
    assert_eq!(begin.header("location"), Some("/docs"));
}
