//! `--live` on a pseudo-terminal: what it shows, and that the terminal is as it was whatever ends the run.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::{Lab, skipped, text};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";
const HIDE_CURSOR: &str = "\x1b[?25l";
const SHOW_CURSOR: &str = "\x1b[?25h";
/// How any colour of the palette begins.
const COLOUR: &str = "38;5;";

/// What the terminal got from the view, and from then on.
struct Shown {
    view: String,
    after: String,
}

/// Runs the program with `--live` on a terminal of its own; once `until` is shown, the `keys` are pressed. The exit code and
/// the terminal's modes are written after it. None where there is no `script`, of which util-linux makes a terminal.
fn on_a_terminal(lab: &Lab, arguments: &str, environment: &[(&str, &str)], until: &str, keys: &[u8]) -> Option<Shown> {
    if Command::new("script").arg("--version").output().is_err() {
        skipped("script (of util-linux) is not installed");
        return None;
    }
    let storelab = env!("CARGO_BIN_EXE_storelab");
    // Ctrl-C reaches the shell too, which without a trap would end before it tells the code.
    let line = format!(
        "trap : INT; stty rows 30 cols 100; '{storelab}' run {arguments} --live --accept-invalid; echo code=$?; stty -a"
    );
    let mut child = Command::new("script")
        .args(["-q", "-e", "-c", &line, text(&lab.path("typescript"))])
        .env("STORELAB_HOME", lab.path(""))
        .env("SHELL", "/bin/sh")
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .env_remove("STORELAB_STORE")
        .envs(environment.iter().copied())
        .current_dir(lab.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it was there a moment ago");
    let mut keyboard = child.stdin.take().expect("it is piped");
    let mut terminal = child.stdout.take().expect("it is piped");
    let mut got = Vec::new();
    let mut piece = [0; 4096];
    let mut is_pressed = false;
    loop {
        let count = terminal.read(&mut piece).expect("it is a pipe");
        if count == 0 {
            break;
        }
        got.extend_from_slice(&piece[..count]);
        if !is_pressed && String::from_utf8_lossy(&got).contains(until) {
            keyboard.write_all(keys).expect("it reads");
            is_pressed = true;
        }
    }
    child.wait().expect("it ends");
    let got = String::from_utf8(got).expect("the terminal gets text");
    assert!(is_pressed, "`{until}` is not shown: {got:?}");
    let (view, after) = got.rsplit_once(LEAVE).unwrap_or(("", &got));
    Some(Shown { view: view.to_owned(), after: after.to_owned() })
}

impl Shown {
    /// The terminal was taken once and is as it was; the program ended with `code`.
    fn assert_restored(&self, code: i32) {
        let Self { view, after } = self;
        assert_eq!((view.matches(ENTER).count(), view.matches(LEAVE).count()), (1, 0), "{view:?}");
        assert!(view.rfind(SHOW_CURSOR) > view.rfind(HIDE_CURSOR), "the cursor is hidden: {view:?}");
        assert!(after.contains(&format!("code={code}\r\n")), "{after:?}");
        let modes: Vec<&str> = after.split_whitespace().collect();
        assert!(modes.contains(&"echo") && modes.contains(&"icanon") && modes.contains(&"isig"), "{after:?}");
        assert!(!after.contains('\x1b'), "{after:?}");
    }
}

#[test]
fn a_run_is_shown_and_its_result_stays() {
    let lab = Lab::new();
    let arguments = r#""null:?latency=1ms" --rate 200/s --for 2s --name "$(printf 'my\033[5mrun')""#;
    let Some(shown) = on_a_terminal(&lab, arguments, &[], "warm-up", b"keys") else { return };
    shown.assert_restored(0);
    for part in ["my�[5mrun", "Throughput", "Latency", "p99.9", "Operations", "read", "Lag", "steady", COLOUR] {
        assert!(shown.view.contains(part), "`{part}` is not shown: {:?}", shown.view);
    }
    assert!(!shown.view.contains("keys"), "what is typed is not shown: {:?}", shown.view);
    for part in ["connected to null:", "my�[5mrun", "throughput  ", "p99  ", "report  "] {
        assert!(shown.after.contains(part), "`{part}` does not stay: {:?}", shown.after);
    }
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let lab = Lab::new();
    let endless = "null: --rate 100/s --for 1h";
    // Ctrl-C keeps what was measured; nobody answers on port 1.
    for (arguments, until, keys, code, part) in [
        (endless, "steady", &b"\x03"[..], 130, "the run was interrupted before its end"),
        ("redis://127.0.0.1:1/0", "connecting", b"", 3, "hint:"),
    ] {
        let Some(shown) = on_a_terminal(&lab, arguments, &[], until, keys) else { return };
        shown.assert_restored(code);
        assert!(shown.after.contains(part), "{:?}", shown.after);
    }
    // The second one ends the process while the first waits for a store that does not answer.
    let stalled = "'null:?latency=1ms&stall_at=1s&stall_for=600s' --rate 100/s --for 1h";
    if let Some(shown) = on_a_terminal(&lab, stalled, &[], "no operation", b"\x03\x03") {
        shown.assert_restored(130);
    }
}

#[test]
fn no_colour_is_used_where_none_is_wanted() {
    let lab = Lab::new();
    let Some(shown) = on_a_terminal(&lab, "null: --for 1s", &[("NO_COLOR", "1")], "Throughput", b"") else { return };
    shown.assert_restored(0);
    assert!(!shown.view.contains(COLOUR), "{:?}", shown.view);
}

#[test]
fn where_there_is_no_terminal_lines_are_written() {
    let lab = Lab::new();
    if let Some(shown) = on_a_terminal(&lab, "memory: --for 1s", &[("TERM", "dumb")], "no live view: TERM", b"") {
        assert!(!shown.after.contains(ENTER) && shown.after.contains("code=0"), "{:?}", shown.after);
    }
    for (arguments, said) in [
        (&["run", "memory:", "--for", "300ms", "--live"][..], "no live view: stderr is no terminal\n"),
        (&["run", "memory:", "--for", "300ms", "--live", "--quiet"], ""),
        (&["run", "memory:", "--for", "300ms", "--live", "--json"], ""),
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains(said) && !ended.stderr.contains('\x1b'), "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.contains("no live view"), !said.is_empty(), "{arguments:?}: {ended:?}");
    }
}
