//! One chart: lines as SVG that stretches with the page, labels as text that does not.
//!
//! The plot is an SVG with `preserveAspectRatio="none"` and strokes that do not scale; everything that is read is HTML
//! placed by percent. So one chart is right at every width, in print, and without JavaScript.

use std::fmt::Write as _;

use super::axis::{Axis, Scale};
use super::format::{Unit, escape, percent, push};
use stats::Points;

/// Units of the plot from left to right: finer than a pixel.
const WIDTH: f64 = 2000.0;
/// Units of the plot from top to bottom: fine enough to read a value back from a place on a log axis to 0.2 %.
const HEIGHT: f64 = 9999.0;
/// What a label at the end of a line takes from top to bottom, in pixels.
const LABEL_PIXELS: f64 = 14.0;

/// How a line looks. Lines are told apart by their labels and dashes; colour only helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// Its colour in the style sheet, `c0` (ink) to `c7`.
    pub(super) colour: u8,
    /// Its dashes in the style sheet: 0 solid, 1 long, 2 short, 3 dotted, 4 dash and dot.
    pub(super) dashes: u8,
    /// Its weight.
    pub(super) weight: Weight,
}

/// How heavy a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// In the background.
    Light,
    /// As most.
    Normal,
    /// What the chart is about.
    Heavy,
}

/// A line.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) points: Points,
    /// Whether it has a label at its end.
    pub(super) is_labelled: bool,
}

/// A stretch of the axis with a name.
#[derive(Debug, Clone)]
pub(super) struct Band {
    pub(super) name: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) kind: BandKind,
}

/// What a band is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BandKind {
    /// A phase that counts.
    Recorded,
    /// A phase that does not.
    Idle,
    /// Something that happened.
    Event,
    /// Where a figure lies.
    Interval,
}

/// A place on the axis at which something happened.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) name: String,
    pub(super) at: f64,
}

/// A single point with a shape that tells what it is.
#[derive(Debug, Clone)]
pub(super) struct Dot {
    pub(super) name: String,
    pub(super) at: (f64, f64),
    pub(super) shape: Shape,
    /// As of a [`Look`].
    pub(super) colour: u8,
}

/// Shapes that are told apart without colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Diamond,
    Disc,
    Cross,
}

/// How tall a chart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// Over the whole page.
    Large,
    /// One of several beside each other.
    Small,
}

/// A chart.
#[derive(Debug, Clone)]
pub(super) struct Chart {
    pub(super) title: String,
    /// What to know to read it.
    pub(super) note: String,
    pub(super) size: Size,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) bands: Vec<Band>,
    pub(super) marks: Vec<Mark>,
    pub(super) dots: Vec<Dot>,
    /// Seconds to mark below the plot, with how many failed.
    pub(super) failures: Vec<(u64, u64)>,
}

impl Size {
    const fn class(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }

    /// As in the style sheet.
    const fn height_pixels(self) -> f64 {
        match self {
            Self::Large => 250.0,
            Self::Small => 120.0,
        }
    }
}

impl Look {
    fn classes(self) -> String {
        let weight = match self.weight {
            Weight::Light => " light",
            Weight::Normal => "",
            Weight::Heavy => " heavy",
        };
        format!("c{} d{}{weight}", self.colour, self.dashes)
    }
}

impl Shape {
    /// As a path in a square of ten units.
    const fn path(self) -> &'static str {
        match self {
            Self::Circle | Self::Disc => "M1.5 5a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
            Self::Diamond => "M5 .8L9.2 5L5 9.2L.8 5z",
            Self::Cross => "M1.5 1.5l7 7M8.5 1.5l-7 7",
        }
    }
}

