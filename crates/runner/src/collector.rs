//! Puts together what the workers hand over: seconds once all of them have ended them, and quarters of those that are watched.

use std::sync::mpsc::Sender;

use crate::record::{Message, OperationCells, Sample};
use crate::watch::Quarter;

/// Puts the workers' seconds together.
#[derive(Debug)]
pub(crate) struct Collector {
    workers: usize,
    /// Seconds that not all workers have ended, in order.
    open: Vec<OpenSecond>,
    /// Totals by phase.
    totals: Vec<OperationCells>,
    returns: Vec<Sender<OperationCells>>,
}

/// What all workers have ended.
#[derive(Debug)]
pub(crate) enum Whole {
    Second(Sample),
    Quarter(Quarter),
}

#[derive(Debug)]
struct OpenSecond {
    sample: Sample,
    cuts: usize,
    /// Those that not all workers have ended, in order.
    quarters: Vec<OpenQuarter>,
    /// Whether some of it was handed over without saying in which quarter it ended.
    is_undivided: bool,
}

#[derive(Debug)]
struct OpenQuarter {
    quarter: Quarter,
    cuts: usize,
    /// Whether some worker was there to its end.
    is_lived: bool,
}

impl Collector {
    pub(crate) fn new(phases: usize, operations: usize, returns: Vec<Sender<OperationCells>>) -> Self {
        Self {
            workers: returns.len(),
            open: Vec::new(),
            totals: vec![OperationCells::new(operations); phases],
            returns,
        }
    }

    /// Takes a worker's message; gives a second, or a quarter of one, once all workers have ended it. Where workers do not
    /// agree that a second is watched, its quarters are never whole, and none of them is given.
    pub(crate) fn take(&mut self, worker: usize, message: Message) -> Option<Whole> {
        let workers = self.workers;
        match message {
            Message::Connected(_) | Message::Done(_) => None,
            Message::Cells { second, quarter, phase, mut cells } => {
                self.totals[usize::from(phase)].merge(&cells);
                let open = self.second(second);
                open.sample.add(phase, &cells);
                match quarter {
                    Some(quarter) => open.quarter(quarter).quarter.sample.add(phase, &cells),
                    None => open.is_undivided = true,
                }
                cells.clear();
                let _ = self.returns[worker].send(cells);
                None
            }
            Message::CutQuarter { second, quarter, gauges } => {
                let second = self.second(second);
                let open = second.quarter(quarter);
                open.cuts += 1;
                if let Some(gauges) = gauges {
                    open.is_lived = true;
                    open.quarter.sample.gauges.merge(&gauges);
                }
                if open.cuts < workers {
                    return None;
                }
                let position = second.quarters.iter().position(|open| open.quarter.quarter == quarter)?;
                let OpenQuarter { quarter, is_lived, .. } = second.quarters.remove(position);
                is_lived.then_some(Whole::Quarter(quarter))
            }
            Message::Cut { second, gauges } => {
                let open = self.second(second);
                open.sample.gauges.merge(&gauges);
                open.cuts += 1;
                if open.cuts < workers {
                    return None;
                }
                let position = self.open.iter().position(|open| open.sample.second == second)?;
                Some(Whole::Second(self.open.remove(position).sample))
            }
        }
    }

    /// The totals, and the seconds that some worker did not live to end, where anything ended in them.
    pub(crate) fn into_rest(self) -> (Vec<OperationCells>, Vec<Whole>) {
        let mut rest = Vec::new();
        for OpenSecond { sample, quarters, is_undivided, .. } in self.open {
            if sample.phases.is_empty() {
                continue;
            }
            let quarters = quarters.into_iter().filter(|open| open.is_lived && !is_undivided);
            rest.extend(quarters.map(|open| Whole::Quarter(open.quarter)));
            rest.push(Whole::Second(sample));
        }
        (self.totals, rest)
    }

    fn second(&mut self, second: u64) -> &mut OpenSecond {
        let position = self.open.partition_point(|open| open.sample.second < second);
        if self.open.get(position).is_none_or(|open| open.sample.second != second) {
            let sample = Sample::new(second);
            let open = OpenSecond { sample, cuts: 0, quarters: Vec::new(), is_undivided: false };
            self.open.insert(position, open);
        }
        &mut self.open[position]
    }
}

impl OpenSecond {
    fn quarter(&mut self, quarter: u8) -> &mut OpenQuarter {
        let position = self.quarters.partition_point(|open| open.quarter.quarter < quarter);
        if self.quarters.get(position).is_none_or(|open| open.quarter.quarter != quarter) {
            let quarter = Quarter { quarter, sample: Sample::new(self.sample.second) };
            self.quarters.insert(position, OpenQuarter { quarter, cuts: 0, is_lived: false });
        }
        &mut self.quarters[position]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};

    use store::ErrorKind;

    use super::*;
    use crate::record::{Outbox, Recorder, SecondGauges};

    fn gauges(backlog: u64) -> SecondGauges {
        SecondGauges { backlog, ..Default::default() }
    }

    /// Two workers and the one who collects.
    struct Pair {
        recorders: [Recorder; 2],
        inbox: Receiver<(usize, Message)>,
        collector: Collector,
    }

    impl Pair {
        fn new() -> Self {
            let (outbox, inbox) = channel();
            let mut returns = Vec::new();
            let recorders = [0, 1].map(|worker| {
                let (sender, returned) = channel();
                returns.push(sender);
                Recorder::new(1, Outbox::new(worker, outbox.clone()), returned)
            });
            Self { recorders, inbox, collector: Collector::new(2, 1, returns) }
        }

        /// What has come to be whole, told as text, and how much ended well in it.
        fn whole(&mut self) -> Vec<(String, u64)> {
            let taken = self.inbox.try_iter().filter_map(|(worker, message)| self.collector.take(worker, message));
            taken.map(|whole| told(&whole)).collect()
        }
    }

