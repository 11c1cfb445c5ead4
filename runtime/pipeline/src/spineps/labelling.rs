//! Which vertebrae these are: scores of single vertebrae become the most likely run of neighbours (spineps.md 9).
//!
//! [`unary`] turns SPINEPS' heads into [`Evidence`]; any other net can give its own. [`search`] finds the best runs.

pub mod search;
pub mod unary;

use crate::spineps::Rules;
use crate::spineps::values::T13;
pub use search::{Path, paths};

/// The regions of the spine: cervical, thoracic, lumbar.
pub const REGIONS: usize = 3;
/// What a vertebra can be to its region: nothing, last cervical, first and last thoracic, first and last lumbar.
pub const RELATIONS: usize = 6;

/// The classes among which vertebrae are told apart, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// C1 to L5; a second T12 is T13, a second L5 is L6.
    Folded,
    /// C1 to T12, T13, L1 to L6.
    Exact,
}

impl Axis {
    pub fn classes(self) -> usize {
        match self {
            Axis::Folded => 24,
            Axis::Exact => 26,
        }
    }

    /// The first class of each region.
    pub fn starts(self) -> [usize; REGIONS] {
        match self {
            Axis::Folded => [0, 7, 19],
            Axis::Exact => [0, 7, 20],
        }
    }

    /// The classes of each region.
    pub fn regions(self) -> [std::ops::Range<usize>; REGIONS] {
        let [cervical, thoracic, lumbar] = self.starts();
        [cervical..thoracic, thoracic..lumbar, lumbar..self.classes()]
    }

    pub fn region(self, class: usize) -> usize {
        self.starts().iter().filter(|&&start| start <= class).count().saturating_sub(1)
    }
}

/// Classes that the searches know by name; T11 and T12 are the same on both axes.
pub(crate) mod class {
    pub(crate) const C1: usize = 0;
    pub(crate) const C2: usize = 1;
    pub(crate) const T11: usize = 17;
    pub(crate) const T12: usize = 18;
    /// Of the folded axis.
    pub(crate) const FOLDED_L5: usize = 23;
    /// Of the exact axis.
    pub(crate) const T13: usize = 19;
    pub(crate) const L1: usize = 20;
    pub(crate) const L5: usize = 24;
    pub(crate) const L6: usize = 25;
}

/// The vertebra id of a class of the exact axis.
pub fn exact_id(class: usize) -> u8 {
    match class {
        class::T13 => T13,
        c if c < class::T13 => c as u8 + 1,
        c => c as u8,
    }
}

/// What is known of the vertebrae, one row each, from the top. More is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    pub axis: Axis,
    /// One score for each class.
    pub scores: Vec<Vec<f64>>,
    /// Rewards for standing at the end of a region; empty where nobody knows.
    pub relations: Vec<[f64; RELATIONS]>,
    /// Rewards for being T13; empty where nobody knows.
    pub t13: Vec<f64>,
}

impl Evidence {
    /// Scores alone.
    pub fn new(axis: Axis, scores: Vec<Vec<f64>>) -> Evidence {
        Evidence { axis, scores, relations: Vec::new(), t13: Vec::new() }
    }

    fn relation(&self, row: usize, relation: usize) -> f64 {
        self.relations.get(row).map_or(0.0, |rewards| rewards[relation])
    }

    fn t13(&self, row: usize) -> f64 {
        self.t13.get(row).copied().unwrap_or(0.0)
    }
}

/// Whether there can be 11 or 13 thoracic vertebrae, or a sixth lumbar one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Variants {
    /// Twelve thoracic vertebrae.
    Never,
    /// Each at this cost; SPINEPS' rules know no other than 0.
    At(f64),
}

impl Variants {
    pub(crate) fn admitted(self) -> bool {
        self != Variants::Never
    }

    /// What it costs that `next` follows `class`, or stands first.
    pub(crate) fn cost(self, class: Option<usize>, next: usize) -> f64 {
        let skipped = class == Some(class::T11) && next == class::L1;
        match self {
            Variants::At(cost) if skipped || next == class::T13 || next == class::L6 => cost,
            _ => 0.0,
        }
    }
}

/// What may come out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Admitted {
    /// Whether the first vertebra can be C1: nets for MR do not segment it.
    pub c1: bool,
    pub variants: Variants,
}

impl Default for Admitted {
    fn default() -> Self {
        Admitted { c1: false, variants: Variants::At(0.0) }
    }
}

/// A labelling and how sure it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Labelling {
    /// Vertebra ids from the top.
    pub ids: Vec<u8>,
    pub cost: f64,
    /// By how much the second best labelling is worse; none where there is no other.
    pub margin: Option<f64>,
}

/// The best labelling, or none where no run of neighbours is so long, or a score is missing.
pub fn label(evidence: &Evidence, admitted: Admitted, rules: Rules) -> Option<Labelling> {
    let found = paths(evidence, admitted, rules, 2);
    let best = found.first()?;
    let margin = found.get(1).map(|second| second.cost - best.cost);
    Some(Labelling { ids: best.ids.clone(), cost: best.cost, margin })
}
