//! Which level each vertebra is, and what that rests on.
//!
//! A landmark names levels: a sacrum right below the lowest body, or C2 at the top; where neither is in view, another series
//! of the study may show one ([`Neighbour`]). Without a landmark the ids only run from top to bottom. What the instance net takes for likely names no level, for sizes and shapes differ too much between people; it
//! finds C2, whose dens no other vertebra has, and the two runs of levels that fit it best are told beside the ids.

mod study;

pub use study::{KnownLevel, Neighbour};

use crate::labels::{Structure, VertebraId};
use crate::result::{LikelyLevels, Numbering};
use crate::spineps::Rules;
use crate::spineps::labelling::{Admitted, Axis, Evidence, Variants, exact_id, paths};
use crate::vertebrae::Bodies;
use kernels::Volume;
use study::Said;

/// The sacrum is a landmark where it begins within this distance below the lowest body: a disc, seen obliquely.
const SACRUM_REACH_MM: f64 = 25.0;
/// S1 lies within this distance, front-back and left-right, of the centre of L5: half a body, the tilt between the two, and
/// the width of the ala.
const SACRUM_ASIDE_MM: f64 = 45.0;
/// So much sacrum within that box is a landmark: a third of S1.
const MIN_SACRUM_ML: f64 = 5.0;
/// From this probability on the uppermost body is C2.
const SURE_OF_C2: f64 = 0.9;
/// A probability is never taken for smaller: the net has seen no more than so many vertebrae of a kind.
const LEAST_PROBABILITY: f64 = 1e-4;
/// What a variant (T13, no T12, L6) costs in log-likelihood: one person in twenty has one.
const RARE: f64 = 3.0;
/// Runs of levels told: the best and the one to mistake it for.
const LIKELY_RUNS: usize = 2;

/// What the instance net says of the level of each body.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LevelEvidence {
    /// What a column of `rows` stands for.
    pub levels: Vec<VertebraId>,
    /// Probabilities, one row a body, top to bottom; no row where no net tells levels.
    pub rows: Vec<Vec<f64>>,
}

impl LevelEvidence {
    fn probability(&self, row: usize, level: VertebraId) -> Option<f64> {
        let column = self.levels.iter().position(|&id| id == level)?;
        self.rows.get(row)?.get(column).copied()
    }

    /// The runs of neighbouring levels that fit best, best first; none without evidence.
    pub fn likely(&self) -> Vec<LikelyLevels> {
        let score = |row: usize, class: usize| {
            let id = VertebraId::new(exact_id(class));
            let known = id.and_then(|id| self.probability(row, id)).unwrap_or(0.0);
            known.max(LEAST_PROBABILITY).ln()
        };
        let classes = Axis::Exact.classes();
        let row = |row: usize| (0..classes).map(|class| score(row, class)).collect();
        let scores = (0..self.rows.len()).map(row).collect();
        let evidence = Evidence::new(Axis::Exact, scores);
        let admitted = Admitted { c1: false, variants: Variants::At(RARE) };
        let found = paths(&evidence, admitted, Rules::Sagitta, LIKELY_RUNS);
        let best = found.first().map_or(0.0, |path| path.cost);
        let named = |ids: &[u8]| ids.iter().filter_map(|&id| VertebraId::new(id)).collect();
        let runs = found.iter();
        runs.map(|path| LikelyLevels { levels: named(&path.ids), behind: path.cost - best })
            .collect()
    }
}

/// The ids of the bodies, top to bottom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Numbered {
    pub(crate) ids: Vec<VertebraId>,
    pub(crate) numbering: Numbering,
    /// Two landmarks, in view or in other series of the study, give different levels.
    pub(crate) landmarks_disagree: bool,
}

/// Numbers `bodies`: counted up from L5 where the sacrum follows, else down from C2 where it is in view, else as the
/// neighbours say, else from 2 without meaning.
pub(crate) fn number(
    bodies: &Bodies,
    semantic: &Volume<u8>,
    evidence: &LevelEvidence,
    neighbours: &[Neighbour],
) -> Numbered {
    let (count, lowest) = (bodies.centres.len() as u8, VertebraId::L5.value());
    let top = VertebraId::C2.value();
    let sacrum = count > 0 && count < lowest && sacrum_follows(bodies, semantic);
    let dens = evidence.probability(0, VertebraId::C2).is_some_and(|p| p >= SURE_OF_C2);
    let affine = semantic.grid().affine;
    let centres: Vec<[f64; 3]> =
        bodies.centres.iter().map(|&centre| affine.world(centre)).collect();
    let said = study::ask(&centres, neighbours);
    let (first, numbering) = match (sacrum, dens, named(said, count)) {
        (true, _, _) => (lowest + 1 - count, Numbering::FromSacrum),
        (false, true, _) => (top, Numbering::FromC2),
        (false, false, Some((first, neighbour))) => (first, Numbering::FromStudy { neighbour }),
        (false, false, None) => (top, Numbering::Unverified),
    };
    let ids = (first..first + count)
        .map(|id| VertebraId::new(id).expect("at most 24 bodies, ids 1 to 25"))
        .collect();
    let here = sacrum && dens && first != top;
    let there = match said {
        Said::Nothing => false,
        Said::First { id, .. } => id != first,
        Said::Contradiction => true,
    };
    Numbered { ids, numbering, landmarks_disagree: here || there }
}

