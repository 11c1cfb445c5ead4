//! One series: what came of it, and what it waits for.

use super::expected::{self, Objects};
use super::gapless::{Slice, gapless};
use super::{Decision, MAX_INSTANCES, Reason, Settings};
use crate::identity::JobId;
use crate::ingest::header::Declared;
use crate::ingest::spool::Outcome;
use crate::ingest::{Arrival, AssociationId, Origin};
use pipeline::series::MIN_SLICES;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a series stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Images come in.
    Open,
    /// A decision to run was taken.
    Done(Reason),
    /// Given up; a late image opens it again.
    GivenUp,
}

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) state: State,
    generation: u32,
    slices: Vec<Slice>,
    paths: BTreeSet<PathBuf>,
    image_types: BTreeSet<String>,
    conflicts: usize,
    /// Those of them that are Enhanced MR.
    objects: Objects,
    declared: Declared,
    /// Of the last image.
    pub(super) sender: Option<Arc<str>>,
    last_image: Option<Duration>,
    /// The instances that a completed procedure step lists.
    performed: Option<BTreeSet<PathBuf>>,
    /// Last image, or last end of an association that carried some.
    pub(super) last_event: Duration,
    /// Open associations that carried images of this series, and how many.
    pub(super) carriers: BTreeMap<AssociationId, usize>,
    pub(super) ended: Ended,
    /// The geometry check of the present slices, when it was made.
    gapless: Option<bool>,
    /// With how many slices, and when, it was thought of working on it ahead.
    looked: (usize, Duration),
}

/// How the associations of a series ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    NotYet,
    /// Released after carrying a stack's worth of images. (After a single one it says nothing: some senders open an
    /// association for each image.)
    Released,
    /// Aborted or broken: more was meant to come, and silence proves nothing. Images of an association with a higher
    /// number clear it.
    Broken(AssociationId),
}

/// What a series waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The geometry check: costly, so made only when a rule needs it.
    Check,
    Decide(Reason),
}

/// Fewer new slices than the net takes at a time and its neighbours are not worth a look.
const MIN_NEW_SLICES: usize = 4;
/// Images that come faster than this are all there before the net has said anything, and need the processor themselves.
const SLOW: Duration = Duration::from_millis(20);

impl Candidate {
    pub(super) fn new(now: Duration) -> Candidate {
        Candidate {
            state: State::Open,
            generation: 1,
            slices: Vec::new(),
            paths: BTreeSet::new(),
            image_types: BTreeSet::new(),
            conflicts: 0,
            objects: Objects::default(),
            declared: Declared::default(),
            sender: None,
            last_image: None,
            performed: None,
            last_event: now,
            carriers: BTreeMap::new(),
            ended: Ended::NotYet,
            gapless: None,
            looked: (0, now),
        }
    }

    /// Whether enough has come since the last time to work on the series before it is whole, and slowly enough. Each time costs
    /// a look at all its images: a quarter more of them keeps the sum of all looks below five times the last.
    pub(super) fn is_worth_a_look(&mut self, now: Duration) -> bool {
        let (have, before) = (self.slices.len(), self.looked.0);
        let new = have - before;
        let enough = have >= MIN_SLICES && new >= (before / 4).max(MIN_NEW_SLICES);
        if self.is_volume() {
            // A volume whose sender does not say whether another follows: it is likely all there is.
            return self.is_open() && have == 1;
        }
        if !self.is_open() || !enough {
            return false;
        }
        let slow = now.saturating_sub(self.looked.1) >= SLOW * new as u32;
        self.looked = (have, now);
        slow && self.slices.last().is_some_and(Slice::is_sagittal)
    }

    /// Whether its instances are volumes of their own.
    pub(super) fn is_volume(&self) -> bool {
        self.objects.is_any()
    }

    /// Whether an association that carried a stack's worth was released, and nobody else carries more.
    pub(super) fn is_likely_whole(&self) -> bool {
        self.is_open() && self.ended == Ended::Released && self.carriers.is_empty()
    }

