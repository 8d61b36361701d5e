//! What a run's numbers are worth: the generator judges itself before it judges the store.

use runner::{Load, Mode};

use crate::record::{AccountingRecord, GeneratorRecord, OperationRecord, RecoveryRecord, Verdict};

/// Share of its processors above which the generator, not the store, may be what was measured.
const CPU_SHARE_MAX: f64 = 0.95;
/// Send lateness, p99, above which the load was not the planned one.
const LATENESS_US_INVALID: f64 = 10_000.0;
/// Send lateness, p99, that is stated.
const LATENESS_US_STATED: f64 = 1_000.0;

/// What is judged.
pub(crate) struct Evidence<'a> {
    pub(crate) load: &'a Load,
    pub(crate) accounting: AccountingRecord,
    pub(crate) total: &'a OperationRecord,
    pub(crate) generator: &'a GeneratorRecord,
    pub(crate) recovery: RecoveryRecord,
    /// Whether the store runs inside the generator, so that its work counts as the generator's.
    pub(crate) embedded: bool,
    pub(crate) interrupted: bool,
}

pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let Evidence { load, accounting, total, generator, recovery, embedded, interrupted } = evidence;
    let mut reasons = Vec::new();
    let mut warnings = Vec::new();
    let open = load.phases.iter().any(|phase| phase.recorded && phase.mode != Mode::Closed);
    let exact = accounting.succeeded + accounting.failed + accounting.shed + accounting.unfinished;
    if accounting.scheduled != exact {
        reasons.push(format!(
            "{} operations were scheduled but {exact} accounted for: report this as a bug",
            accounting.scheduled
        ));
    }
    if accounting.succeeded == 0 {
        reasons.push("no operation succeeded: see the error messages".to_owned());
    }
    if !embedded && generator.cpu_share > CPU_SHARE_MAX {
        reasons.push(format!(
            "the generator used {:.0} % of its processors: lower the load, or give it more processors",
            generator.cpu_share * 100.0
        ));
    }
    if open && generator.lateness_us.p99 > LATENESS_US_INVALID {
        reasons.push(format!(
            "sends were late by {:.1} ms at p99: free the host's processors, or lower the rate",
            generator.lateness_us.p99 / 1e3
        ));
    } else if open && generator.lateness_us.p99 > LATENESS_US_STATED {
        warnings.push(format!("sends were late by {:.1} ms at p99", generator.lateness_us.p99 / 1e3));
    }
    if load.has_closed_phase() {
        warnings.push("closed load: blind to stalls".to_owned());
    }
    if accounting.failed > 0 {
        let share = accounting.failed as f64 / accounting.scheduled.max(1) as f64 * 100.0;
        warnings
            .push(format!("{} operations failed ({share:.3} %): latencies are those of the others", accounting.failed));
    }
    if accounting.shed > 0 {
        warnings.push(format!("{} operations were shed: the store did not keep up with the rate", accounting.shed));
    }
    if accounting.unfinished > 0 && !interrupted {
        warnings.push(format!("{} operations had not ended when the run did", accounting.unfinished));
    }
    if generator.reconnects > 0 {
        warnings.push(format!("{} connections were lost", generator.reconnects));
    }
    warnings.extend(gone(recovery));
    if *interrupted {
        warnings.push("the run was interrupted before its end".to_owned());
    }
    if open && total.succeeded > 0 && generator.lateness_us.max == 0.0 {
        warnings.push("no send waited for its time: every one was already overdue".to_owned());
    }
    Verdict { valid: reasons.is_empty(), reasons, warnings, ..Verdict::default() }
}

/// What to say of a store that was gone.
fn gone(recovery: &RecoveryRecord) -> Option<String> {
    let RecoveryRecord { outages, gone_seconds, longest_seconds, longest_start_seconds, is_gone, .. } = *recovery;
    let start = longest_start_seconds?;
    let mut text = format!("nobody answered for {longest_seconds:.3} s from {start:.1} s on");
    if outages > 1 {
        text = format!("{text} ({outages} times, {gone_seconds:.3} s in all)");
    }
    if is_gone {
        text.push_str("; the store had not come back when the run ended");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use runner::{Arrivals, Limit, Rate};

    use super::*;

    fn verdict(open: bool, change: impl FnOnce(&mut AccountingRecord, &mut GeneratorRecord)) -> Verdict {
        let limit = Limit::Duration(Duration::from_secs(1));
        let load = if open {
            Load::open(NonZeroU32::MIN, Rate::per_second(5.0).expect("positive"), Arrivals::Constant, limit)
        } else {
            Load::closed(NonZeroU32::MIN, limit)
        };
        let mut accounting = AccountingRecord { scheduled: 5, succeeded: 5, ..Default::default() };
        let mut generator = GeneratorRecord::default();
        generator.lateness_us.max = 50.0;
        change(&mut accounting, &mut generator);
        let total = OperationRecord { succeeded: accounting.succeeded, ..Default::default() };
        judge(&Evidence {
            load: &load,
            accounting,
            total: &total,
            generator: &generator,
            recovery: RecoveryRecord::default(),
            embedded: false,
            interrupted: false,
        })
    }

    #[test]
    fn a_quiet_open_run_is_valid_without_a_word() {
        assert_eq!(verdict(true, |_, _| {}), Verdict { valid: true, ..Verdict::default() });
    }

    #[test]
    fn a_closed_run_says_that_it_is_blind() {
        assert_eq!(verdict(false, |_, _| {}).warnings, ["closed load: blind to stalls"]);
    }

    #[test]
    fn a_store_that_was_gone_is_told_with_its_time() {
        let check = |recovery, expect: Option<&str>| assert_eq!(gone(&recovery).as_deref(), expect);
        check(RecoveryRecord { session_seconds_max: 1.0, ..RecoveryRecord::default() }, None);
        let once = RecoveryRecord {
            outages: 1,
            gone_seconds: 2.5,
            longest_seconds: 2.5,
            longest_start_seconds: Some(4.0),
            is_gone: false,
            session_seconds_max: 3.0,
        };
        check(once, Some("nobody answered for 2.500 s from 4.0 s on"));
        check(
            RecoveryRecord { outages: 2, gone_seconds: 3.0, is_gone: true, ..once },
            Some(
                "nobody answered for 2.500 s from 4.0 s on (2 times, 3.000 s in all); the store had not come back when \
                 the run ended",
            ),
        );
    }

    #[test]
    fn what_spoils_the_numbers_makes_the_run_invalid() {
        for (name, verdict) in [
            ("saturated", verdict(true, |_, generator| generator.cpu_share = 0.99)),
            ("late", verdict(true, |_, generator| generator.lateness_us.p99 = 20_000.0)),
            ("nothing", verdict(true, |accounting, _| (accounting.succeeded, accounting.failed) = (0, 5))),
            ("inexact", verdict(true, |accounting, _| accounting.scheduled = 6)),
        ] {
            assert!(!verdict.valid && verdict.reasons.len() == 1, "{name}: {verdict:?}");
        }
    }
}
