//! When is a series complete? A state machine without clock or sockets: events and `now` in, [`Decision`]s out.
//!
//! Rules, from sure to given up (scanner-side section 4):
//! * `count_known`: as many images as the sender declared, or those that a completed procedure step (MPPS) lists, and no gap:
//!   at once. The only rule that is sure;
//! * `association_release`: the association that carried it was released, and no gap: after a short guard;
//! * `silence`: no gap, and nothing more came for a while;
//! * `incomplete`: nothing more came for long, and there is a gap or a declared count that was not reached.
//!
//! An Enhanced MR object is a whole volume; whether others belong to its series is counted (`expected`) or shown by silence. An
//! image after a decision starts the next generation.
//! How long a while is, every sender teaches by what it did before.

mod candidate;
mod expected;
mod gapless;
mod habits;

use super::{Arrival, AssociationId, Event, Performed};
use crate::identity::JobId;
use candidate::{Candidate, Ended, Step};
use habits::Habits;
use pipeline::series::MIN_SLICES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Most instances remembered of one series: an fMRI run without mosaics has some 20 000 and is refused anyway. Beyond,
/// the series can only end as incomplete.
const MAX_INSTANCES: usize = 20_000;
/// Most series remembered: a day of a busy scanner has some 400. Beyond, the one longest without news is forgotten.
const MAX_SERIES: usize = 2_000;

/// Waiting times; the table `[complete]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Wait after a release: images of the same series on another association overtake it by less.
    pub release_guard_ms: u64,
    /// Silence that ends a gapless series, until the sender's own gaps are known; consoles send several images a second.
    pub silence_ms: u64,
    /// Silence after which a series with a gap is given up.
    pub incomplete_ms: u64,
    /// A finished series is forgotten after this; later images would begin a new one.
    pub forget_ms: u64,
    /// Adapt silence and guard to each sender: six times and twice the gap that 99 of 100 of its gaps stay below, silence of
    /// 1 to 8 s, the guard at most as long.
    pub learn: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            release_guard_ms: 150,
            silence_ms: 2_000,
            incomplete_ms: 30_000,
            forget_ms: 24 * 3_600_000,
            learn: true,
        }
    }
}

/// Why a series was taken for complete, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    CountKnown,
    AssociationRelease,
    Silence,
    Incomplete,
}

/// Whether more images may be meant to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The count is known, and the images are all there without a gap.
    Sure,
    /// Nobody said how many there are: missing last slices would not show.
    Presumed,
}

impl Reason {
    pub fn certainty(self) -> Certainty {
        match self {
            Reason::CountKnown => Certainty::Sure,
            Reason::AssociationRelease | Reason::Silence | Reason::Incomplete => {
                Certainty::Presumed
            }
        }
    }
}

/// A series to run, or to report as incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub job: JobId,
    /// 1 for the first result of a series; each later one supersedes that before it.
    pub generation: u32,
    pub reason: Reason,
    pub have: usize,
    /// The count the sender declared or performed, if any.
    pub expect: Option<usize>,
    /// Instances that came twice with different bytes; the first is used.
    pub conflicts: usize,
    /// The instances in the spool, in the order of their names.
    pub paths: Vec<PathBuf>,
}

/// A series that is still coming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    pub job: JobId,
    pub paths: Vec<PathBuf>,
    pub whole: bool,
}

/// The state machine over all series. `now` is the time since any fixed start and never goes back.
#[derive(Debug)]
pub struct Assembler {
    settings: Settings,
    series: BTreeMap<JobId, Candidate>,
    habits: Habits,
}

impl Assembler {
    pub fn new(settings: Settings) -> Assembler {
        Assembler { settings, series: BTreeMap::new(), habits: Habits::default() }
    }