    fn told(whole: &Whole) -> (String, u64) {
        let (name, sample) = match whole {
            Whole::Second(sample) => (sample.second.to_string(), sample),
            Whole::Quarter(Quarter { quarter, sample }) => (format!("{}.{quarter}", sample.second), sample),
        };
        (name, sample.phases.iter().map(|(_, cells)| cells.total().succeeded).sum())
    }

    #[test]
    fn seconds_come_once_all_workers_have_ended_them() {
        let mut pair = Pair::new();
        pair.recorders[0].succeed(1, 0, true, 10_000, 30_000, 80_000);
        pair.recorders[0].fail(1, 0, ErrorKind::Timeout);
        pair.recorders[0].cut(0, gauges(3));
        assert_eq!(pair.whole(), []);
        let Some(Whole::Second(sample)) = pair.collector.take(1, Message::Cut { second: 0, gauges: gauges(4) }) else {
            panic!("one second");
        };
        assert_eq!(sample.gauges.backlog, 7);
        let (phase, cells) = &sample.phases[0];
        let (operation, cell) = cells.iter().next().expect("one operation");
        assert_eq!((*phase, operation, cell.succeeded, cell.failed), (1, 0, 1, 1));
        assert_eq!(cell.errors[ErrorKind::Timeout.index()], 1);
        let queueing = cell.queueing_time.as_ref().expect("open");
        assert!(queueing.max().abs_diff(20_000) <= 20 && cell.latency.max().abs_diff(70_000) <= 70);
        assert_eq!(pair.collector.totals[1].total(), *cell);
        assert!(pair.recorders[0].has_spare(), "it was given back");
    }

    #[test]
    fn a_second_is_put_together_of_its_quarters() {
        let mut pair = Pair::new();
        let mut quarters = Vec::new();
        for quarter in 0..4 {
            for (worker, recorder) in pair.recorders.iter_mut().enumerate() {
                recorder.late(1_000 * (4 - u64::from(quarter)), true);
                (0..=worker).for_each(|_| recorder.succeed(0, 0, false, 5, 5, 1_000 + u64::from(quarter)));
                recorder.cut_quarter(7, quarter, gauges(1));
            }
            let taken = pair.inbox.try_iter().filter_map(|(worker, message)| pair.collector.take(worker, message));
            quarters.extend(taken);
        }
        assert_eq!(quarters.iter().map(told).collect::<Vec<_>>(), [0, 1, 2, 3].map(|at| (format!("7.{at}"), 3)));
        pair.recorders.iter_mut().for_each(|recorder| recorder.cut(7, gauges(2)));
        let taken = pair.inbox.try_iter().filter_map(|(worker, message)| pair.collector.take(worker, message));
        let [Whole::Second(second)] = &taken.collect::<Vec<_>>()[..] else { panic!("one second") };
        assert_eq!((second.gauges.backlog, second.gauges.lateness_ns_max), (4, 4_000));
        let mut sum = Sample::new(7);
        for whole in &quarters {
            let Whole::Quarter(Quarter { sample, quarter }) = whole else { panic!("{whole:?}") };
            assert_eq!((sample.gauges.backlog, sample.gauges.lateness_ns_max), (2, 1_000 * (4 - u64::from(*quarter))));
            sample.phases.iter().for_each(|(phase, cells)| sum.add(*phase, cells));
        }
        assert_eq!(sum.phases, second.phases);
    }

    #[test]
    fn quarters_on_which_workers_do_not_agree_are_not_told() {
        let mut pair = Pair::new();
        for quarter in 0..4 {
            pair.recorders[0].succeed(0, 0, false, 5, 5, 1_000);
            pair.recorders[0].cut_quarter(0, quarter, gauges(0));
        }
        pair.recorders[0].cut(0, gauges(0));
        pair.recorders[1].succeed(0, 0, false, 5, 5, 1_000);
        pair.recorders[1].cut(0, gauges(0));
        assert_eq!(pair.whole(), [("0".to_owned(), 5)]);
    }

    #[test]
    fn quarters_of_the_last_second_are_those_that_somebody_lived() {
        let mut pair = Pair::new();
        let [first, second] = &mut pair.recorders;
        for recorder in [&mut *first, &mut *second] {
            recorder.succeed(0, 0, false, 5, 5, 1_000);
            recorder.cut_quarter(0, 0, gauges(0));
        }
        // The first one ends early in the second quarter, the other one in the third.
        first.succeed(0, 0, false, 5, 5, 1_000);
        first.cut_quarter(0, 1, gauges(0));
        (2..4).for_each(|quarter| first.leave_quarter(0, quarter));
        first.cut(0, gauges(0));
        second.cut_quarter(0, 1, gauges(0));
        second.succeed(0, 0, false, 5, 5, 1_000);
        second.cut_quarter(0, 2, gauges(0));
        second.leave_quarter(0, 3);
        second.cut(0, gauges(0));
        let told = pair.whole();
        assert_eq!(told, [("0.0", 2), ("0.1", 1), ("0.2", 1), ("0", 4)].map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn what_some_worker_did_not_live_to_end_comes_last() {
        let mut pair = Pair::new();
        pair.recorders[1].succeed(0, 0, false, 5, 5, 1_000);
        pair.recorders[1].cut_quarter(3, 0, gauges(0));
        pair.recorders[0].cut(4, gauges(0));
        assert_eq!(pair.whole(), []);
        let (_, rest) = pair.collector.into_rest();
        let told: Vec<_> = rest.iter().map(told).collect();
        assert_eq!(told, [("3.0", 1), ("3", 1)].map(|(name, count)| (name.to_owned(), count)));
    }
}
