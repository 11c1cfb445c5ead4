//! Plays invented arrivals to the completeness rules, on a virtual clock: does a series ever start before it is whole, is one
//! ever forgotten, and how long does each rule take? One seed gives the same arrivals everywhere. No sockets, no disk, no clock.
//!
//! [`script`] invents what senders do, [`play`] plays it, [`verdict`] judges; the rules are those of [`assemble`].
//!
//! [`assemble`]: crate::ingest::assemble

pub mod play;
pub mod script;
pub mod verdict;

use crate::ingest::assemble::{Certainty, Reason};
use play::Rules;
use script::{Examination, Random, Script};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use verdict::Violation;

/// Violations told one by one; beyond, they are only counted.
const TOLD: usize = 10;

/// What came of all arrivals.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub seed: u64,
    /// Series that were played.
    pub series: usize,
    pub images: usize,
    pub rules: Vec<Row>,
    /// Presumed starts before the last image, each superseded by a later generation. Not a fault: nobody had said the count.
    pub early: usize,
    /// Presumed starts without last images that never came, and that nobody had announced by then. Why they are called
    /// presumed.
    pub unaware: usize,
    pub violations: usize,
    /// The first of them.
    pub told: Vec<Violation>,
}

/// Delays of one rule, from the last image (or the list of a procedure step that came after it) to the decision.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub reason: Reason,
    pub certainty: Certainty,
    /// By what the count was known; `none` where it was not.
    pub announced: script::Announced,
    pub decisions: usize,
    pub min_ms: u64,
    pub p50_ms: u64,
    pub p99_ms: u64,
    pub max_ms: u64,
}

/// Plays at least `series` series, each script to rules of its own that `rules` makes: what they learn of its sender holds for
/// all its examinations.
pub fn run<R: Rules>(series: usize, seed: u64, rules: impl Fn() -> R) -> Report {
    let mut report = Report { seed, ..Report::default() };
    let mut delays = Delays::new();
    let mut script_seed = Random::new(seed);
    while report.series < series {
        let (script, mut rules) = (Script::invent(script_seed.next()), rules());
        for examination in &script.examinations {
            if report.series >= series {
                break;
            }
            report.add(examination, &mut rules, &mut delays);
        }
    }
    report.rules = delays
        .into_iter()
        .map(|((reason, announced), delays)| row(reason, announced, delays))
        .collect();
    report
}

/// By rule and by what the count was known.
type Delays = BTreeMap<(Reason, script::Announced), Vec<Duration>>;

impl Report {
    fn add(&mut self, examination: &Examination, rules: &mut impl Rules, delays: &mut Delays) {
        let decisions = play::play(rules, examination);
        for (index, planned) in examination.series.iter().enumerate() {
            let judged = verdict::judge(examination, index, &decisions);
            self.series += 1;
            self.images += planned.delivered.len();
            self.early += judged.early;
            self.unaware += judged.unaware;
            self.violations += judged.violations.len();
            let room = TOLD.saturating_sub(self.told.len());
            self.told.extend(judged.violations.into_iter().take(room));
            if let Some((reason, delay)) = judged.last {
                delays.entry((reason, planned.announced)).or_default().push(delay);
            }
        }
    }
}

fn row(reason: Reason, announced: script::Announced, mut delays: Vec<Duration>) -> Row {
    delays.sort_unstable();
    let at = |percent: usize| {
        delays[(delays.len() * percent / 100).min(delays.len() - 1)].as_millis() as u64
    };
    let (min_ms, p50_ms, p99_ms, max_ms) = (at(0), at(50), at(99), at(100));
    let (certainty, decisions) = (reason.certainty(), delays.len());
    Row { reason, certainty, announced, decisions, min_ms, p50_ms, p99_ms, max_ms }
}
