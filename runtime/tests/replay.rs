//! The completeness rules under invented arrivals, and worse rules that must be caught.

use sagitta::ingest::Event;
use sagitta::ingest::assemble::{Assembler, Decision, Reason, Settings};
use sagitta::replay::play::Rules;
use sagitta::replay::verdict::Fault;
use sagitta::replay::{Report, run};
use std::time::Duration;

const SERIES: usize = 3_000;

fn service(settings: Settings) -> Report {
    run(SERIES, 1, || Assembler::new(settings))
}

#[test]
fn no_start_is_called_sure_too_early_and_no_series_hangs() {
    let report = service(Settings::default());
    assert_eq!(report.violations, 0, "{:?}", report.told);
    let of = |reason| report.rules.iter().filter(move |row| row.reason == reason);
    assert!(report.early > 0, "pauses that fool silence are played");
    assert!(report.unaware > 0, "what cannot be known is played, too");
    for row in of(Reason::CountKnown) {
        assert_eq!(row.max_ms, 0, "{row:?}");
    }
    let reasons =
        [Reason::CountKnown, Reason::AssociationRelease, Reason::Silence, Reason::Incomplete];
    assert!(reasons.iter().all(|&reason| of(reason).count() > 0), "every rule is played");
}

#[test]
fn a_hundred_thousand_series_break_no_rule() {
    let report = run(100_000, 2, || Assembler::new(Settings::default()));
    assert_eq!(report.violations, 0, "{:?}", report.told);
}

/// Rules were made anew for each examination, so that no sender of the play had time to teach anything.
#[test]
fn what_a_sender_teaches_holds_for_its_later_examinations() {
    let fixed = Settings { learn: false, ..Settings::default() };
    let silence = |settings: Settings| {
        let rows = service(settings).rules.into_iter();
        let delays = rows.filter(|row| row.reason == Reason::Silence);
        let delays: Vec<_> = delays.map(|row| (row.min_ms, row.max_ms)).collect();
        let of = |delay: fn(&(u64, u64)) -> u64| delays.iter().map(delay);
        (of(|row| row.0).min().unwrap(), of(|row| row.1).max().unwrap())
    };
    let (shortest, longest) = silence(Settings::default());
    assert_eq!(shortest, 1_000, "of a sender that never pauses");
    assert!((8_000..8_100).contains(&longest), "of one that does: {longest}");
    let (shortest, longest) = silence(fixed);
    assert!(shortest == fixed.silence_ms && longest < shortest + 100, "{shortest} {longest}");
}

#[test]
fn one_seed_plays_one_script() {
    let report = |seed| run(200, seed, || Assembler::new(Settings::default()));
    assert_eq!(report(7).rules, report(7).rules);
    assert_ne!(report(7).rules, report(8).rules);
}

#[test]
fn waiting_longer_than_stated_is_a_hang() {
    let late = Settings { incomplete_ms: 60_000, ..Settings::default() };
    let report = service(late);
    assert!(report.told.iter().all(|violation| violation.fault == Fault::Hang));
    assert!(report.violations > 0);
}

/// Calls silence sure.
struct Hasty(Assembler);

impl Rules for Hasty {
    fn on_event(&mut self, now: Duration, event: &Event) {
        self.0.on_event(now, event);
    }

    fn poll(&mut self, now: Duration) -> Vec<Decision> {
        let mut decisions = self.0.poll(now);
        for decision in decisions.iter_mut().filter(|d| d.reason == Reason::Silence) {
            decision.reason = Reason::CountKnown;
        }
        decisions
    }

    fn next_deadline(&self) -> Option<Duration> {
        self.0.next_deadline()
    }
}

#[test]
fn to_call_silence_sure_is_caught() {
    let report = run(SERIES, 1, || Hasty(Assembler::new(Settings::default())));
    assert!(report.told.iter().any(|violation| violation.fault == Fault::FalseSure));
}
