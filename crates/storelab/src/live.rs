//! `storelab run --live`: the run on the whole terminal, drawn anew once a second.
//!
//! What is known stands in a [`View`], which events change and [`mod@draw`] shows. A thread of its own writes to the terminal,
//! so that a terminal that takes nothing (Ctrl-S, a slow line) holds up nothing else; it sleeps until something changed.

mod draw;
mod grid;
pub(crate) mod screen;
mod view;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use experiment::Event;
use ratatui::backend::CrosstermBackend;
use ratatui::{Terminal, TerminalOptions, Viewport};
use runner::Load;
use tokio::sync::Notify;

use self::draw::{Moment, draw};
use self::screen::Output;
use self::view::View;

/// How often the clock is drawn while nothing happens: a server starts, checks are made.
const IDLE: Duration = Duration::from_secs(1);
/// How often loading is drawn; its events come for every batch of rows.
const LOADING: Duration = Duration::from_millis(250);

/// A view that is on the terminal until it is closed or dropped.
pub(crate) struct Live {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    loading_drawn_at: Option<Instant>,
}

/// What the run's thread and the terminal's share.
struct Shared {
    view: Mutex<View>,
    changed: Notify,
    is_closed: AtomicBool,
    /// Ctrl-C or SIGTERM has come.
    is_stopping: AtomicBool,
}

impl Shared {
    /// The view; a panic while it was held left at worst figures of two seconds in it.
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Why it cannot be had, in words.
    pub(crate) fn start() -> Result<Self, String> {
        screen::take()?;
        let shared = Arc::new(Shared {
            view: Mutex::default(),
            changed: Notify::new(),
            is_closed: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = thread::Builder::new().name("live".to_owned()).spawn(move || {
            // A terminal that is gone takes no frames; the run goes on without.
            let _ = show(&of_thread);
        });
        match thread {
            Ok(thread) => Ok(Self { shared, thread: Some(thread), loading_drawn_at: None }),
            Err(error) => {
                screen::give_back();
                Err(format!("there is no thread for it: {error}"))
            }
        }
    }

    /// Learns the phases of the load that is coming.
    pub(crate) fn expect(&mut self, load: &Load) {
        self.shared.view().expect(load);
    }

    /// Shows an event.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        self.shared.view().tell(event);
        if matches!(event, Event::Loading(..)) {
            if self.loading_drawn_at.is_some_and(|drawn| drawn.elapsed() < LOADING) {
                return;
            }
            self.loading_drawn_at = Some(Instant::now());
        }
        self.shared.changed.notify_one();
    }

    /// Gives the terminal back, as it was.
    pub(crate) fn close(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.is_closed.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
        // If it panicked, it said so.
        let _ = thread.join();
        screen::give_back();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

/// Draws whenever something changed, until the view is closed.
fn show(shared: &Shared) -> io::Result<()> {
    let started = Instant::now();
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let runtime = experiment::local_runtime().map_err(io::Error::other)?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        // Its size is asked of stderr alone: of itself the backend would ask other files, and other programs.
        let options = TerminalOptions { viewport: Viewport::Fixed(screen::area()) };
        let mut terminal = Terminal::with_options(CrosstermBackend::new(Output::default()), options)?;
        while !shared.is_closed.load(Ordering::Relaxed) {
            let moment = Moment {
                elapsed: started.elapsed(),
                is_stopping: shared.is_stopping.load(Ordering::Relaxed),
                has_colours,
            };
            terminal.draw(|frame| draw(&shared.view(), moment, frame))?;
            tokio::select! {
                () = shared.changed.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
                signal = signals.next() => match signal {
                    Signal::Resized => terminal.resize(screen::area())?,
                    Signal::Stopping => shared.is_stopping.store(true, Ordering::Relaxed),
                    Signal::Suspend => screen::suspend(),
                    // Brought back to the background, it leaves the terminal to whoever has it now.
                    Signal::Resumed => if screen::take().is_ok() {
                        terminal.resize(screen::area())?;
                    },
                    Signal::Quit => {
                        screen::give_back();
                        // As it ends without a view: at once, and with a core dump where those are kept.
                        std::process::abort();
                    }
                },
            }
        }
        Ok(())
    })
}

/// What the terminal says through the kernel.
#[derive(Debug, Clone, Copy)]
enum Signal {
    Resized,
    Stopping,
    Suspend,
    Resumed,
    Quit,
}

struct Signals {
    window: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    suspend: tokio::signal::unix::Signal,
    resume: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        use rustix::process::Signal as Number;
        use tokio::signal::unix::{SignalKind, signal};
        let raw = |number: Number| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self {
            window: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            suspend: raw(Number::TSTP)?,
            resume: raw(Number::CONT)?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.window.recv() => Signal::Resized,
            _ = self.interrupt.recv() => Signal::Stopping,
            _ = self.terminate.recv() => Signal::Stopping,
            _ = self.suspend.recv() => Signal::Suspend,
            _ = self.resume.recv() => Signal::Resumed,
            _ = self.quit.recv() => Signal::Quit,
        }
    }
}
