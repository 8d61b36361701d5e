//! Connecting: what cannot work is told with its remedy, within its time, and without the password.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::{Completion, Trial};
use store::{Capability, Driver, Error, ErrorKind};

use crate::lab::{Lab, connect};
use crate::raw::{Alone, side};
use crate::sentence::{Sentence, may_skip, runtime, says};

/// A password that would be recognised anywhere.
const CANARY: &str = "canary7b1e";

/// What is given for connecting, in seconds, and what even a busy machine needs less than: the drivers' default, which a
/// time-out that was not heard would take.
const CONNECT_TIMEOUT: &str = "1";
const CONNECTS_WITHIN: Duration = Duration::from_secs(9);

/// Drivers of stores whose databases appear with the first thing in them.
const DATABASES_APPEAR: &[&str] = &["mongodb"];

/// What needs no server of the right kind.
pub(crate) fn trials(driver: &'static dyn Driver) -> Vec<Trial> {
    if driver.capabilities().has(Capability::Embedded) {
        return Vec::new();
    }
    let trial = |name: &str, show: fn(&dyn Driver)| {
        Trial::test(format!("{}::{name}", driver.name()), move || {
            show(driver);
            Ok(())
        })
    };
    vec![
        trial("a_closed_port_is_unreachable", closed_port),
        trial("a_server_that_never_answers_is_given_up_in_time", silent),
        trial("a_server_that_hangs_up_is_told_with_a_hint", hangs_up),
        trial("a_server_of_another_kind_is_told_with_a_hint", another_kind),
        trial("options_that_cannot_work_are_the_users_to_correct", bad_options),
    ]
}

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let mut sentences = vec![says("a_server_states_its_version", server)];
    if !driver.capabilities().has(Capability::Embedded) {
        sentences.extend([
            may_skip("a_wrong_password_is_rejected_and_not_shown", wrong_password),
            may_skip("an_unknown_database_is_rejected_with_a_hint", unknown_database),
            says("no_text_of_a_server_has_the_password", canary),
        ]);
    }
    sentences
}

/// All that could be shown to somebody.
pub(crate) fn texts(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {:?}", error.hint());
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, " {error} {error:?}").expect("a string takes everything");
        source = error.source();
    }
    text
}

/// Connects where it cannot work.
async fn refused(url: &str) -> Error {
    let connected = tokio::time::timeout(CONNECTS_WITHIN, connect(url)).await;
    let error = connected.expect("connecting is given up in its time").err().expect("nobody can be reached there");
    let text = texts(&error);
    assert!(!text.contains(CANARY), "the password is in {text}");
    assert!(error.hint().is_some(), "what to do about `{error}`?");
    error
}

/// A database's name, where there must be one.
fn path_of(driver: &dyn Driver) -> &'static str {
    if driver.capabilities().has(Capability::Sql) { "lab" } else { "" }
}

fn url_of(driver: &dyn Driver, port: u16) -> String {
    let (scheme, path) = (driver.schemes()[0], path_of(driver));
    format!("{scheme}://lab:{CANARY}@127.0.0.1:{port}/{path}?connect_timeout={CONNECT_TIMEOUT}")
}

fn closed_port(driver: &dyn Driver) {
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener.local_addr().expect("it is bound").port()
    };
    let error = runtime().block_on(refused(&url_of(driver, port)));
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains(&port.to_string()), "`{error}` does not say where");
}

/// Connects to somebody who does that with each connection.
fn refused_by(driver: &dyn Driver, behave: fn(TcpStream)) -> Error {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let served = std::thread::spawn(move || {
        // The last connection is ours, to end this.
        while let Ok((stream, _)) = listener.accept() {
            let mut first = [0; 1];
            if stream.peek(&mut first).is_ok_and(|length| length == 1) && first == [b'Q'] {
                return;
            }
            behave(stream);
        }
    });
    let error = runtime().block_on(refused(&url_of(driver, port)));
    let mut end = TcpStream::connect(("127.0.0.1", port)).expect("it still listens");
    end.write_all(b"Q").expect("it still reads");
    drop(served);
    error
}

