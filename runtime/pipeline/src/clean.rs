//! Removes what cannot be spine from the class map: islands far from it, crumbs, holes. What is left is cropped: a spine
//! fills a fifth of its field of view, and every later stage passes over all voxels it is given.
//!
//! All limits are physical (mm, ml), so that they mean the same on every grid.

use crate::card::ModelCard;
use crate::labels::Structure;
use kernels::components::{self, Bounds, Connectivity, crop};
use kernels::{Grid, Volume, fill, morphology};

/// Parts of the spine nearer than twice this count as one: a signal void or an unlabelled disc does not cut it.
const BRIDGE_MM: f64 = 3.0;
/// A part with less than this share of the largest is no part of the spine. A spine cut in two by an implant keeps
/// both halves; an arm or a bladder called spine is far smaller.
const MIN_PART_SHARE: f64 = 0.15;
/// Canal and sacrum are one piece each: other pieces below this share of the largest are cysts, bladder or fat, or
/// facets taken for sacrum.
const MIN_PIECE_SHARE: f64 = 0.2;
/// Smallest component of one class: 30 voxels of SPINEPS' reference grid (spineps.md 4.1 b).
const MIN_COMPONENT_ML: f64 = 0.028;
/// Background kept around the spine: its edge must be seen as one, while a body at the edge of the box is cut by the edge
/// of the field of view.
const MARGIN: usize = 1;

/// The spine of `classes`, cleaned, in the smallest box that holds it with a margin; `None` where nothing is.
pub fn clean(classes: &Volume<u8>, card: &ModelCard) -> Option<Volume<u8>> {
    let mut spine = keep_spine(&boxed(classes, bridge_voxels(classes.grid()))?);
    keep_main(&mut spine, card, &[Structure::SpinalCanal, Structure::SpinalCord]);
    keep_main(&mut spine, card, &[Structure::Sacrum]);
    drop_crumbs(&mut spine);
    fill_holes(&mut spine, card);
    boxed(&spine, MARGIN)
}

/// What is not background, in its box with `margin` more voxels on each side, as far as the field of view goes.
fn boxed(classes: &Volume<u8>, margin: usize) -> Option<Volume<u8>> {
    let bounds = Bounds::of(classes, |class| class != 0)?;
    Some(crop(classes, bounds.grown(margin, classes.dims())))
}

/// Voxels in plane that [`BRIDGE_MM`] reaches, rounded up.
fn bridge_voxels(grid: &Grid) -> usize {
    let [i, j, _] = grid.affine.spacing();
    (BRIDGE_MM / i.min(j)).ceil() as usize
}

/// The large parts of all structures together, cropped to them.
fn keep_spine(classes: &Volume<u8>) -> Volume<u8> {
    let mut spine = classes.clone();
    let bridged = morphology::dilate_in_plane(&classes.map(|c| u8::from(c != 0)), BRIDGE_MM);
    keep_parts(&mut spine, &bridged, MIN_PART_SHARE);
    boxed(&spine, MARGIN).unwrap_or(spine)
}

/// Keeps the large parts of `structures` taken together.
fn keep_main(classes: &mut Volume<u8>, card: &ModelCard, structures: &[Structure]) {
    let wanted: Vec<u8> = structures.iter().filter_map(|&s| card.class_of(s)).collect();
    let mask = classes.map(|class| u8::from(wanted.contains(&class)));
    keep_parts(classes, &mask, MIN_PIECE_SHARE);
}

/// Erases from `classes` the components of `mask` that are smaller than `share` of its largest one; voxels outside
/// `mask` stay.
fn keep_parts(classes: &mut Volume<u8>, mask: &Volume<u8>, share: f64) {
    let found = components::label(mask, Connectivity::Corners26);
    let largest = found.parts.iter().map(|part| part.voxels).max().unwrap_or(0);
    found.erase(classes, |part| (part.voxels as f64) < share * largest as f64);
}

/// Erases components of single classes that are too small to be anything.
fn drop_crumbs(classes: &mut Volume<u8>) {
    let voxel_ml = classes.grid().affine.spacing().iter().product::<f64>() / 1000.0;
    let found = components::label(classes, Connectivity::Corners26);
    found.erase(classes, |part| (part.voxels as f64) * voxel_ml < MIN_COMPONENT_ML);
}

/// Fills background enclosed within a slice by one solid structure: vacuum in a disc, flow voids in the canal. Holes in
/// bodies are filled where the bodies are told apart.
fn fill_holes(classes: &mut Volume<u8>, card: &ModelCard) {
    let solid = [Structure::SpinalCanal, Structure::Disc, Structure::SpinalCord, Structure::Sacrum];
    for class in solid.into_iter().filter_map(|structure| card.class_of(structure)) {
        for offset in fill::holes_in_slices(classes, class) {
            classes.voxels_mut()[offset] = class;
        }
    }
}