/// Whether `neighbours` name the levels of a series without a landmark whose bodies have these centres (LPS mm, top to bottom).
pub fn is_named_by(neighbours: &[Neighbour], centres: &[[f64; 3]]) -> bool {
    named(study::ask(centres, neighbours), centres.len() as u8).is_some()
}

/// The id of the uppermost of `count` bodies and the neighbour that names it; `None` where there is no room for all in the row
/// of ids.
fn named(said: Said, count: u8) -> Option<(u8, usize)> {
    match said {
        Said::First { id, neighbour } if id + count <= VertebraId::L5.value() + 2 => {
            Some((id, neighbour))
        }
        _ => None,
    }
}

/// Whether a sacrum begins right below the lowest body. A body cut by the lower edge of the field has nothing below it.
fn sacrum_follows(bodies: &Bodies, semantic: &Volume<u8>) -> bool {
    let Some(centre) = bodies.centres.last() else { return false };
    let (dims, spacing) = (semantic.dims(), semantic.grid().affine.spacing());
    let lowest = bodies.centres.len() as u16;
    let labels = bodies.labels.voxels().iter().enumerate();
    let rows = labels.filter(|&(_, &label)| label == lowest).map(|(at, _)| dims.index(at)[1]);
    let bottom = rows.max().unwrap_or(0);
    if bottom + 1 >= dims.counts()[1] {
        return false;
    }
    let last = bottom as f64 + SACRUM_REACH_MM / spacing[1];
    let near = |at: usize| {
        let index = dims.index(at).map(|n| n as f64);
        let aside = |axis: usize| (index[axis] - centre[axis]).abs() * spacing[axis];
        (centre[1]..=last).contains(&index[1]) && aside(0).max(aside(2)) <= SACRUM_ASIDE_MM
    };
    let values = semantic.voxels().iter().enumerate();
    let sacral = values.filter(|&(at, &value)| value == Structure::Sacrum.value() && near(at));
    sacral.count() as f64 * spacing.iter().product::<f64>() / 1000.0 >= MIN_SACRUM_ML
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Evidence of `rows` bodies for levels from `top` on: surest of the true one, then of its neighbours.
    fn evidence(top: u8, rows: u8) -> LevelEvidence {
        let levels: Vec<VertebraId> = (2..=24).chain([28]).filter_map(VertebraId::new).collect();
        let share = |id: &VertebraId, truth: u8| match id.value().abs_diff(truth) {
            0 => 0.6,
            1 => 0.2,
            _ => 0.0,
        };
        let row = |n: u8| levels.iter().map(|id| share(id, top + n)).collect();
        LevelEvidence { rows: (0..rows).map(row).collect(), levels }
    }

    #[test]
    fn the_best_run_is_the_true_one_and_the_next_is_shifted_or_skips_one() {
        let found = evidence(9, 5).likely();
        assert_eq!(found.len(), 2);
        assert_eq!(
            found[0].levels.iter().map(|id| id.value()).collect::<Vec<_>>(),
            [9, 10, 11, 12, 13]
        );
        assert!(found[0].behind == 0.0 && found[1].behind > 1.0, "{found:?}");
        assert!(LevelEvidence::default().likely().is_empty());
    }

    #[test]
    fn a_thirteenth_thoracic_vertebra_needs_more_than_a_hint() {
        let mut hint = evidence(17, 4);
        let t13 = hint.levels.len() - 1;
        hint.rows[3][t13] = 0.7;
        let named = |found: &LevelEvidence| found.likely()[0].levels[3].name();
        assert_eq!(named(&hint), "L1");
        let l1 = hint.levels.iter().position(|id| id.name() == "L1").unwrap();
        hint.rows[3][l1] = 0.001;
        hint.rows[3][l1 + 1] = 0.001;
        assert_eq!(named(&hint), "T13");
    }
}