fn silent(driver: &dyn Driver) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    // The kernel accepts; nobody ever says a word.
    let error = runtime().block_on(refused(&url_of(driver, port)));
    drop(listener);
    assert!(matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Unreachable), "{error} ({})", error.kind());
}

fn hangs_up(driver: &dyn Driver) {
    let error = refused_by(driver, drop);
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

fn another_kind(driver: &dyn Driver) {
    let error = refused_by(driver, |mut stream| {
        // Who is asked wrongly may have hung up already.
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
        let _ = stream.read(&mut [0; 512]);
    });
    assert!(matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Unreachable), "{error} ({})", error.kind());
}

fn bad_options(driver: &dyn Driver) {
    let (scheme, path) = (driver.schemes()[0], path_of(driver));
    for bad in ["connect_timeout=0", "connect_timeout=-1", "connect_timeout=soon", "tls=perhaps"] {
        let url = format!("{scheme}://lab:{CANARY}@127.0.0.1:1/{path}?{bad}");
        let connected = runtime().block_on(connect(&url));
        let error = connected.err().expect("it cannot work");
        assert_eq!(error.kind(), ErrorKind::Config, "{bad}: {error}");
        assert!(error.to_string().contains(&bad[..bad.find('=').unwrap_or(0)]), "{bad}: {error}");
        assert!(!texts(&error).contains(CANARY));
    }
}

/// The lab's URL with something else in it.
fn changed(lab: &Lab, change: impl FnOnce(&mut url::Url)) -> String {
    let mut url = url::Url::parse(&lab.url).expect("it was reached by it");
    change(&mut url);
    url.query_pairs_mut().append_pair("connect_timeout", "5");
    url.into()
}

async fn wrong_password(lab: &Lab) -> Completion {
    if lab.target().password().is_none() {
        return Completion::ignored_with("the server wants no password");
    }
    let url = changed(lab, |url| url.set_password(Some(CANARY)).expect("it has a host"));
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    let none = changed(lab, |url| {
        url.set_password(None).expect("it has a host");
        url.set_username("").expect("it has a host");
    });
    let error = refused(&none).await;
    assert!(matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Config), "{error} ({})", error.kind());
    Completion::Completed
}

async fn unknown_database(lab: &Lab) -> Completion {
    if DATABASES_APPEAR.contains(&lab.driver.name()) {
        return Completion::ignored_with("a database appears with what is made in it: none is unknown");
    }
    let name = if lab.has(Capability::Sql) { "/no_such_database_here" } else { "/999999" };
    let error = refused(&changed(lab, |url| url.set_path(name))).await;
    // Where a server is not divided into databases, a target that names one is told so before anybody is asked.
    let is_divided = side(lab.driver).is_none_or(|entry| matches!(entry.alone, Alone::Database(_)));
    let is_config = !is_divided && error.kind() == ErrorKind::Config;
    assert!(error.kind() == ErrorKind::Rejected || is_config, "{error} ({})", error.kind());
    Completion::Completed
}

async fn server(lab: &Lab) {
    let server = lab.store.server().await.expect("the server describes itself");
    assert!(!server.version.is_empty() && !server.version.contains('\n'), "{:?}", server.version);
    let operations: Vec<_> = lab.driver.operations().iter().map(|operation| operation.name).collect();
    for (name, reason) in &server.operations_missing {
        assert!(operations.contains(name), "{name} is no operation at all");
        assert!(!reason.is_empty(), "why is {name} missing?");
    }
    if lab.has(Capability::Embedded) {
        return;
    }
    assert!(server.version.bytes().any(|byte| byte.is_ascii_digit()), "{}", server.version);
    assert!(!server.settings.is_empty(), "servers have settings that matter");
    if let Some(engine) = lab.engine {
        assert!(server.version.starts_with(engine.title()), "{}", server.version);
    }
}

async fn canary(lab: &Lab) {
    let target = lab.target();
    let Some(password) = target.password() else { return };
    let counters = lab.store.counters().await.expect("counters can be read");
    let server = lab.store.server().await.expect("the server describes itself");
    let text = format!("{server:?} {counters:?} {target} {target:?}");
    assert!(!text.contains(password.expose()), "the password is shown");
}
