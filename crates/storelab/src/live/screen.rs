//! The terminal as something that is taken and given back, on every way that a run can end.
//!
//! While it is taken, keys are not shown (Ctrl-C, Ctrl-Z and Ctrl-\ work as ever), and what the program has to say in lines
//! is kept and said when the terminal is back.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Stderr, Write};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::queue;
use ratatui::crossterm::style::{Attribute, SetAttribute};
use ratatui::crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::Rect;
use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcgetwinsize, tcsetattr};

/// The size of a terminal that does not know its own, as it always was.
const SIZE_DEFAULT: (u16, u16) = (80, 24);
/// Lines that are kept; a library that floods its log loses its oldest ones.
const LINES_MAX: usize = 1_000;

/// The terminal, of which a process has one. Where stderr is locked too it is locked first, and not for `keep`: who writes
/// to a terminal that takes nothing holds it for long.
static SCREEN: Mutex<Screen> = Mutex::new(Screen { is_taken: false, lines: VecDeque::new(), modes: None });

struct Screen {
    is_taken: bool,
    /// What is to be said when it is given back.
    lines: VecDeque<String>,
    /// Its modes before it was taken.
    modes: Option<Termios>,
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the terminal that stderr is.
///
/// # Errors
/// Why there is none to be had, in words.
pub(super) fn take() -> Result<(), String> {
    let stderr = io::stderr();
    if let Some(obstacle) = obstacle(stderr.is_terminal(), std::env::var("TERM").ok().as_deref()) {
        return Err(obstacle.to_owned());
    }
    if !is_ours(&stderr) {
        return Err("the terminal belongs to another program".to_owned());
    }
    give_back_on_panic();
    let mut writer = stderr.lock();
    {
        let mut screen = screen();
        if std::mem::replace(&mut screen.is_taken, true) {
            return Ok(());
        }
        if let Ok(modes) = tcgetattr(&stderr) {
            let mut silent = modes.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(&stderr, OptionalActions::Now, &silent);
            screen.modes = Some(modes);
        }
    }
    let entered = queue!(writer, EnterAlternateScreen, Hide, Clear(ClearType::All)).and_then(|()| writer.flush());
    drop(writer);
    entered.map_err(|error| {
        give_back();
        format!("the terminal takes nothing: {error}")
    })
}

/// Why there can be no view; none where there can.
fn obstacle(is_terminal: bool, name: Option<&str>) -> Option<&'static str> {
    match name {
        _ if !is_terminal => Some("stderr is no terminal"),
        None | Some("" | "dumb") => Some("TERM names no terminal that can"),
        Some(_) => None,
    }
}

/// Gives the terminal back, and says what was kept. Does nothing where it is not taken, so that every way out may call it.
pub(crate) fn give_back() {
    let stderr = io::stderr();
    let mut writer = stderr.lock();
    let mut screen = screen();
    if !std::mem::replace(&mut screen.is_taken, false) {
        return;
    }
    let _ = queue!(writer, SetAttribute(Attribute::Reset), Show, LeaveAlternateScreen);
    // From the background the kernel would stop us for it, and the shell has set its own modes already.
    if let Some(modes) = screen.modes.take().filter(|_| is_ours(&stderr)) {
        let _ = tcsetattr(&stderr, OptionalActions::Now, &modes);
    }
    for line in screen.lines.drain(..) {
        let _ = writeln!(writer, "{line}");
    }
}

/// Gives the terminal back and stops, as Ctrl-Z asks; the shell's `fg` goes on with it.
pub(super) fn suspend() {
    give_back();
    let _ = kill_process(getpid(), Signal::STOP);
}

/// Keeps a line until the terminal is back; whether it is taken at all.
pub(crate) fn keep(line: &str) -> bool {
    let mut screen = screen();
    if screen.is_taken {
        if screen.lines.len() == LINES_MAX {
            screen.lines.pop_front();
        }
        screen.lines.push_back(line.to_owned());
    }
    screen.is_taken
}

/// What can be drawn on.
pub(super) fn area() -> Rect {
    let (width, height) = match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        _ => SIZE_DEFAULT,
    };
    Rect::new(0, 0, width, height)
}

/// Whether we may draw on it: a terminal that controls no session has no background.
fn is_ours(stderr: &Stderr) -> bool {
    tcgetpgrp(stderr).map_or(true, |group| group == getpgrp())
}

/// A panic's message goes to the terminal as it was.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
    });
}

/// A frame on its way to the terminal: written at once when it is whole, or not at all where the terminal is given back.
#[derive(Debug, Default)]
pub(super) struct Output(Vec<u8>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut writer = io::stderr().lock();
        let is_taken = screen().is_taken;
        let written = if is_taken { writer.write_all(&self.0) } else { Ok(()) };
        self.0.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_that_can_is_taken() {
        for (is_terminal, name, can) in [
            (true, Some("xterm-256color"), true),
            (true, Some("vt100"), true),
            (true, Some("dumb"), false),
            (true, Some(""), false),
            (true, None, false),
            (false, Some("xterm"), false),
        ] {
            assert_eq!(obstacle(is_terminal, name).is_none(), can, "{is_terminal} {name:?}");
        }
    }
}
