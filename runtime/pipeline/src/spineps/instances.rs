//! Semantic mask -> vertebrae: the instance stage from the grid of the semantic net to the fused mask, around the net itself.

use super::Rules;
use super::boxed::Boxed;
use super::centres::centres;
use super::cutouts::{Cutout, VOXELS, code};
use super::ended::Ended;
use super::fusion::{candidates, couples, fuse};
use super::prepare::{NET_SPACING_MM, grid_at};
use crate::vertebrae::MAX_BODIES;

/// Background kept around the mask: 5 voxels of the nets' grid in plane.
const MARGIN_MM: f64 = 3.75;
/// Most cutouts of one series: each body, and as often again for crumbs beside them. Each costs a run of the net.
const MAX_CUTOUTS: usize = 2 * MAX_BODIES;

/// The vertebrae of a semantic mask, numbered from 1 by how sure they are, on the grid of the nets. `predict` runs the
/// instance net: from the codes of a cutout, first axis fastest, to a class for each of its voxels, which it writes.
pub fn instances<E: From<Ended>>(
    semantic: &Boxed<u8>,
    rules: Rules,
    mut predict: impl FnMut(&Cutout, &[u8], &mut [u8]) -> Result<(), E>,
) -> Result<Boxed<u16>, E> {
    let grid = grid_at(&semantic.whole, NET_SPACING_MM).map_err(Ended::from)?;
    let found =
        if grid == semantic.whole { boxed(semantic) } else { boxed(&semantic.clone().on(&grid)) };
    let Boxed { part, bounds, .. } = found.ok_or(Ended::EmptyMask)?;
    let table: [u8; 256] = std::array::from_fn(|label| code(label as u8));
    let codes = part.map(|label| table[usize::from(label)]);
    let (mut shown, mut answer) = (vec![0; VOXELS], vec![0; VOXELS]);
    let mut found = Vec::new();
    let centres = centres(&part, rules)?;
    if centres.len() > MAX_CUTOUTS {
        return Err(Ended::TooManyBodies(centres.len()).into());
    }
    for (number, centre) in centres.into_iter().enumerate() {
        let cutout = Cutout::around(&codes, centre);
        cutout.show(&codes, &mut shown);
        predict(&cutout, &shown, &mut answer)?;
        found.extend(candidates(number, cutout.place, cutout.within(&answer)));
    }
    let mut fused = fuse(*part.grid(), &found, &couples(&found))?;
    fused.drop_crumbs();
    fused.fill_holes();
    Ok(Boxed { whole: grid, bounds, part: fused.renumbered() })
}

/// A mask in its box with a margin; `None` of an empty mask.
pub fn boxed(labels: &Boxed<u8>) -> Option<Boxed<u8>> {
    let finest = labels.whole.affine.spacing().into_iter().fold(f64::INFINITY, f64::min);
    let margin = (MARGIN_MM / finest) as usize;
    Some(labels.at(labels.content()?.grown(margin, labels.whole.dims)))
}