impl Chart {
    /// A large chart with nothing but lines.
    pub(super) fn new(title: &str, note: String, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        Self {
            title: title.to_owned(),
            note,
            size: Size::Large,
            x,
            y,
            lines,
            bands: Vec::new(),
            marks: Vec::new(),
            dots: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Writes the chart as a figure.
    pub(super) fn write(&self, out: &mut String) {
        let scale = match self.y.scale {
            Scale::Log => "log",
            Scale::Linear | Scale::Nines => "linear",
        };
        push!(
            out,
            "<figure class=\"chart {}\" data-x=\"{} {} {} {}\" data-y=\"{} {} {scale}\" data-unit=\"{}\">",
            self.size.class(),
            self.x.from,
            self.x.to,
            match (self.x.scale, self.x.unit) {
                (Scale::Nines, _) => "nines",
                (Scale::Log, _) => "log",
                (Scale::Linear, Unit::Seconds) => "time",
                (Scale::Linear, _) => "linear",
            },
            self.x.unit.name(),
            self.y.from,
            self.y.to,
            self.y.unit.name()
        );
        push!(out, "<figcaption><b>{}</b> <span>{}</span></figcaption>", escape(&self.title), escape(&self.note));
        self.write_legend(out);
        out.push_str("<div class=\"plot\"><div class=\"area\">");
        self.write_bands(out);
        self.write_lines(out);
        self.write_dots(out);
        self.write_marks(out);
        self.write_end_labels(out);
        self.write_ticks(out);
        out.push_str("</div>");
        self.write_failures(out);
        out.push_str("</div></figure>\n");
    }

    /// What somebody who does not see the chart is told: its lines, each with where it goes.
    fn in_words(&self) -> String {
        let of_line = |line: &Line| {
            let values = || line.points.iter().filter_map(|(_, y)| y.filter(|y| y.is_finite()));
            let (least, greatest) =
                (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            let named = (line.is_labelled && least <= greatest).then_some(&line.name)?;
            Some(format!("{named} from {} to {}", self.y.unit.text(least), self.y.unit.text(greatest)))
        };
        let lines: Vec<_> = self.lines.iter().filter_map(of_line).collect();
        let marks = self.marks.iter().map(|mark| mark.name.clone());
        lines.into_iter().chain(marks.take(3)).collect::<Vec<_>>().join("; ")
    }

    fn write_legend(&self, out: &mut String) {
        out.push_str("<div class=\"legend\">");
        for line in self.lines.iter().filter(|line| line.is_labelled) {
            push!(
                out,
                "<span><svg viewBox=\"0 0 24 8\"><path class=\"l {}\" d=\"M0 4h24\"/></svg>{}</span>",
                line.look.classes(),
                escape(&line.name)
            );
        }
        out.push_str("</div>");
    }

    fn write_bands(&self, out: &mut String) {
        /// Narrower bands have no room for a name.
        const SHARE_WITH_NAME_MIN: f64 = 0.03;
        let mut recorded = 0_u32;
        for band in &self.bands {
            let (left, right) = (self.x.place(band.from).clamp(0.0, 1.0), self.x.place(band.to).clamp(0.0, 1.0));
            // Of the phases that count every other is shaded, so that one alone stands on white.
            recorded += u32::from(band.kind == BandKind::Recorded);
            let class = match (band.kind, recorded % 2) {
                (BandKind::Recorded, 0) => " odd",
                (BandKind::Recorded, _) => "",
                (BandKind::Idle, _) => " idle",
                (BandKind::Event, _) => " event",
                (BandKind::Interval, _) => " interval",
            };
            let name = if right - left >= SHARE_WITH_NAME_MIN && self.size == Size::Large {
                escape(&band.name)
            } else {
                String::new()
            };
            push!(
                out,
                "<div class=\"band{class}\" style=\"left:{};width:{}\" title=\"{}{}\"><span>{name}</span></div>",
                percent(left),
                percent(right - left),
                escape(&band.name),
                if band.kind == BandKind::Idle { ", not counted" } else { "" }
            );
        }
    }

    /// Upright lines with names, those too close to another's without: their tables have them.
    fn write_marks(&self, out: &mut String) {
        /// What a name takes of the plot's width.
        const SHARE_OF_NAME: f64 = 0.09;
        let mut free_from = 0.0;
        for mark in &self.marks {
            let place = self.x.place(mark.at);
            if !(0.0..=1.0).contains(&place) {
                continue;
            }
            let is_named = self.size == Size::Large && place >= free_from;
            if is_named {
                free_from = place + SHARE_OF_NAME;
            }
            let side = if place > 1.0 - SHARE_OF_NAME { " left" } else { "" };
            let name = escape(&mark.name);
            push!(out, "<div class=\"mark{side}\" style=\"left:{}\" title=\"{name}\">", percent(place));
            if is_named {
                push!(out, "<span>{name}</span>");
            }
            out.push_str("</div>");
        }
    }

    fn write_dots(&self, out: &mut String) {
        for dot in &self.dots {
            let filled = if dot.shape == Shape::Disc { " full" } else { "" };
            push!(
                out,
                "<svg class=\"dot c{}{filled}\" viewBox=\"0 0 10 10\" style=\"left:{};top:{}\" aria-hidden=\"true\"><title>{}</title><path d=\"{}\"/></svg>",
                dot.colour,
                percent(self.x.place(dot.at.0).clamp(0.0, 1.0)),
                percent(1.0 - self.y.place(dot.at.1).clamp(0.0, 1.0)),
                escape(&dot.name),
                dot.shape.path()
            );
        }
    }

    fn write_lines(&self, out: &mut String) {
        push!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}: {}\"><path class=\"grid\" d=\"",
            escape(&self.title),
            escape(&self.in_words())
        );
        for tick in &self.y.ticks {
            push!(out, "M0 {:.0}H{WIDTH}", (1.0 - tick.place) * HEIGHT);
        }
        for tick in &self.x.ticks {
            push!(out, "M{:.0} 0V{HEIGHT}", tick.place * WIDTH);
        }
        out.push_str("\"/>");
        for line in &self.lines {
            push!(out, "<path class=\"l {}\" data-name=\"{}\" d=\"", line.look.classes(), escape(&line.name));
            write_path(
                out,
                line.points.iter().map(|(x, y)| {
                    let shown = y.filter(|y| y.is_finite());
                    shown.map(|y| (self.x.place(*x) * WIDTH, (1.0 - self.y.place(y).clamp(0.0, 1.0)) * HEIGHT))
                }),
            );
            push!(out, "\"><title>{}</title></path>", escape(&line.name));
        }
        out.push_str("</svg>");
    }

    /// Names at the ends of their lines, pushed apart where they would cover each other.
    fn write_end_labels(&self, out: &mut String) {
        let room = LABEL_PIXELS / self.size.height_pixels();
        let mut labels: Vec<(f64, &Line)> = Vec::new();
        for line in self.lines.iter().filter(|line| line.is_labelled) {
            if let Some(y) = line.points.iter().rev().find_map(|(_, y)| y.filter(|y| y.is_finite())) {
                labels.push((1.0 - self.y.place(y).clamp(0.0, 1.0), line));
            }
        }
        labels.sort_by(|a, b| a.0.total_cmp(&b.0));
        for place in 1..labels.len() {
            labels[place].0 = labels[place].0.max(labels[place - 1].0 + room);
        }
        // What was pushed out below comes back up, and pushes those above it.
        let mut limit = 1.0;
        for (top, _) in labels.iter_mut().rev() {
            *top = top.min(limit);
            limit = *top - room;
        }
        for (top, line) in labels {
            let name = escape(&line.name);
            push!(
                out,
                "<span class=\"end c{}\" style=\"top:{}\" title=\"{name}\">{name}</span>",
                line.look.colour,
                percent(top)
            );
        }
    }

    fn write_ticks(&self, out: &mut String) {
        for tick in self.y.ticks.iter().filter(|tick| !tick.label.is_empty()) {
            push!(out, "<span class=\"y\" style=\"top:{}\">{}</span>", percent(1.0 - tick.place), escape(&tick.label));
        }
        for tick in &self.x.ticks {
            // At the right edge of a narrow page the label would be cut.
            let is_last = tick.place > 0.95;
            let class = if is_last { " last" } else { "" };
            let minor = if tick.is_minor && !is_last { " minor" } else { "" };
            push!(
                out,
                "<span class=\"x{minor}{class}\" style=\"left:{}\">{}</span>",
                percent(tick.place),
                escape(&tick.label)
            );
        }
    }

    /// A strip below the plot in which every second with failures has a mark.
    fn write_failures(&self, out: &mut String) {
        /// A mark is seen however long the run was.
        const MARK_WIDTH_MIN: f64 = 4.0;
        if self.failures.is_empty() {
            return;
        }
        push!(
            out,
            "<div class=\"strip\"><span>failed</span><svg viewBox=\"0 0 {WIDTH} 10\" preserveAspectRatio=\"none\"><path d=\""
        );
        let mut stretches: Vec<(u64, u64)> = Vec::new();
        for (second, _) in &self.failures {
            match stretches.last_mut() {
                Some((_, end)) if *end == *second => *end += 1,
                _ => stretches.push((*second, second + 1)),
            }
        }
        for (from, to) in stretches {
            let (left, right) = (self.x.place(from as f64) * WIDTH, self.x.place(to as f64) * WIDTH);
            push!(out, "M{left:.0} 0h{0:.0}v10h-{0:.0}z", (right - left).max(MARK_WIDTH_MIN));
        }
        let total: u64 = self.failures.iter().map(|(_, failed)| failed).sum();
        let (first, last) = (self.failures[0].0, self.failures[self.failures.len() - 1].0);
        let said = format!(
            "{} failed in {} s, between {} and {}",
            super::format::count(total),
            super::format::count(self.failures.len() as u64),
            super::format::time(first as f64),
            super::format::time(last as f64 + 1.0)
        );
        push!(out, "\"/></svg><small>{said}</small></div>");
    }
}

/// A path in whole units, relative after the first point of a stretch: half the bytes of an absolute one.
fn write_path(out: &mut String, points: impl Iterator<Item = Option<(f64, f64)>>) {
    let mut last: Option<(i64, i64)> = None;
    let mut in_stretch = false;
    for point in points {
        let Some((x, y)) = point.map(|(x, y)| (x.round() as i64, y.round() as i64)) else {
            close_stretch(out, in_stretch, last.is_some());
            (last, in_stretch) = (None, false);
            continue;
        };
        match last {
            None => push!(out, "M{x} {y}"),
            Some((last_x, last_y)) => {
                let (right, down) = (x - last_x, y - last_y);
                let before = if in_stretch { if right < 0 { "" } else { " " } } else { "l" };
                let between = if down < 0 { "" } else { " " };
                push!(out, "{before}{right}{between}{down}");
                in_stretch = true;
            }
        }
        last = Some((x, y));
    }
    close_stretch(out, in_stretch, last.is_some());
}

/// A stretch of one point is a dot: a line of no length has round ends.
fn close_stretch(out: &mut String, in_stretch: bool, has_point: bool) {
    if has_point && !in_stretch {
        out.push_str("h0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_with_gaps_and_dots() {
        let check = |points: &[Option<(f64, f64)>], expect: &str| {
            let mut out = String::new();
            write_path(&mut out, points.iter().copied());
            assert_eq!(out, expect);
        };
        check(&[Some((0.0, 10.0)), Some((2.0, 7.0)), Some((4.0, 9.0))], "M0 10l2-3 2 2");
        check(&[Some((1.0, 1.0)), None, None, Some((3.0, 3.0)), Some((4.0, 3.0))], "M1 1h0M3 3l1 0");
        check(&[None, Some((5.0, 5.0))], "M5 5h0");
        check(&[], "");
    }
}
