//! Drives the rules through one examination on a virtual clock, as the service does on the real one.

use super::script::Examination;
use crate::ingest::Event;
use crate::ingest::assemble::{Assembler, Decision};
use std::time::Duration;

/// Deadlines used up between two events or after the last: a series needs two (check, decide). Beyond, the rules spin.
const MAX_ROUNDS: usize = 1_000;

/// Rules that decide when a series is complete: those of the service, or worse ones that a test must see caught.
pub trait Rules {
    fn on_event(&mut self, now: Duration, event: &Event);
    fn poll(&mut self, now: Duration) -> Vec<Decision>;
    fn next_deadline(&self) -> Option<Duration>;
}

impl Rules for Assembler {
    fn on_event(&mut self, now: Duration, event: &Event) {
        Assembler::on_event(self, now, event);
    }

    fn poll(&mut self, now: Duration) -> Vec<Decision> {
        Assembler::poll(self, now)
    }

    fn next_deadline(&self) -> Option<Duration> {
        Assembler::next_deadline(self)
    }
}

/// A decision and when it was taken.
pub type Timed = (Duration, Decision);

/// All decisions of an examination, in their order. What the rules learned of the sender they keep; its series leave the spool.
pub fn play(rules: &mut impl Rules, examination: &Examination) -> Vec<Timed> {
    let mut decisions = Vec::new();
    for (at, event) in &examination.events {
        wait(rules, *at, &mut decisions);
        rules.on_event(*at, event);
        decisions.extend(rules.poll(*at).into_iter().map(|decision| (*at, decision)));
    }
    wait(rules, Duration::MAX, &mut decisions);
    let end = decisions.last().map_or(Duration::ZERO, |&(at, _)| at);
    for series in &examination.series {
        rules.on_event(end, &Event::Removed(series.job.clone()));
    }
    decisions
}

/// Lets every deadline before `until` pass.
fn wait(rules: &mut impl Rules, until: Duration, decisions: &mut Vec<Timed>) {
    for _ in 0..MAX_ROUNDS {
        let Some(due) = rules.next_deadline().filter(|&due| due < until) else { return };
        decisions.extend(rules.poll(due).into_iter().map(|decision| (due, decision)));
    }
}
