//! Source volume -> the net's grid: reoriented to (P, I, R), resampled in plane.
//!
//! Slices stay as acquired: they are centimetres apart in information, and interpolating them invents anatomy.

use crate::card::ModelCard;
use crate::refusal::{Refusal, RefusalCode};
use kernels::volume::PIR;
use kernels::{AxisMap, Grid, Volume, resample};

/// A series on the working grid.
#[derive(Debug)]
pub struct Prepared {
    /// Source axes -> (P, I, R).
    pub to_working: AxisMap,
    /// The source grid, reoriented to (P, I, R).
    pub oriented: Grid,
    /// (P, I, R), in plane as the card says, slices as acquired; intensities of the source.
    pub image: Volume<f32>,
    /// How many slices make one of the pitch the net was trained for.
    pub stride: usize,
}

/// Brings `source` to the grid `card` names. Refuses a volume without contrast.
pub fn prepare(source: &Volume<f32>, card: &ModelCard) -> Result<Prepared, Refusal> {
    let to_working = AxisMap::towards(&source.grid().affine, PIR);
    let oriented = to_working.apply(source.grid());
    let voxels = source.voxels();
    if voxels.iter().all(|value| *value == voxels[0]) {
        let text = "the image has no contrast: all voxels are alike";
        return Err(Refusal::new(RefusalCode::NoSpine, text).on_grid(source.grid()));
    }
    let image = resample::in_plane(&source.reoriented(&to_working), card.in_plane_mm);
    Ok(Prepared { to_working, oriented, stride: stride(&oriented, card), image })
}

/// Slices per trained pitch: the whole number that comes nearest to the middle of the trained range.
fn stride(grid: &Grid, card: &ModelCard) -> usize {
    let pitch = grid.affine.spacing()[2];
    let middle = (card.slice_pitch_mm[0] + card.slice_pitch_mm[1]) / 2.0;
    ((middle / pitch).round() as usize).max(1)
}
