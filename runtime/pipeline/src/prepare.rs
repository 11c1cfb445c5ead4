//! Source volume -> the net's grid: reoriented to (P, I, R), resampled in plane, normalised.
//!
//! Slices stay as acquired: they are centimetres apart in information, and interpolating them invents anatomy.

use crate::card::ModelCard;
use crate::refusal::{Refusal, RefusalCode};
use kernels::volume::PIR;
use kernels::{AxisMap, Grid, Volume, resample, statistics};

/// A series on the working grid.
#[derive(Debug)]
pub struct Prepared {
    /// Source axes -> (P, I, R).
    pub to_working: AxisMap,
    /// The source grid, reoriented to (P, I, R).
    pub oriented: Grid,
    /// (P, I, R), in plane as the card says, slices as acquired; normalised intensities.
    pub image: Volume<f32>,
    /// How many slices make one of the pitch the net was trained for.
    pub stride: usize,
}

/// Brings `source` to the grid and intensities `card` names. Refuses a volume without contrast.
pub fn prepare(source: &Volume<f32>, card: &ModelCard) -> Result<Prepared, Refusal> {
    let to_working = AxisMap::towards(&source.grid().affine, PIR);
    let oriented = to_working.apply(source.grid());
    let mut image = resample::in_plane(&source.reoriented(&to_working), card.in_plane_mm);
    normalise(&mut image, card)?;
    Ok(Prepared { to_working, oriented, stride: stride(&oriented, card), image })
}

/// Slices per trained pitch: the whole number that comes nearest to the middle of the trained range.
fn stride(grid: &Grid, card: &ModelCard) -> usize {
    let pitch = grid.affine.spacing()[2];
    let middle = (card.slice_pitch_mm[0] + card.slice_pitch_mm[1]) / 2.0;
    ((middle / pitch).round() as usize).max(1)
}

/// Clip, subtract the mean, divide by the deviation: see [`crate::card::Normalisation`].
fn normalise(image: &mut Volume<f32>, card: &ModelCard) -> Result<(), Refusal> {
    let rule = card.normalisation;
    let limits =
        statistics::percentiles(image.voxels(), &[rule.low_percentile, rule.high_percentile]);
    let (low, high) = (limits[0], limits[1]);
    for value in image.voxels_mut() {
        *value = value.clamp(low, high);
    }
    let threshold = low + rule.foreground as f32 * (high - low);
    let spread = statistics::mean_deviation_above(image.voxels(), threshold);
    let Some((mean, deviation)) = spread.filter(|&(_, deviation)| deviation > 0.0) else {
        return Err(Refusal::new(
            RefusalCode::NoSpine,
            "the image has no contrast: all voxels are alike",
        )
        .on_grid(image.grid()));
    };
    let (mean, scale) = (mean as f32, (1.0 / deviation) as f32);
    for value in image.voxels_mut() {
        *value = (*value - mean) * scale;
    }
    Ok(())
}
