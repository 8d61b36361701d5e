//! Which process a run belongs to, so that a run whose process died is not shown as going on.

use std::fs;

use jiff::Timestamp;

/// How long an owner that cannot be looked at (another PID namespace, no /proc) counts as alive after it was last heard
/// of. It is heard of once a second.
const SILENCE_SECONDS_MAX: i64 = 5;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Owner {
    /// Its number; 0 where unknown.
    pub(crate) process_id: u32,
    /// When it started, in clock ticks since the machine's start (field 22 of /proc/PID/stat, proc(5)); 0 where unknown.
    pub(crate) start_ticks: u64,
    /// The machine's start, as random(4) names it; empty where unknown.
    pub(crate) boot_id: String,
    /// In which process numbers its own has a meaning; empty where unknown.
    pub(crate) namespace: String,
}

impl Owner {
    /// The process that asks.
    pub(crate) fn current() -> Self {
        let process_id = std::process::id();
        Self {
            process_id,
            start_ticks: Stat::read(process_id).map_or(0, |stat| stat.start_ticks),
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
            namespace: fs::read_link("/proc/self/ns/pid").unwrap_or_default().to_string_lossy().into_owned(),
        }
    }

    /// Whether it was heard of lately enough to count as alive where it cannot be looked at.
    pub(crate) fn was_heard(heard_at: Timestamp, now: Timestamp) -> bool {
        now.as_second() - heard_at.as_second() <= SILENCE_SECONDS_MAX
    }

    /// Whether it ran since another start of a machine than the observer: on another one, or before this one's start.
    pub(crate) fn is_elsewhere(&self, observer: &Self) -> bool {
        self.boot_id != observer.boot_id
    }

    /// Whether it still runs, as far as `observer` can tell: exactly where both share process numbers, by when it was last
    /// heard of where they do not.
    pub(crate) fn is_alive(&self, observer: &Self, heard_at: Timestamp, now: Timestamp) -> bool {
        if self.is_elsewhere(observer) {
            return false;
        }
        if self.start_ticks == 0 || observer.start_ticks == 0 || self.namespace != observer.namespace {
            return Self::was_heard(heard_at, now);
        }
        Stat::read(self.process_id).is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_over())
    }
}

/// What is needed of /proc/PID/stat.
struct Stat {
    state: char,
    start_ticks: u64,
}

impl Stat {
    fn read(process_id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
        // The command in parentheses may itself hold spaces and parentheses, so fields are counted from its end.
        let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self { state, start_ticks: fields.nth(18)?.parse().ok()? })
    }

    /// Ended and only waiting to be collected.
    fn is_over(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_process_is_alive() {
        let here = Owner::current();
        let now = Timestamp::now();
        let long_ago = Timestamp::UNIX_EPOCH;
        for (owner, heard_at, alive, why) in [
            (here.clone(), long_ago, true, "it is this process"),
            (Owner { start_ticks: here.start_ticks + 1, ..here.clone() }, now, false, "its number was used again"),
            (Owner { boot_id: "another".to_owned(), ..here.clone() }, now, false, "the machine was started again"),
            (Owner { namespace: "another".to_owned(), ..here.clone() }, now, true, "it was just heard of"),
            (Owner { namespace: "another".to_owned(), ..here.clone() }, long_ago, false, "it fell silent"),
        ] {
            assert_eq!(owner.is_alive(&here, heard_at, now), alive, "{why}");
        }
    }
}
