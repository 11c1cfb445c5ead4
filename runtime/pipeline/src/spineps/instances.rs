//! Semantic mask -> vertebrae: the instance stage from the grid of the semantic net to the fused mask, around the net itself.

use super::Rules;
use super::centres::centres;
use super::cutouts::{Cutout, code};
use super::ended::Ended;
use super::fusion::{candidates, couples, fuse};
use super::prepare::{NET_SPACING_MM, mask_at};
use kernels::Volume;
use kernels::components::{Bounds, crop, paste};

/// Background kept around the mask: 5 voxels of the nets' grid in plane.
const MARGIN_MM: f64 = 3.75;

/// The vertebrae of a semantic mask, numbered from 1 by how sure they are, on the grid of the nets. `predict` runs the
/// instance net: from the codes of a cutout, first axis fastest, to a class for each of its voxels.
pub fn instances<E: From<Ended>>(
    semantic: &Volume<u8>,
    rules: Rules,
    mut predict: impl FnMut(&Cutout, Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<Volume<u16>, E> {
    let labels = mask_at(semantic, NET_SPACING_MM).map_err(Ended::from)?;
    let (part, bounds) = boxed(&labels).ok_or(Ended::EmptyMask)?;
    let codes = part.map(code);
    let mut found = Vec::new();
    for (number, centre) in centres(&part, rules)?.into_iter().enumerate() {
        let cutout = Cutout::around(&codes, centre);
        let answer = predict(&cutout, cutout.shown(&codes))?;
        found.extend(candidates(number, cutout.place, &cutout.within(&answer)));
    }
    let mut fused = fuse(*part.grid(), &found, &couples(&found))?;
    fused.drop_crumbs();
    fused.fill_holes();
    let mut whole = Volume::filled(*labels.grid(), 0);
    paste(&mut whole, &fused.renumbered(), bounds);
    Ok(whole)
}

/// A mask in its box with a margin, and where that box lies; `None` of an empty mask.
pub fn boxed(labels: &Volume<u8>) -> Option<(Volume<u8>, Bounds)> {
    let finest = labels.grid().affine.spacing().into_iter().fold(f64::INFINITY, f64::min);
    let margin = (MARGIN_MM / finest) as usize;
    let bounds = Bounds::of(labels, |v| v != 0)?.grown(margin, labels.dims());
    Some((crop(labels, bounds), bounds))
}
