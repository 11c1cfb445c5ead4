//! Judges the decisions of one series by what the script knows and the rules do not.

use super::play::Timed;
use super::script::{Announced, Examination, Missing, Planned};
use crate::ingest::assemble::{Certainty, Reason, Settings};
use crate::ingest::{Event, Performed};
use serde::Serialize;
use std::time::Duration;

/// A rule was broken. The seed replays the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Violation {
    pub fault: Fault,
    pub seed: u64,
    /// Place of the examination in its script.
    pub examination: u64,
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
    let Examination { seed, place, .. } = *examination;
    let mut fault =
        |fault| violations.push(Violation { fault, seed, examination: place, series: index });
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
            judged.last = Some((reason, at - last_news(examination, planned, at)));
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

/// The last image of a series, or the list of its procedure step where that came later but before the decision at `now`.
fn last_news(examination: &Examination, planned: &Planned, now: Duration) -> Duration {
    let told = |event: &Event| match event {
        Event::Arrived(arrival) => arrival.job == planned.job,
        Event::Performed(performed) => performed.iter().any(|p| p.job == planned.job),
        _ => false,
    };
    let news = examination.events.iter().filter(|(at, event)| *at <= now && told(event));
    news.map(|&(at, _)| at).max().unwrap_or_default()
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
