//! Dice and counts of one exam, and their summary.
//!
//! Dice is per matched instance over the whole volume: each annotated instance takes the predicted one it overlaps most,
//! no predicted one twice; one without a partner scores 0.

use super::Exam;
use kernels::Volume;
use pipeline::{Segmentation, Structure, VertebraId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What is annotated in one exam.
#[derive(Debug)]
pub(super) struct Truth<'a> {
    pub bodies: Option<Volume<u16>>,
    pub s1: &'a [u16],
    pub discs: Option<Volume<u16>>,
    pub cord: Option<Volume<u16>>,
    pub structures: Option<Volume<u16>>,
    pub vertebrae: Option<Volume<u16>>,
}

/// A vertebra or disc counts as found from this Dice.
const FOUND: f64 = 0.5;
/// S1 counts as sacrum found when this share of its body is called sacrum.
const SACRUM_FOUND: f64 = 0.5;

/// The scores of one exam; `None` where nothing is annotated.
#[derive(Debug, Clone, Serialize)]
pub struct ExamScore {
    pub id: String,
    pub contrast: String,
    pub primary: bool,
    pub seconds: f64,
    /// Vertebrae of the result, without the sacrum.
    pub vertebrae: usize,
    /// Dice of every annotated body, by its id.
    pub body_dice: Option<BTreeMap<u16, f64>>,
    /// Predicted bodies between the highest and the lowest annotated one, and how many are annotated.
    pub body_count: Option<[usize; 2]>,
    pub disc_dice: Option<BTreeMap<u16, f64>>,
    pub cord_dice: Option<f64>,
    pub sacrum_found: Option<bool>,
    /// Dice of each annotated structure, whole volume.
    pub structure_dice: Option<BTreeMap<&'static str, f64>>,
    /// Dice of each annotated vertebra (all its parts).
    pub vertebra_dice: Option<BTreeMap<u16, f64>>,
}

impl ExamScore {
    pub fn body_mean(&self) -> Option<f64> {
        mean(self.body_dice.iter().flatten().map(|(_, &dice)| dice))
    }

    pub fn disc_mean(&self) -> Option<f64> {
        mean(self.disc_dice.iter().flatten().map(|(_, &dice)| dice))
    }

    /// Annotated bodies found, of how many.
    pub fn found(&self) -> Option<[usize; 2]> {
        let dice = self.body_dice.as_ref()?;
        Some([dice.values().filter(|&&dice| dice > FOUND).count(), dice.len()])
    }
}

pub(super) fn score(
    exam: &Exam,
    result: &Segmentation,
    truth: &Truth<'_>,
    seconds: f64,
) -> ExamScore {
    let of = |structure: Structure, offset: u16| {
        let pairs = result.semantic.voxels().iter().zip(result.instances.voxels());
        pairs
            .map(|(&s, &i)| if s == structure.value() { i.saturating_sub(offset) } else { 0 })
            .collect::<Vec<u16>>()
    };
    let bodies = of(Structure::VertebralBody, 0);
    let mut annotated = truth.bodies.as_ref().map(|mask| mask.voxels().to_vec());
    for value in annotated.iter_mut().flatten().filter(|value| truth.s1.contains(value)) {
        *value = 0;
    }
    let discs = of(Structure::Disc, VertebraId::DISC_OFFSET);
    let cord = of_structure(result, Structure::SpinalCord.value());
    let whole: Vec<u16> =
        result.instances.voxels().iter().map(|&v| if v < 100 { v } else { 0 }).collect();
    ExamScore {
        id: exam.id.clone(),
        contrast: exam.contrast.clone(),
        primary: exam.primary,
        seconds,
        vertebrae: result.vertebrae.len(),
        body_count: annotated.as_ref().map(|mask| count_between(result, mask)),
        body_dice: annotated.map(|mask| matched_dice(&bodies, &mask)),
        disc_dice: truth.discs.as_ref().map(|mask| matched_dice(&discs, mask.voxels())),
        cord_dice: truth.cord.as_ref().map(|mask| dice(&cord, &non_zero(mask.voxels()))),
        sacrum_found: sacrum_found(result, truth),
        structure_dice: truth.structures.as_ref().map(|mask| structure_dice(result, mask)),
        vertebra_dice: truth.vertebrae.as_ref().map(|mask| {
            let mask: Vec<u16> =
                mask.voxels().iter().map(|&v| if v < 100 { v } else { 0 }).collect();
            matched_dice(&whole, &mask)
        }),
    }
}

fn of_structure(result: &Segmentation, value: u8) -> Vec<bool> {
    result.semantic.voxels().iter().map(|&v| v == value).collect()
}

fn non_zero(mask: &[u16]) -> Vec<bool> {
    mask.iter().map(|&v| v != 0).collect()
}

fn dice(a: &[bool], b: &[bool]) -> f64 {
    let both = a.iter().zip(b).filter(|&(&a, &b)| a && b).count();
    let sum = a.iter().filter(|&&a| a).count() + b.iter().filter(|&&b| b).count();
    if sum == 0 { 1.0 } else { 2.0 * both as f64 / sum as f64 }
}