    /// The instances in the spool, in the order of their names.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.paths.iter().cloned().collect()
    }

    /// An image came; how long after the one before.
    pub(super) fn add(&mut self, now: Duration, arrival: &Arrival) -> Option<Duration> {
        let gap = self.last_image.map(|last| now.saturating_sub(last));
        self.take(now, arrival);
        gap
    }

    fn take(&mut self, now: Duration, arrival: &Arrival) {
        (self.last_event, self.last_image) = (now, Some(now));
        if let Some(Origin { association, sender }) = &arrival.origin {
            self.sender = Some(sender.clone());
            *self.carriers.entry(*association).or_default() += 1;
            match self.ended {
                Ended::Broken(broken) if *association <= broken => {}
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
        if self.is_done() {
            self.generation += 1;
        }
        self.state = State::Open;
        self.gapless = None;
        if self.paths.len() == MAX_INSTANCES {
            return;
        }
        self.paths.insert(arrival.path.clone());
        let header = &arrival.header;
        self.objects.add(header);
        self.declared = expected::merge(self.declared, header);
        self.image_types.insert(header.image_type.clone());
        self.slices.push(Slice::of(header));
    }

    /// A procedure step was completed and lists these instances: they are all there will be.
    pub(super) fn perform(&mut self, now: Duration, paths: &[PathBuf]) {
        if !(1..=MAX_INSTANCES).contains(&paths.len()) {
            return;
        }
        let listed: BTreeSet<PathBuf> = paths.iter().cloned().collect();
        // Given up for a count that the protocol declared and the scan did not reach: the list says what was acquired.
        if self.state == State::GivenUp && listed == self.paths {
            self.state = State::Open;
        }
        // What was run was presumed whole and is not: those that are missing come, or it is told that they did not.
        if self.is_done() && !listed.is_subset(&self.paths) {
            (self.state, self.last_event) = (State::Open, now);
            self.generation += 1;
        }
        self.performed = Some(listed);
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done(_))
    }

    /// Images came, and no decision was taken since.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open && !self.paths.is_empty()
    }

    /// The count of images the series should have: what was performed, else what the protocol declared.
    fn expect(&self) -> Option<usize> {
        let (declared, types) = (&self.declared, self.image_types.len());
        self.performed.as_ref().map(BTreeSet::len).or_else(|| match self.is_volume() {
            true => self.objects.expect(declared, types),
            false => expected::count(declared, types),
        })
    }

    /// The next thing to do and when, if no event comes before.
    pub(super) fn next(&self, settings: &Settings) -> Option<(Duration, Step)> {
        if !self.is_open() {
            return None;
        }
        let after = |ms| self.last_event + Duration::from_millis(ms);
        let expect = self.expect();
        let listed = |paths: &BTreeSet<PathBuf>| paths.is_subset(&self.paths);
        let reached = expect.is_none_or(|expect| self.paths.len() >= expect)
            && self.performed.as_ref().is_none_or(listed);
        let counted = reached && expect == Some(self.paths.len());
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

    pub(super) fn check(&mut self) {
        // An Enhanced object has its geometry within, which decoding looks at.
        let whole = self.is_volume() || gapless(&self.slices);
        self.gapless = Some(self.paths.len() < MAX_INSTANCES && whole);
    }

    pub(super) fn decide(&mut self, job: &JobId, reason: Reason) -> Decision {
        self.state = match reason {
            Reason::Incomplete => State::GivenUp,
            _ => State::Done(reason),
        };
        self.decision(job, reason)
    }

    /// The decision that was taken, if it stands.
    pub(super) fn again(&self, job: &JobId) -> Option<Decision> {
        match self.state {
            State::Open => None,
            State::Done(reason) => Some(self.decision(job, reason)),
            State::GivenUp => Some(self.decision(job, Reason::Incomplete)),
        }
    }

    fn decision(&self, job: &JobId, reason: Reason) -> Decision {
        Decision {
            job: job.clone(),
            generation: self.generation,
            reason,
            have: self.paths.len(),
            expect: self.expect(),
            conflicts: self.conflicts,
            paths: self.paths(),
        }
    }
}
