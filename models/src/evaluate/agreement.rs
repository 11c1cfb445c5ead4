//! How well two masks agree: Dice, ASSD and NSD.
//!
//! The measures of the SPINEPS paper (Möller et al., European Radiology 2024, arXiv 2402.16368) in the definitions of the
//! tool its authors measure with (panoptica, arXiv 2312.02608):
//! - Dice = 2 |P and A| / (|P| + |A|).
//! - The *surface* of a mask: its voxels with a face neighbour outside the mask or outside the volume.
//! - ASSD, average symmetric surface distance: the mean of two means, of the distances from each surface voxel of P to
//!   the nearest one of A, and the other way round. Millimetres between voxel centres, the spacing of each axis its own.
//! - NSD, normalised surface Dice (Nikolov et al., arXiv 1809.04430), which the paper does not have: the share of all
//!   surface voxels of both masks within [`TOLERANCE_MM`] of the other's surface.
//!
//! `tests/peers/mask_agreement.py` computes the same with SciPy, and a test compares.

use kernels::components::{Bounds, crop};
use kernels::{Volume, distance};
use std::collections::BTreeMap;

/// NSD takes surfaces this near to each other as one: about a pixel of a spine exam.
pub const TOLERANCE_MM: f64 = 1.0;
/// Distances of exactly the tolerance must count whatever the rounding of a spacing.
const ROUNDING_MM: f64 = 1e-6;

/// How well a predicted mask agrees with an annotated one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// 0 to 1; 1 when both masks are empty.
    pub dice: f64,
    /// Millimetres; `None` when one of the masks is empty: read it beside the number of missed instances.
    pub assd_mm: Option<f64>,
    /// 0 to 1; 1 when both masks are empty.
    pub nsd: f64,
}

impl Agreement {
    /// Nothing predicted where something is annotated.
    pub const MISSED: Agreement = Agreement { dice: 0.0, assd_mm: None, nsd: 0.0 };

    /// Compares two masks, anything but 0 inside, on one grid.
    pub fn of(predicted: &Volume<u8>, annotated: &Volume<u8>) -> Agreement {
        let boxes = [predicted, annotated].map(|mask| Bounds::of(mask, |v| v != 0));
        match boxes {
            [Some(p), Some(a)] => in_box(predicted, annotated, around(p, a)),
            [None, None] => Agreement { dice: 1.0, assd_mm: None, nsd: 1.0 },
            _ => Agreement::MISSED,
        }
    }

    /// Compares voxels of one label with voxels of another, whose boxes are known.
    pub(super) fn of_labels(
        (predicted, p): (&Volume<u16>, u16),
        (annotated, a): (&Volume<u16>, u16),
        boxes: [Bounds; 2],
    ) -> Agreement {
        let bounds = around(boxes[0], boxes[1]);
        let one = |volume, label| crop(volume, bounds).map(|v: u16| u8::from(v == label));
        compare(&one(predicted, p), &one(annotated, a))
    }
}

/// The box around both.
fn around(a: Bounds, b: Bounds) -> Bounds {
    Bounds {
        min: std::array::from_fn(|axis| a.min[axis].min(b.min[axis])),
        max: std::array::from_fn(|axis| a.max[axis].max(b.max[axis])),
    }
}

fn in_box(predicted: &Volume<u8>, annotated: &Volume<u8>, bounds: Bounds) -> Agreement {
    compare(&crop(predicted, bounds), &crop(annotated, bounds))
}

/// Two masks that are not empty, cut to the box around both: nothing outside it can be nearest to anything.
fn compare(predicted: &Volume<u8>, annotated: &Volume<u8>) -> Agreement {
    let pairs = predicted.voxels().iter().zip(annotated.voxels());
    let both = pairs.filter(|&(&p, &a)| p != 0 && a != 0).count();
    let size = |mask: &Volume<u8>| mask.voxels().iter().filter(|&&v| v != 0).count();
    let (p, a) = (surface(predicted), surface(annotated));
    let directed = [distances(&p, &a), distances(&a, &p)];
    let mean = |d: &Vec<f64>| d.iter().sum::<f64>() / d.len() as f64;
    let near = |d: &Vec<f64>| d.iter().filter(|&&d| d <= TOLERANCE_MM + ROUNDING_MM).count();
    let near_both = directed.iter().map(near).sum::<usize>() as f64;
    Agreement {
        dice: 2.0 * both as f64 / (size(predicted) + size(annotated)) as f64,
        assd_mm: Some(directed.iter().map(mean).sum::<f64>() / 2.0),
        nsd: near_both / directed.iter().map(Vec::len).sum::<usize>() as f64,
    }
}