/// Dice of every annotated instance with the predicted one it overlaps most; the best pairs are made first.
fn matched_dice(predicted: &[u16], annotated: &[u16]) -> BTreeMap<u16, f64> {
    let mut overlap: BTreeMap<(u16, u16), usize> = BTreeMap::new();
    let mut sizes: [BTreeMap<u16, usize>; 2] = Default::default();
    for (&p, &a) in predicted.iter().zip(annotated) {
        for (sizes, label) in sizes.iter_mut().zip([p, a]) {
            if label != 0 {
                *sizes.entry(label).or_default() += 1;
            }
        }
        if p != 0 && a != 0 {
            *overlap.entry((p, a)).or_default() += 1;
        }
    }
    let mut pairs: Vec<(f64, u16, u16)> = overlap
        .into_iter()
        .map(|((p, a), n)| (2.0 * n as f64 / (sizes[0][&p] + sizes[1][&a]) as f64, p, a))
        .collect();
    pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    let mut result: BTreeMap<u16, f64> = sizes[1].keys().map(|&a| (a, 0.0)).collect();
    let (mut used, mut matched) = (BTreeSet::new(), BTreeSet::new());
    for (dice, p, a) in pairs {
        if !used.contains(&p) && !matched.contains(&a) {
            used.insert(p);
            matched.insert(a);
            result.insert(a, dice);
        }
    }
    result
}

/// Predicted bodies whose centre lies between the upper edge of the highest and the lower edge of the lowest annotated
/// body, and the number annotated.
fn count_between(result: &Segmentation, annotated: &[u16]) -> [usize; 2] {
    let grid = result.semantic.grid();
    let height = |offset: usize| grid.affine.world(grid.dims.index(offset).map(|v| v as f64))[2];
    let labels: BTreeSet<u16> = annotated.iter().copied().filter(|&a| a != 0).collect();
    let heights = || (0..annotated.len()).filter(|&o| annotated[o] != 0).map(height);
    let low = heights().fold(f64::INFINITY, f64::min);
    let high = heights().fold(f64::NEG_INFINITY, f64::max);
    let between = result.vertebrae.iter().filter(|v| (low..=high).contains(&v.body_centroid_mm[2]));
    [between.count(), labels.len()]
}

fn sacrum_found(result: &Segmentation, truth: &Truth<'_>) -> Option<bool> {
    let mask = truth.bodies.as_ref().filter(|_| !truth.s1.is_empty())?;
    let pairs =
        || mask.voxels().iter().zip(result.semantic.voxels()).filter(|(a, _)| truth.s1.contains(a));
    let sacral = pairs().filter(|&(_, &value)| value == Structure::Sacrum.value()).count();
    Some(sacral as f64 >= SACRUM_FOUND * pairs().count() as f64)
}

/// Dice of every structure annotated; SPINEPS' inner body class 50 is body.
fn structure_dice(result: &Segmentation, mask: &Volume<u16>) -> BTreeMap<&'static str, f64> {
    Structure::ALL
        .into_iter()
        .filter_map(|structure| {
            let body = structure == Structure::VertebralBody;
            let value = u16::from(structure.value());
            let truth: Vec<bool> =
                mask.voxels().iter().map(|&v| v == value || (body && v == 50)).collect();
            let annotated = truth.contains(&true);
            annotated
                .then(|| (structure.name(), dice(&of_structure(result, structure.value()), &truth)))
        })
        .collect()
}

/// The figures of all primary exams; `None` where nothing could be scored.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Mean over all annotated bodies.
    pub body_dice_mean: Option<f64>,
    /// The worst single body.
    pub body_dice_worst: Option<f64>,
    /// Mean over the bodies of T1w and STIR exams.
    pub body_dice_t1_stir: Option<f64>,
    pub found_fraction: Option<f64>,
    /// Exams whose body count is exact.
    pub count_exact_fraction: Option<f64>,
    pub disc_dice_mean: Option<f64>,
    pub cord_dice_mean: Option<f64>,
}

/// Summarises the primary exams of `scores`.
pub fn summarise(scores: &[ExamScore]) -> Summary {
    let primary = || scores.iter().filter(|score| score.primary);
    let bodies = |wanted: &dyn Fn(&ExamScore) -> bool| -> Vec<f64> {
        primary()
            .filter(|s| wanted(s))
            .flat_map(|s| s.body_dice.iter().flatten().map(|(_, &d)| d))
            .collect()
    };
    let all = bodies(&|_| true);
    let exact = primary().filter_map(|s| s.body_count).map(|[n, of]| f64::from(u8::from(n == of)));
    Summary {
        body_dice_mean: mean(all.iter().copied()),
        body_dice_worst: all.iter().copied().reduce(f64::min),
        body_dice_t1_stir: mean(
            bodies(&|s| matches!(s.contrast.as_str(), "T1w" | "STIR")).into_iter(),
        ),
        found_fraction: mean(all.iter().map(|&d| f64::from(u8::from(d > FOUND)))),
        count_exact_fraction: mean(exact),
        disc_dice_mean: mean(primary().flat_map(|s| s.disc_dice.iter().flatten().map(|(_, &d)| d))),
        cord_dice_mean: mean(primary().filter_map(|s| s.cord_dice)),
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_annotated_instance_takes_one_partner() {
        // Predicted 7 covers all of 1 and a voxel of 2; 2 must not take it a second time.
        let scores = matched_dice(&[7, 7, 7, 0, 8], &[1, 1, 2, 2, 3]);
        assert_eq!(scores, BTreeMap::from([(1, 0.8), (2, 0.0), (3, 1.0)]));
    }

    #[test]
    fn dice_of_two_empty_masks_is_one() {
        assert_eq!(dice(&[false], &[false]), 1.0);
        assert_eq!(dice(&[true, true], &[true, false]), 2.0 / 3.0);
    }
}
