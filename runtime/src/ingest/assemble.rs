//! When is a series complete? A state machine without clock or sockets: events and `now` in, [`Decision`]s out.
//!
//! Rules, from sure to given up (scanner-side section 4):
//! * `count_known`: as many images as the sender declared, and no gap: at once;
//! * `association_release`: the association that carried it was released, and no gap: after a short guard;
//! * `silence`: no gap, and nothing more came for a while;
//! * `incomplete`: nothing more came for long, and there is a gap or a declared count that was not reached.
//!
//! An Enhanced MR object is a whole volume: complete on arrival. An image after a decision starts the next generation.
//! Not known here: MPPS, and what senders did before (per-sender learning).

mod gapless;

use super::header::{Declared, Header};
use super::spool::Outcome;
use super::{Arrival, AssociationId, Event};
use crate::identity::JobId;
use dicom_dictionary_std::uids;
use gapless::Slice;
use pipeline::series::MIN_SLICES;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Most instances remembered of one series: an fMRI run without mosaics has some 20 000 and is refused anyway. Beyond,
/// the series can only end as incomplete.
const MAX_INSTANCES: usize = 20_000;
/// Most series remembered: a day of a busy scanner has some 400. Beyond, the one longest without news is forgotten.
const MAX_SERIES: usize = 2_000;

/// Waiting times; the table `[complete]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Wait after a release: images of the same series on another association overtake it by less.
    pub release_guard_ms: u64,
    /// Silence that ends a gapless series; consoles send several images a second.
    pub silence_ms: u64,
    /// Silence after which a series with a gap is given up.
    pub incomplete_ms: u64,
    /// A finished series is forgotten after this; later images would begin a new one.
    pub forget_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            release_guard_ms: 150,
            silence_ms: 2_000,
            incomplete_ms: 30_000,
            forget_ms: 24 * 3_600_000,
        }
    }
}

/// Why a series was taken for complete, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    CountKnown,
    AssociationRelease,
    Silence,
    Incomplete,
}

/// A series to run, or to report as incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub job: JobId,
    /// 1 for the first result of a series.
    pub generation: u32,
    pub reason: Reason,
    pub have: usize,
    /// The count the sender declared, if any.
    pub expect: Option<usize>,
    /// Instances that came twice with different bytes; the first is used.
    pub conflicts: usize,
    /// The instances in the spool, in the order of their names.
    pub paths: Vec<PathBuf>,
}

/// The state machine over all series. `now` is the time since any fixed start and never goes back.
#[derive(Debug)]
pub struct Assembler {
    settings: Settings,
    series: BTreeMap<JobId, Candidate>,
}

/// Where a series stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Images come in.
    Open,
    /// A decision to run was taken.
    Done,
    /// Given up; a late image opens it again.
    GivenUp,
}

#[derive(Debug)]
struct Candidate {
    state: State,
    generation: u32,
    slices: Vec<Slice>,
    paths: BTreeSet<PathBuf>,
    image_types: BTreeSet<String>,
    conflicts: usize,
    /// An Enhanced MR object is among them.
    multiframe: bool,
    declared: Declared,
    /// Last image, or last end of an association that carried some.
    last_event: Duration,
    /// Open associations that carried images of this series, and how many.
    carriers: BTreeMap<AssociationId, usize>,
    ended: Ended,
    /// The geometry check of the present slices, when it was made.
    gapless: Option<bool>,
}

/// How the associations of a series ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    NotYet,
    /// Released after carrying a stack's worth of images. (After a single one it says nothing: some senders open an
    /// association for each image.)
    Released,
    /// Aborted or broken: more was meant to come, and silence proves nothing. Images of an association with a higher
    /// number clear it.
    Broken(AssociationId),
}

impl Assembler {
    pub fn new(settings: Settings) -> Assembler {
        Assembler { settings, series: BTreeMap::new() }
    }

    pub fn on_event(&mut self, now: Duration, event: &Event) {
        match event {
            Event::Arrived(arrival) => self.on_instance(now, arrival),
            Event::Released(association) => self.on_release(now, *association),
            Event::Aborted(association) => self.on_abort(now, *association),
            Event::Removed(job) => self.forget(job),
            // No rule reads it yet.
            Event::Performed(_) => {}
        }
    }

    /// An image is durable. Call [`Assembler::poll`] after it.
    pub fn on_instance(&mut self, now: Duration, arrival: &Arrival) {
        if !self.series.contains_key(&arrival.job) && self.series.len() == MAX_SERIES {
            self.forget_oldest();
        }
        let candidate =
            self.series.entry(arrival.job.clone()).or_insert_with(|| Candidate::new(now));
        candidate.add(now, arrival);
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
        let settings = self.settings;
        let forget = Duration::from_millis(settings.forget_ms);
        self.series.retain(|_, c| c.state == State::Open || now < c.last_event + forget);
        let mut decisions = Vec::new();
        for (job, candidate) in &mut self.series {
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

    /// When [`Assembler::poll`] has something to do next, if no event comes before.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.series.values().filter_map(|c| c.next(&self.settings)).map(|(at, _)| at).min()
    }

    /// Forgets a series whose instances left the spool.
    pub fn forget(&mut self, job: &JobId) {
        self.series.remove(job);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.series.iter().min_by_key(|(_, c)| (c.state == State::Open, c.last_event));
        if let Some(job) = oldest.map(|(job, _)| job.clone()) {
            tracing::warn!(%job, "too many series; the one longest without news is forgotten");
            self.series.remove(&job);
        }
    }
}

/// What a series waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The geometry check: costly, so made only when a rule needs it.
    Check,
    Decide(Reason),
}