/// 0 on the surface of `mask`, 1 elsewhere, as the distance transform wants it.
fn surface(mask: &Volume<u8>) -> Volume<u8> {
    let dims = mask.dims();
    let counts = dims.counts();
    let steps = [1, counts[0], dims.plane()];
    let values = mask.voxels();
    let at_surface = |offset: usize| {
        let index = dims.index(offset);
        (0..3).any(|axis| {
            let below = index[axis] == 0 || values[offset - steps[axis]] == 0;
            below || index[axis] + 1 == counts[axis] || values[offset + steps[axis]] == 0
        })
    };
    let far = |offset: usize| u8::from(values[offset] == 0 || !at_surface(offset));
    Volume::new(*mask.grid(), (0..values.len()).map(far).collect()).expect("one value per voxel")
}

/// Millimetres from each voxel of the surface `from` to the nearest of the surface `to`.
fn distances(from: &Volume<u8>, to: &Volume<u8>) -> Vec<f64> {
    let squares = distance::squared_mm(to);
    let pairs = from.voxels().iter().zip(squares.voxels());
    pairs.filter(|&(&far, _)| far == 0).map(|(_, square)| square.sqrt()).collect()
}

/// The box around the voxels of each label but 0, and how many they are.
pub(super) fn extents(labels: &Volume<u16>) -> BTreeMap<u16, (Bounds, usize)> {
    let ni = labels.dims().counts()[0];
    let mut extents: BTreeMap<u16, (Bounds, usize)> = BTreeMap::new();
    for (row, values) in labels.voxels().chunks_exact(ni).enumerate() {
        for (i, &label) in values.iter().enumerate().filter(|&(_, &label)| label != 0) {
            let at = labels.dims().index(row * ni + i);
            let (bounds, count) = extents.entry(label).or_insert((Bounds { min: at, max: at }, 0));
            *bounds = around(*bounds, Bounds { min: at, max: at });
            *count += 1;
        }
    }
    extents
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::{Affine, Dims, Grid};

    /// A row of voxels of 0.5 mm, two slices of 3 mm.
    fn mask(values: [u8; 8]) -> Volume<u8> {
        let axes = [[0.5, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        let grid = Grid { dims: Dims::new([4, 1, 2]).unwrap(), affine };
        Volume::new(grid, values.to_vec()).unwrap()
    }

    #[test]
    fn distances_are_in_millimetres_of_each_axis() {
        let left = mask([1, 0, 0, 0, 0, 0, 0, 0]);
        let right = mask([0, 0, 1, 0, 0, 0, 0, 0]);
        let below = mask([0, 0, 0, 0, 1, 0, 0, 0]);
        // 1 mm is still within the tolerance.
        let expected = Agreement { dice: 0.0, assd_mm: Some(1.0), nsd: 1.0 };
        assert_eq!(Agreement::of(&left, &right), expected);
        let expected = Agreement { dice: 0.0, assd_mm: Some(3.0), nsd: 0.0 };
        assert_eq!(Agreement::of(&left, &below), expected);
    }

    #[test]
    fn both_directions_weigh_the_same_in_assd_and_by_voxels_in_nsd() {
        let one = mask([1, 0, 0, 0, 0, 0, 0, 0]);
        let four = mask([1, 1, 1, 1, 0, 0, 0, 0]);
        let agreement = Agreement::of(&one, &four);
        // There: 0. Back: (0 + 0.5 + 1 + 1.5) / 4.
        assert_eq!((agreement.dice, agreement.assd_mm), (0.4, Some(0.375)));
        assert_eq!(agreement.nsd, 4.0 / 5.0);
    }

    #[test]
    fn empty_masks_have_no_distance() {
        let (empty, one) = (mask([0; 8]), mask([1, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(Agreement::of(&empty, &one), Agreement::MISSED);
        assert_eq!(Agreement::of(&one, &empty), Agreement::MISSED);
        let neither = Agreement { dice: 1.0, assd_mm: None, nsd: 1.0 };
        assert_eq!(Agreement::of(&empty, &empty), neither);
    }
}
