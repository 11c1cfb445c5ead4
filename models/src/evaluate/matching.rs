//! Which predicted instance is which annotated one, and what remains on either side.
//!
//! Each annotated instance takes the predicted one with which its Dice is highest, the best pairs first, none twice; one
//! without a partner is missed with Dice 0. An instance is *found* from a Dice of 0.5, as `found_fraction` always was.
//! Panoptic quality is stricter (Kirillov et al., arXiv 1801.00868, as in the SPINEPS paper): a pair is a hit above an
//! IoU of 0.5, where every other pair of the two instances lies below, so that both rules choose the same partners.

use super::agreement::{Agreement, extents};
use kernels::Volume;
use std::collections::{BTreeMap, BTreeSet};

/// An instance counts as found above this Dice.
pub const FOUND_DICE: f64 = 0.5;
/// A pair is a hit of panoptic quality above this intersection over union.
pub const HIT_IOU: f64 = 0.5;

/// Where predicted instances without a partner count as spurious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything in the volume is annotated.
    Everywhere,
    /// Only what lies between the upper edge of the highest and the lower edge of the lowest annotated instance: beyond,
    /// the annotators stopped.
    Between,
}

/// The panoptic quality of one exam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Panoptic {
    /// Hits / (hits + half of the spurious + half of the missed).
    pub recognition: f64,
    /// Mean IoU of the hits; `None` without any.
    pub segmentation: Option<f64>,
    /// Their product, 0 without hits.
    pub quality: f64,
}

/// An annotated instance and its partner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Label of the predicted instance; `None` where nothing overlaps that is not taken.
    pub partner: Option<u16>,
    /// Intersection over union.
    pub iou: f64,
    pub agreement: Agreement,
}

/// The instances of one kind in one exam.
#[derive(Debug, Clone, PartialEq)]
pub struct Instances {
    /// By annotated label.
    pub matches: BTreeMap<u16, Match>,
    /// Predicted instances whose centre lies in the scope.
    pub predicted: usize,
    /// Predicted instances in the scope that find no annotated one.
    pub spurious: usize,
    pub panoptic: Panoptic,
}

impl Instances {
    /// Matches the instances of two label volumes on one grid; `None` where nothing is annotated.
    pub fn compare(
        predicted: &Volume<u16>,
        annotated: &Volume<u16>,
        scope: Scope,
    ) -> Option<Instances> {
        let (p, a) = (extents(predicted), extents(annotated));
        if a.is_empty() {
            return None;
        }
        let sizes = |p_label, a_label| (p[&p_label].1, a[&a_label].1);
        let pairs = best_pairs(&overlaps(predicted, annotated), sizes);
        let mut matches: BTreeMap<u16, Match> = a.keys().map(|&a| (a, Match::MISSED)).collect();
        for (a_label, p_label, iou) in pairs {
            let boxes = [p[&p_label].0, a[&a_label].0];
            let (ours, theirs) = ((predicted, p_label), (annotated, a_label));
            let agreement = Agreement::of_labels(ours, theirs, boxes);
            matches.insert(a_label, Match { partner: Some(p_label), iou, agreement });
        }
        let inside = in_scope(predicted, annotated, scope);
        let unmatched = |matched: fn(&Match) -> bool| {
            let matched = matches.values().filter(|&m| matched(m));
            let taken: BTreeSet<u16> = matched.filter_map(|m| m.partner).collect();
            inside.difference(&taken).count()
        };
        let panoptic = panoptic(&matches, unmatched(Match::is_hit));
        let spurious = unmatched(Match::is_found);
        Some(Instances { predicted: inside.len(), spurious, panoptic, matches })
    }

    /// How many annotated instances are found.
    pub fn found(&self) -> usize {
        self.matches.values().filter(|m| m.is_found()).count()
    }

    pub fn annotated(&self) -> usize {
        self.matches.len()
    }

    /// As many predicted as annotated.
    pub fn count_exact(&self) -> bool {
        self.predicted == self.annotated()
    }
}

impl Match {
    const MISSED: Match = Match { partner: None, iou: 0.0, agreement: Agreement::MISSED };

    pub fn is_found(&self) -> bool {
        self.agreement.dice > FOUND_DICE
    }

    fn is_hit(&self) -> bool {
        self.iou > HIT_IOU
    }
}

fn panoptic(matches: &BTreeMap<u16, Match>, spurious: usize) -> Panoptic {
    let hits: Vec<f64> = matches.values().filter(|m| m.is_hit()).map(|m| m.iou).collect();
    let (count, missed) = (hits.len() as f64, (matches.len() - hits.len()) as f64);
    let recognition = count / (count + 0.5 * (spurious as f64 + missed));
    let segmentation = (!hits.is_empty()).then(|| hits.iter().sum::<f64>() / count);
    Panoptic { recognition, segmentation, quality: recognition * segmentation.unwrap_or(0.0) }
}

/// Common voxels of each pair of labels (predicted, annotated) that has some.
fn overlaps(predicted: &Volume<u16>, annotated: &Volume<u16>) -> BTreeMap<(u16, u16), usize> {
    let mut common = BTreeMap::new();
    for (&p, &a) in predicted.voxels().iter().zip(annotated.voxels()) {
        if p != 0 && a != 0 {
            *common.entry((p, a)).or_default() += 1;
        }
    }
    common
}

