//! The view on a terminal of any size: what matters most is shown first, the rest where there is room.

use std::collections::VecDeque;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, LineGauge, Paragraph, Sparkline};
use runner::Mode;

use super::grid::{Column, grid};
use super::view::{Entry, PERCENTILES, Stage, View};
use crate::progress::loaded;
use crate::terminal::{microseconds, thousands};

/// From so many columns on charts stand side by side.
const WIDE: u16 = 80;
/// Below so many columns the time that is left is left to the reader.
const NARROW: u16 = 60;
/// Rows of a chart: more make it no clearer.
const CHART_ROWS_MAX: u16 = 8;
const HEADER_ROWS: u16 = 3;
/// What stands for a figure that is not there.
const NONE: &str = "–";

/// Of the columns of [`PERCENTILES`], which stay longest on a narrow terminal.
const PERCENTILE_COLUMNS: [Column; PERCENTILES.len()] =
    [(PERCENTILES[0].0, 1), (PERCENTILES[1].0, 3), (PERCENTILES[2].0, 0), (PERCENTILES[3].0, 4), (PERCENTILES[4].0, 2)];

/// The place of the 99th percentile.
const P99: usize = 2;

/// What the view itself does not know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Since the command began.
    pub(super) elapsed: Duration,
    /// The run was asked to stop.
    pub(super) is_stopping: bool,
    /// Colours are wanted. Nothing is said by them alone.
    pub(super) has_colours: bool,
}

/// Draws everything that there is room for.
pub(super) fn draw(view: &View, moment: Moment, frame: &mut Frame<'_>) {
    let painter = Painter { view, moment };
    let area = frame.area();
    let [header, body] = Layout::vertical([Constraint::Length(HEADER_ROWS), Constraint::Fill(1)]).areas(area);
    painter.header(frame, header);
    let heights = heights(&painter.wanted(), body.height);
    let parts = Layout::vertical(heights.map(Constraint::Length)).split(body);
    for (part, area) in Part::ALL.into_iter().zip(parts.iter()) {
        if area.height > 0 {
            painter.part(part, frame, *area);
        }
    }
}

/// A titled part of the screen, in the order from top to bottom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Charts,
    Latency,
    Operations,
    Lag,
    Errors,
    Events,
}

impl Part {
    const ALL: [Self; 6] = [Self::Charts, Self::Latency, Self::Operations, Self::Lag, Self::Errors, Self::Events];
    /// Who gets rows first.
    const BY_RANK: [Self; 6] = [Self::Latency, Self::Charts, Self::Lag, Self::Errors, Self::Events, Self::Operations];
}

/// Rows that a part needs at least, and those that it can use, its title included.
type Wanted = (u16, u16);

/// How parts grow where there is room, one step after another: up to so many rows, and to what they can use.
const GROWTH: [(Part, u16); 6] = [
    (Part::Charts, 4),
    (Part::Operations, u16::MAX),
    (Part::Events, 4),
    (Part::Charts, 5),
    (Part::Events, 8),
    (Part::Charts, u16::MAX),
];

/// Shares rows out: each part in the order of rank gets the least that it needs, then they grow; events take what is left.
fn heights(wanted: &[Wanted; Part::ALL.len()], mut left: u16) -> [u16; Part::ALL.len()] {
    let mut heights = [0; Part::ALL.len()];
    for part in Part::BY_RANK {
        let (least, _) = wanted[part as usize];
        if least <= left {
            heights[part as usize] = least;
            left -= least;
        }
    }
    for (part, step) in GROWTH.into_iter().chain([(Part::Events, u16::MAX)]) {
        let (_, most) = wanted[part as usize];
        let height = &mut heights[part as usize];
        if *height > 0 {
            let more = most.min(step).saturating_sub(*height).min(left);
            *height += more;
            left -= more;
        }
    }
    heights
}

struct Painter<'a> {
    view: &'a View,
    moment: Moment,
}