    pub fn on_event(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Arrived(arrival) => self.on_instance(now, arrival),
            Event::Released(association) => self.on_release(now, *association),
            Event::Aborted(association) => self.on_abort(now, *association),
            Event::Removed(job) => self.forget(job),
            Event::Performed(performed) => {
                performed.iter().for_each(|series| self.on_performed(now, series));
            }
        }
    }

    /// An image is durable. Call [`Assembler::poll`] after it.
    pub fn on_instance(&mut self, now: Duration, arrival: &Arrival) {
        let gap = self.candidate(now, &arrival.job).add(now, arrival);
        if let (Some(gap), Some(origin)) = (gap, &arrival.origin) {
            self.habits.learn(&origin.sender, gap);
        }
    }

    /// A completed procedure step lists the images of a series. It may come before them.
    pub fn on_performed(&mut self, now: Duration, performed: &Performed) {
        self.candidate(now, &performed.job).perform(now, &performed.paths);
    }

    fn candidate(&mut self, now: Duration, job: &JobId) -> &mut Candidate {
        if !self.series.contains_key(job) && self.series.len() == MAX_SERIES {
            self.forget_oldest();
        }
        self.series.entry(job.clone()).or_insert_with(|| Candidate::new(now))
    }

    /// The peer released an association.
    pub fn on_release(&mut self, now: Duration, association: AssociationId) {
        for candidate in self.series.values_mut() {
            let Some(carried) = candidate.carriers.remove(&association) else { continue };
            candidate.last_event = now;
            if carried >= MIN_SLICES && candidate.ended == Ended::NotYet {
                candidate.ended = Ended::Released;
            }
        }
    }

    /// An association was aborted or broke. Never completes a series by itself.
    pub fn on_abort(&mut self, now: Duration, association: AssociationId) {
        for candidate in self.series.values_mut() {
            if candidate.carriers.remove(&association).is_some() {
                candidate.last_event = now;
                candidate.ended = Ended::Broken(association);
            }
        }
    }

    /// The decisions that are due. Each series is decided once a generation.
    pub fn poll(&mut self, now: Duration) -> Vec<Decision> {
        let forget = Duration::from_millis(self.settings.forget_ms);
        self.series.retain(|_, c| c.is_open() || now < c.last_event + forget);
        let mut decisions = Vec::new();
        for (job, candidate) in &mut self.series {
            let settings = self.habits.adapt(&self.settings, candidate.sender.as_ref());
            while let Some((at, step)) = candidate.next(&settings)
                && at <= now
            {
                match step {
                    Step::Check => candidate.check(),
                    Step::Decide(reason) => decisions.push(candidate.decide(job, reason)),
                }
            }
        }
        decisions
    }

    /// The last decision on a series once more; `None` where there was none, or images came since.
    pub fn again(&self, job: &JobId) -> Option<Decision> {
        self.series.get(job)?.again(job)
    }

    /// A series that is worth working on before it is complete, after an event: its instances, and whether nothing speaks
    /// against its being whole.
    pub fn ahead(&mut self, now: Duration, event: &Event) -> Option<Coming> {
        let coming = |job: &JobId, candidate: &Candidate, whole| Coming {
            job: job.clone(),
            paths: candidate.paths(),
            whole,
        };
        match event {
            // What lay in the spool at start has been looked at, or is whole.
            Event::Arrived(arrival) if arrival.origin.is_some() => {
                let candidate = self.series.get_mut(&arrival.job)?;
                let whole = candidate.is_volume();
                candidate.is_worth_a_look(now).then(|| coming(&arrival.job, candidate, whole))
            }
            Event::Released(_) => {
                let mut whole = self.series.iter().filter(|(_, c)| c.is_likely_whole());
                whole.next().map(|(job, candidate)| coming(job, candidate, true))
            }
            _ => None,
        }
    }

    /// When [`Assembler::poll`] has something to do next, if no event comes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let adapted = |c: &Candidate| self.habits.adapt(&self.settings, c.sender.as_ref());
        self.series.values().filter_map(|c| c.next(&adapted(c))).map(|(at, _)| at).min()
    }

    /// Forgets a series whose instances left the spool.
    pub fn forget(&mut self, job: &JobId) {
        self.series.remove(job);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.series.iter().min_by_key(|(_, c)| (c.is_open(), c.last_event));
        if let Some(job) = oldest.map(|(job, _)| job.clone()) {
            tracing::warn!(%job, "too many series; the one longest without news is forgotten");
            self.series.remove(&job);
        }
    }
}

#[cfg(test)]
mod tests;