/// Annotated label, predicted label and IoU of the pairs that are made, the highest IoU (and so the highest Dice) first.
fn best_pairs(
    overlaps: &BTreeMap<(u16, u16), usize>,
    sizes: impl Fn(u16, u16) -> (usize, usize),
) -> Vec<(u16, u16, f64)> {
    let iou = |p, a, both| {
        let (in_p, in_a) = sizes(p, a);
        both as f64 / (in_p + in_a - both) as f64
    };
    let mut pairs: Vec<(u16, u16, f64)> =
        overlaps.iter().map(|(&(p, a), &both)| (a, p, iou(p, a, both))).collect();
    pairs.sort_by(|x, y| y.2.total_cmp(&x.2).then((x.0, x.1).cmp(&(y.0, y.1))));
    let (mut used, mut matched) = (BTreeSet::new(), BTreeSet::new());
    pairs.retain(|&(a, p, _)| {
        let free = !used.contains(&p) && !matched.contains(&a);
        if free {
            used.insert(p);
            matched.insert(a);
        }
        free
    });
    pairs
}

/// Labels of the predicted instances whose centre of mass lies in the scope.
fn in_scope(predicted: &Volume<u16>, annotated: &Volume<u16>, scope: Scope) -> BTreeSet<u16> {
    let range = match scope {
        Scope::Everywhere => f64::NEG_INFINITY..=f64::INFINITY,
        Scope::Between => {
            let low = heights(annotated).map(|(_, z)| z).fold(f64::INFINITY, f64::min);
            let high = heights(annotated).map(|(_, z)| z).fold(f64::NEG_INFINITY, f64::max);
            low..=high
        }
    };
    let mut sums: BTreeMap<u16, (f64, usize)> = BTreeMap::new();
    for (label, z) in heights(predicted) {
        let (sum, count) = sums.entry(label).or_default();
        (*sum, *count) = (*sum + z, *count + 1);
    }
    let centres = sums.into_iter().map(|(label, (sum, count))| (label, sum / count as f64));
    centres.filter(|(_, z)| range.contains(z)).map(|(label, _)| label).collect()
}

/// Label and height (LPS z, millimetres) of every labelled voxel.
fn heights(volume: &Volume<u16>) -> impl Iterator<Item = (u16, f64)> {
    let grid = *volume.grid();
    let height =
        move |offset: usize| grid.affine.world(grid.dims.index(offset).map(|v| v as f64))[2];
    let labelled = volume.voxels().iter().enumerate().filter(|&(_, &label)| label != 0);
    labelled.map(move |(offset, &label)| (label, height(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    /// A column of voxels of 1 mm from top to bottom.
    fn column(labels: &[u16]) -> Volume<u16> {
        let axes = [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-4.0, 0.0, 0.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([1, labels.len(), 1]).unwrap(), affine };
        Volume::new(grid, labels.to_vec()).unwrap()
    }

    fn compare(predicted: &[u16], annotated: &[u16], scope: Scope) -> Instances {
        Instances::compare(&column(predicted), &column(annotated), scope).unwrap()
    }

    #[test]
    fn each_annotated_instance_takes_one_partner() {
        // Predicted 7 covers all of 1 and a voxel of 2; 2 must not take it a second time.
        let instances = compare(&[7, 7, 7, 0, 8], &[1, 1, 2, 2, 3], Scope::Between);
        let dice: Vec<f64> = instances.matches.values().map(|m| m.agreement.dice).collect();
        let partners: Vec<_> = instances.matches.values().map(|m| m.partner).collect();
        assert_eq!((dice, partners), (vec![0.8, 0.0, 1.0], vec![Some(7), None, Some(8)]));
        assert_eq!((instances.found(), instances.spurious, instances.predicted), (2, 0, 2));
    }

    #[test]
    fn panoptic_quality_is_kirillovs() {
        // IoU of 1: 2/3, a hit. 2: 2/4, none. 9 is spurious, and 6 a half match that is none.
        let instances =
            compare(&[5, 5, 0, 6, 6, 6, 9, 4], &[1, 1, 1, 2, 2, 0, 0, 4], Scope::Everywhere);
        let Panoptic { recognition, segmentation, quality } = instances.panoptic;
        // Hits: 1 (2/3), 2 (2/3), 4 (1). Spurious: 9.
        let mean = (2.0 / 3.0 + 2.0 / 3.0 + 1.0) / 3.0;
        assert!((recognition - 3.0 / 3.5).abs() < 1e-12);
        assert!((segmentation.unwrap() - mean).abs() < 1e-12);
        assert!((quality - mean * 3.0 / 3.5).abs() < 1e-12);
    }

    #[test]
    fn an_iou_of_one_half_is_found_and_no_hit() {
        let instances = compare(&[5, 5, 5, 5], &[1, 1, 0, 0], Scope::Everywhere);
        assert_eq!((instances.found(), instances.spurious), (1, 0));
        let none = Panoptic { recognition: 0.0, segmentation: None, quality: 0.0 };
        assert_eq!(instances.panoptic, none);
    }

    #[test]
    fn what_nobody_annotated_is_spurious_only_in_the_scope() {
        let (predicted, annotated) = ([8, 5, 9, 6, 7], [0, 1, 0, 2, 0]);
        let between = compare(&predicted, &annotated, Scope::Between);
        assert_eq!((between.predicted, between.spurious, between.count_exact()), (3, 1, false));
        let everywhere = compare(&predicted, &annotated, Scope::Everywhere);
        assert_eq!((everywhere.predicted, everywhere.spurious), (5, 3));
        let nothing = Instances::compare(&column(&[1]), &column(&[0]), Scope::Between);
        assert_eq!(nothing, None);
    }

    #[test]
    fn nothing_predicted_is_all_missed() {
        let instances = compare(&[0, 0], &[1, 2], Scope::Between);
        assert_eq!((instances.found(), instances.predicted, instances.spurious), (0, 0, 0));
        assert_eq!(instances.panoptic.quality, 0.0);
    }
}