impl Painter<'_> {
    fn wanted(&self) -> [Wanted; Part::ALL.len()] {
        if self.view.stage != Stage::Measuring && self.view.seconds == 0 {
            // Nothing has been measured: there is only what happened.
            return Part::ALL.map(|part| if part == Part::Events { (2, u16::MAX) } else { (0, 0) });
        }
        let operations = self.view.operations.len() as u16;
        Part::ALL.map(|part| match part {
            Part::Charts => (2, 2 + CHART_ROWS_MAX),
            Part::Latency => (4, 4),
            Part::Operations if operations == 0 => (0, 0),
            Part::Operations => (3, 2 + operations),
            Part::Lag => (3, 3),
            Part::Errors if self.view.errors.is_empty() => (0, 0),
            Part::Errors => (2, 2),
            Part::Events => (2, u16::MAX),
        })
    }

    fn header(&self, frame: &mut Frame<'_>, area: Rect) {
        let [first, second, third] = Layout::vertical([Constraint::Length(1); HEADER_ROWS as usize]).areas(area);
        let clock = clock(self.moment.elapsed.as_secs());
        let right = Line::raw(format!("storelab {}  {clock}", env!("CARGO_PKG_VERSION"))).right_aligned();
        let name = if self.view.name.is_empty() { "storelab run" } else { &self.view.name };
        let [left, corner] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(right.width() as u16 + 1)]).areas(first);
        frame.render_widget(Line::styled(name, self.strong(Color::Cyan)), left);
        frame.render_widget(right.style(Style::new().add_modifier(Modifier::DIM)), corner);
        frame.render_widget(Line::raw(self.view.subject.as_str()), second);
        self.progress(frame, third);
    }

    /// What the run is at, and how much of it is behind us.
    fn progress(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut label = self.stage(area.width);
        if self.moment.is_stopping {
            label = format!("stopping · {label}");
        }
        let share = match self.view.stage {
            Stage::Loading(rows, of) if of > 0 => Some(rows as f64 / of as f64),
            Stage::Measuring => self.view.share_done(),
            _ => None,
        };
        let style = if self.moment.is_stopping { self.strong(Color::Yellow) } else { self.strong(Color::Reset) };
        let Some(share) = share else {
            frame.render_widget(Line::styled(label, style), area);
            return;
        };
        let gauge = LineGauge::default()
            .ratio(share.clamp(0.0, 1.0))
            .label(Line::styled(label, style))
            .filled_symbol("█")
            .unfilled_symbol("░")
            .filled_style(self.colour(Color::Cyan))
            .unfilled_style(Style::new().add_modifier(Modifier::DIM));
        frame.render_widget(gauge, area);
    }

    fn stage(&self, width: u16) -> String {
        let view = self.view;
        match &view.stage {
            Stage::Connecting => "connecting …".to_owned(),
            Stage::Starting(name) => format!("starting a throw-away {name} …"),
            Stage::Loading(rows, of) => format!("loading {}", loaded(*rows, *of)),
            Stage::Verifying => "verifying the data …".to_owned(),
            Stage::Measuring => {
                let phase = view.current().map_or_else(String::new, |(place, phase)| {
                    let counts = if phase.is_recorded { "" } else { ", not counted" };
                    format!("{} ({place}/{}{counts})", phase.name, view.phases.len())
                });
                let now = clock(view.seconds);
                match view.end_seconds() {
                    Some(end) if width < NARROW => format!("{phase} · {now} of {}", clock(end.ceil() as u64)),
                    Some(end) => {
                        let left = (end - view.seconds as f64).max(0.0).ceil() as u64;
                        format!("{phase} · {now} of {} · {} left", clock(end.ceil() as u64), clock(left))
                    }
                    None => format!("{phase} · {now}"),
                }
            }
        }
    }

    fn part(&self, part: Part, frame: &mut Frame<'_>, area: Rect) {
        match part {
            Part::Charts => self.charts(frame, area),
            Part::Latency => self.latency(frame, area),
            Part::Operations => self.operations(frame, area),
            Part::Lag => self.lag(frame, area),
            Part::Errors => self.errors(frame, area),
            Part::Events => self.events(frame, area),
        }
    }

    fn charts(&self, frame: &mut Frame<'_>, area: Rect) {
        let view = self.view;
        let mean = view.so_far.per_second().map_or_else(|| NONE.to_owned(), rate);
        let planned = view.planned_per_second().map(|planned| format!(" · planned {}", rate(planned)));
        let now = rate(view.now.succeeded as f64);
        let figures = format!("now {now} · mean {mean}{}", planned.unwrap_or_default());
        let highest = |history: &VecDeque<u64>| history.iter().copied().max().unwrap_or(0);
        if area.width < WIDE {
            self.chart(frame, area, "Throughput", &figures, &view.throughput, Color::Cyan);
            return;
        }
        let [left, _, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Fill(1)]).areas(area);
        self.chart(frame, left, "Throughput", &figures, &view.throughput, Color::Cyan);
        let latencies = &view.latency_us_p99;
        let now = latency(view.now.succeeded, view.now.latency_us[P99]);
        let figures = format!("now {now} · highest {}", latency(highest(latencies), highest(latencies) as f64));
        self.chart(frame, right, "p99 of each second", &figures, latencies, Color::Yellow);
    }

    /// Figures, and what led to them: a column a second, the last one to the right.
    fn chart(
        &self,
        frame: &mut Frame<'_>,
        area: Rect,
        title: &str,
        figures: &str,
        history: &VecDeque<u64>,
        colour: Color,
    ) {
        let inner = self.titled(frame, area, title);
        let [top, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(inner);
        frame.render_widget(Line::styled(figures, self.strong(Color::Reset)), top);
        let columns = usize::from(rest.width);
        let last = history.iter().skip(history.len().saturating_sub(columns)).copied();
        frame.render_widget(Sparkline::default().data(last.collect::<Vec<_>>()).style(self.colour(colour)), rest);
    }

    fn latency(&self, frame: &mut Frame<'_>, area: Rect) {
        let is_closed = self.view.current().is_some_and(|(_, phase)| phase.mode == Mode::Closed);
        let title =
            if is_closed { "Latency, from the send (blind to stalls)" } else { "Latency, from the intended start" };
        let inner = self.titled(frame, area, title);
        let row = |name: &str, count: u64, latency_us: &[f64]| {
            let mut row = vec![name.to_owned()];
            row.extend(latency_us.iter().map(|value| latency(count, *value)));
            row
        };
        let rows = [
            row("now", self.view.now.succeeded, &self.view.now.latency_us),
            row("so far", self.view.so_far.succeeded, &self.view.so_far.latency_us),
        ];
        frame.render_widget(Paragraph::new(grid("", &PERCENTILE_COLUMNS, &rows, inner.width)), inner);
    }

    fn operations(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.titled(frame, area, "Operations");
        let mut columns = vec![("now", 0), ("succeeded", 4), ("failed", 1)];
        columns.extend(PERCENTILES.into_iter().zip([3, 6, 2, 7, 5]).map(|((name, _), rank)| (name, rank)));
        let rows: Vec<Vec<String>> = self
            .view
            .operations
            .iter()
            .map(|operation| {
                let mut row = vec![
                    operation.name.clone(),
                    format!("{}/s", thousands(operation.now)),
                    thousands(operation.succeeded),
                    thousands(operation.failed),
                ];
                row.extend(operation.latency_us.iter().map(|value| latency(operation.now, *value)));
                row
            })
            .collect();
        let mut lines = grid("", &columns, &rows, inner.width);
        let room = usize::from(inner.height);
        if lines.len() > room {
            let hidden = lines.len() - room + 1;
            lines.truncate(room.saturating_sub(1));
            lines.push(Line::raw(format!("… and {hidden} more")));
        }
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn lag(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.titled(frame, area, "Lag and use");
        let view = self.view;
        let count = |name: &str| view.gauge(name).map(|value| thousands(value as u64));
        // Nothing is late that nobody planned.
        let late = view.gauge("generator.lateness_us_max").filter(|_| view.lateness_us_max > 0.0);
        let late = late.map(|now| format!("{} (at most {})", microseconds(now), microseconds(view.lateness_us_max)));
        let percent = |name: &str| view.gauge(name).map(|value| format!("{value:.0} %"));
        let first = [
            ("backlog", count("generator.backlog")),
            ("in flight", count("generator.in_flight")),
            ("connected", count("generator.connected")),
            ("late", late),
        ];
        let second = [
            ("CPU: generator", percent("generator.cpu_percent")),
            ("server", percent("server.cpu_percent")),
            ("host", percent("host.cpu_percent")),
            ("I/O wait", percent("host.cpu_iowait_percent")),
            ("stolen", percent("host.cpu_steal_percent")),
        ];
        frame.render_widget(Paragraph::new(vec![facts(&first), facts(&second)]), inner);
    }

    fn errors(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.titled(frame, area, "Errors");
        let counts: Vec<_> =
            self.view.errors.iter().map(|(kind, count)| format!("{kind} {}", thousands(*count))).collect();
        frame.render_widget(Line::styled(counts.join(" · "), self.strong(Color::Red)), inner);
    }

    fn events(&self, frame: &mut Frame<'_>, area: Rect) {
        let inner = self.titled(frame, area, "Events");
        let events = &self.view.events;
        let shown = events.iter().skip(events.len().saturating_sub(usize::from(inner.height)));
        let lines: Vec<_> = shown.map(|entry| self.event(entry)).collect();
        frame.render_widget(Paragraph::new(lines), inner);
    }

    fn event<'a>(&self, entry: &'a Entry) -> Line<'a> {
        let at = entry.at.map_or_else(|| format!("{:>6}", ""), |seconds| format!("{:>6}", clock(seconds)));
        let (mark, style) = if entry.is_warning { ("! ", self.strong(Color::Yellow)) } else { ("  ", Style::new()) };
        Line::from(vec![
            Span::styled(at, Style::new().add_modifier(Modifier::DIM)),
            Span::raw(" "),
            Span::styled(mark, style),
            Span::styled(entry.text.as_str(), style),
        ])
    }

    /// Draws a part's title and gives what is below it.
    fn titled(&self, frame: &mut Frame<'_>, area: Rect, title: &str) -> Rect {
        let block = Block::new()
            .borders(Borders::TOP)
            .border_style(Style::new().add_modifier(Modifier::DIM))
            .title(Line::styled(format!("{title} "), self.strong(Color::Reset)));
        let inner = block.inner(area);
        frame.render_widget(block, area);
        inner
    }

    fn colour(&self, colour: Color) -> Style {
        if self.moment.has_colours && colour != Color::Reset { Style::new().fg(colour) } else { Style::new() }
    }

    fn strong(&self, colour: Color) -> Style {
        self.colour(colour).add_modifier(Modifier::BOLD)
    }
}