impl Candidate {
    fn new(now: Duration) -> Candidate {
        Candidate {
            state: State::Open,
            generation: 1,
            slices: Vec::new(),
            paths: BTreeSet::new(),
            image_types: BTreeSet::new(),
            conflicts: 0,
            multiframe: false,
            declared: Declared::default(),
            last_event: now,
            carriers: BTreeMap::new(),
            ended: Ended::NotYet,
            gapless: None,
        }
    }

    fn add(&mut self, now: Duration, arrival: &Arrival) {
        self.last_event = now;
        if let Some(association) = arrival.association {
            *self.carriers.entry(association).or_default() += 1;
            match self.ended {
                Ended::Broken(broken) if association <= broken => {}
                _ => self.ended = Ended::NotYet,
            }
        }
        if arrival.outcome == Outcome::Conflict {
            self.conflicts += 1;
            return;
        }
        // Known: sent twice, or found in the spool at start after it was sent again. A duplicate that is not known belongs
        // to a series that was forgotten: it is in the spool and counts.
        if self.paths.contains(&arrival.path) {
            return;
        }
        if self.state == State::Done {
            self.generation += 1;
        }
        self.state = State::Open;
        self.gapless = None;
        if self.paths.len() == MAX_INSTANCES {
            return;
        }
        self.paths.insert(arrival.path.clone());
        let header = &arrival.header;
        self.multiframe |= header.sop_class == uids::ENHANCED_MR_IMAGE_STORAGE;
        self.declared = merge(self.declared, header);
        self.image_types.insert(header.image_type.clone());
        self.slices.push(Slice::of(header));
    }

    /// The count of images the sender declared for this series, by the first rule that applies.
    fn expect(&self) -> Option<usize> {
        let declared = &self.declared;
        if let Some(total) = declared.ge_series {
            return Some(total as usize);
        }
        if let Some(slices) = declared.philips_slices {
            // Of one stack; every echo, dynamic and image type (magnitude, Dixon water, ...) has one.
            let factors = [declared.philips_echoes, declared.philips_dynamics];
            let stacks: usize = factors.iter().map(|n| n.unwrap_or(1) as usize).product();
            return Some(slices as usize * stacks * self.image_types.len().max(1));
        }
        declared.siemens_slices.or(declared.images_in_acquisition).map(|total| total as usize)
    }

    /// The next thing to do and when, if no event comes before.
    fn next(&self, settings: &Settings) -> Option<(Duration, Step)> {
        if self.state != State::Open {
            return None;
        }
        let after = |ms| self.last_event + Duration::from_millis(ms);
        if self.multiframe {
            return Some((self.last_event, Step::Decide(Reason::CountKnown)));
        }
        let expect = self.expect();
        let reached = expect.is_none_or(|expect| self.paths.len() >= expect);
        let counted = expect == Some(self.paths.len());
        let broken = matches!(self.ended, Ended::Broken(_));
        if self.gapless == Some(false) || !reached || (broken && !counted) {
            return Some((after(settings.incomplete_ms), Step::Decide(Reason::Incomplete)));
        }
        let (at, reason) = if counted {
            (self.last_event, Reason::CountKnown)
        } else if self.ended == Ended::Released && self.carriers.is_empty() {
            (after(settings.release_guard_ms), Reason::AssociationRelease)
        } else {
            (after(settings.silence_ms), Reason::Silence)
        };
        let step = if self.gapless.is_none() { Step::Check } else { Step::Decide(reason) };
        Some((at, step))
    }

    fn check(&mut self) {
        self.gapless = Some(self.paths.len() < MAX_INSTANCES && gapless::gapless(&self.slices));
    }

    fn decide(&mut self, job: &JobId, reason: Reason) -> Decision {
        self.state = if reason == Reason::Incomplete { State::GivenUp } else { State::Done };
        Decision {
            job: job.clone(),
            generation: self.generation,
            reason,
            have: self.paths.len(),
            expect: self.expect(),
            conflicts: self.conflicts,
            paths: self.paths.iter().cloned().collect(),
        }
    }
}

/// Declared counts of a series: what any of its images says.
fn merge(known: Declared, header: &Header) -> Declared {
    let new = header.declared;
    Declared {
        ge_series: known.ge_series.or(new.ge_series),
        philips_slices: known.philips_slices.or(new.philips_slices),
        philips_echoes: known.philips_echoes.or(new.philips_echoes),
        philips_dynamics: known.philips_dynamics.or(new.philips_dynamics),
        siemens_slices: known.siemens_slices.or(new.siemens_slices),
        images_in_acquisition: known.images_in_acquisition.or(new.images_in_acquisition),
    }
}

#[cfg(test)]
mod tests;
