//! Judges the decisions of one series by what the script knows and the rules do not.

use super::play::Timed;
use super::script::{Announced, Examination, Missing, Planned};
use crate::ingest::assemble::{Certainty, Reason, Settings};
use crate::ingest::{Event, Performed};
use serde::Serialize;
use std::time::Duration;

/// A rule was broken. The seed replays the examination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub fault: Fault,
    pub seed: u64,
    /// Place of the series in its examination.
    pub series: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Called sure, and images were missing.
    FalseSure,
    /// No decision over all that came within the stated time.
    Hang,
    /// A whole series was given up.
    GivenUp,
    /// A series known to lack an image was run to the end.
    RanIncomplete,
}

/// What is said of one series.
#[derive(Debug, Default)]
pub struct Judged {
    pub violations: Vec<Violation>,
    /// Presumed starts before the last image.
    pub early: usize,
    /// A presumed start without last images that nobody had announced by then.
    pub unaware: usize,
    /// Reason and delay of the decision over all that came.
    pub last: Option<(Reason, Duration)>,
}

/// Judges series `index`. The stated time is the longest of the default settings: after it, every series is run or given up.
pub fn judge(examination: &Examination, index: usize, decisions: &[Timed]) -> Judged {
    let planned = &examination.series[index];
    let stated = Duration::from_millis(Settings::default().incomplete_ms);
    let mut judged = Judged::default();
    let mut violations = Vec::new();
    let mut fault =
        |fault| violations.push(Violation { fault, seed: examination.seed, series: index });
    let mut last = None;
    for (at, decision) in decisions.iter().filter(|(_, decision)| decision.job == planned.job) {
        let sure = decision.reason.certainty() == Certainty::Sure;
        if sure && decision.have < planned.total {
            fault(Fault::FalseSure);
        }
        if decision.have < planned.delivered.len() {
            judged.early += usize::from(decision.reason != Reason::Incomplete);
        } else {
            last = Some((*at, decision.reason));
        }
    }
    match last {
        Some((at, reason)) if at <= planned.last_message + stated => {
            // A decision may come before the end of the association: then nobody waited.
            judged.last = Some((reason, at.saturating_sub(planned.last_message)));
            let known = planned.missing == Missing::Middle || is_told(examination, planned, at);
            match (planned.missing, reason) {
                (Missing::Nothing, Reason::Incomplete) => fault(Fault::GivenUp),
                (Missing::Nothing, _) | (_, Reason::Incomplete) => {}
                _ if known => fault(Fault::RanIncomplete),
                _ => judged.unaware = 1,
            }
        }
        _ => fault(Fault::Hang),
    }
    Judged { violations, ..judged }
}

/// Whether the count was announced by `now`: images say it themselves, a procedure step when it is completed.
fn is_told(examination: &Examination, planned: &Planned, now: Duration) -> bool {
    match planned.announced {
        Announced::None => false,
        Announced::Performed => examination.events.iter().any(|(at, event)| {
            let ours = |performed: &[Performed]| performed.iter().any(|p| p.job == planned.job);
            *at <= now && matches!(event, Event::Performed(performed) if ours(performed))
        }),
        _ => true,
    }
}