/// Names with their figures, those that are not known left out.
fn facts(facts: &[(&str, Option<String>)]) -> Line<'static> {
    let known: Vec<_> = facts.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?))).collect();
    Line::raw(known.join(" · "))
}

/// Operations a second.
fn rate(per_second: f64) -> String {
    format!("{}/s", thousands(per_second.round() as u64))
}

/// A latency, where there was any.
fn latency(count: u64, value_us: f64) -> String {
    if count == 0 { NONE.to_owned() } else { microseconds(value_us) }
}

/// Seconds as `00:42`, `1:02:03`.
fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes:02}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use experiment::Event;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::live::view::tests::{load, second};

    const MOMENT: Moment = Moment { elapsed: Duration::from_secs(6), is_stopping: false, has_colours: true };

    fn drawn(view: &View, moment: Moment, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is in memory");
        terminal.draw(|frame| draw(view, moment, frame)).expect("it is in memory");
        terminal.backend().buffer().clone()
    }

    fn rows(buffer: &Buffer) -> Vec<String> {
        let cells: Vec<&str> = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        cells.chunks(usize::from(buffer.area.width)).map(|row| row.concat().trim_end().to_owned()).collect()
    }

    fn going_on() -> View {
        let mut view = View::default();
        view.expect(&load());
        view.tell(&Event::Connected("null:"));
        view.begin("checkout", "ycsb:b on null: · Null · seed 7");
        for (at, phase, succeeded, failed) in [(0, 0, 50, 0), (1, 0, 100, 0), (2, 1, 0, 0), (3, 1, 80, 2)] {
            view.tell(&Event::Sampled(&second(at, phase, succeeded, failed)));
        }
        view
    }

    #[test]
    fn a_usual_terminal_shows_everything() {
        let expected = "\
checkout                                                   storelab 0.1.0  00:06
ycsb:b on null: · Null · seed 7
steady (2/2) · 00:04 of 00:12 · 00:08 left ████████████░░░░░░░░░░░░░░░░░░░░░░░░░
Throughput ────────────────────────────  p99 of each second ────────────────────
now 80/s · mean 40/s · planned 115/s     now 1.00 ms · highest 1.00 ms
 █ ▃                                     ██ █
▄█ █                                     ██ █
██ █                                     ██ █
Latency, from the intended start ───────────────────────────────────────────────
              p50        p95        p99      p99.9        max
now       1.00 ms    1.00 ms    1.00 ms    1.00 ms    1.00 ms
so far    1.00 ms    1.00 ms    1.00 ms    1.00 ms    1.00 ms
Operations ─────────────────────────────────────────────────────────────────────
            now  succeeded     failed        p50        p99        max
read       80/s        230          2    1.00 ms    1.00 ms    1.00 ms
Lag and use ────────────────────────────────────────────────────────────────────
in flight 3 · late 40 µs (at most 40 µs)
CPU: generator 12 % · host 34 %
Errors ─────────────────────────────────────────────────────────────────────────
timeout 2
Events ─────────────────────────────────────────────────────────────────────────
 00:03 ! no operation ended well in this second
 00:04   operations end well again, after 1 s
 00:04 ! operations fail";
        assert_eq!(rows(&drawn(&going_on(), MOMENT, 80, 24)).join("\n"), expected);
    }

    #[test]
    fn a_small_terminal_shows_what_matters_most() {
        let expected = "\
checkout           storelab 0.1.0  00:06
ycsb:b on null: · Null · seed 7
steady (2/2) · 00:04 of 00:12 ███░░░░░░░
Throughput ─────────────────────────────
now 80/s · mean 40/s · planned 115/s
▄█ ▆
Latency, from the intended start ───────
              p50        p99        max
now       1.00 ms    1.00 ms    1.00 ms
so far    1.00 ms    1.00 ms    1.00 ms";
        assert_eq!(rows(&drawn(&going_on(), MOMENT, 40, 10)).join("\n"), expected);
    }

    #[test]
    fn any_size_and_any_stage_is_drawn() {
        let mut views = vec![View::default(), going_on()];
        for event in [Event::Starting("redis"), Event::Loading(5, 0), Event::Loading(5, 10), Event::Verifying] {
            let mut view = View::default();
            view.tell(&event);
            views.push(view);
        }
        let mut ended = going_on();
        ended.tell(&Event::Verifying);
        views.push(ended);
        for view in &views {
            for width in [1, 9, 40, 79, 80, 200] {
                for height in (1..16).chain([24, 60]) {
                    drawn(view, Moment { is_stopping: height % 2 == 0, ..MOMENT }, width, height);
                }
            }
        }
    }

    #[test]
    fn what_a_run_is_at_is_said() {
        let stopping = Moment { is_stopping: true, ..MOMENT };
        let told = |event: &Event<'_>| {
            let mut view = View::default();
            view.tell(event);
            view
        };
        for (view, moment, part) in [
            (View::default(), MOMENT, "connecting …"),
            (told(&Event::Starting("redis")), MOMENT, "starting a throw-away redis …"),
            (told(&Event::Loading(5, 10)), MOMENT, "loading 5 of 10 rows (50 %) ███"),
            (told(&Event::Warning("look here")), MOMENT, " ! look here"),
            (going_on(), stopping, "stopping · steady (2/2)"),
            (told(&Event::Verifying), stopping, "stopping · verifying the data …"),
        ] {
            let shown = rows(&drawn(&view, moment, 80, 24)).join("\n");
            assert!(shown.contains(part), "`{part}` is not in\n{shown}");
        }
    }

    #[test]
    fn nothing_is_said_by_colour_alone() {
        let grey = Moment { has_colours: false, ..MOMENT };
        let (plain, coloured) = (drawn(&going_on(), grey, 80, 24), drawn(&going_on(), MOMENT, 80, 24));
        assert_eq!(rows(&plain), rows(&coloured));
        let is_coloured =
            |buffer: &Buffer| buffer.content().iter().any(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset));
        assert!(!is_coloured(&plain) && is_coloured(&coloured));
    }

    #[test]
    fn what_others_say_of_themselves_moves_nothing() {
        let mut view = View::default();
        view.tell(&Event::Connected("redis://\x1b[2J"));
        view.begin("\x1b]0;name\x07", "on \u{202e}server\n");
        view.tell(&Event::Warning("line\r\x1b[31m"));
        let mut sample = second(0, 0, 3, 0);
        sample.operations[0].operation = "re\x1bad".to_owned();
        view.tell(&Event::Sampled(&sample));
        let buffer = drawn(&view, MOMENT, 80, 40);
        let shown = rows(&buffer).join("\n");
        for part in ["�]0;name�", "on �server�", "redis://�[2J", "line��[31m", "re�ad"] {
            assert!(shown.contains(part), "`{part}` is not in\n{shown}");
        }
        assert!(!shown.contains(|character: char| character.is_control() && character != '\n'));
    }
}
