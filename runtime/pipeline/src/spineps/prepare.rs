//! The image for the semantic net, and images and masks from grid to grid (facts: SPINEPS' `preprocess_input`, `rescale`,
//! `resample_from_to`). Our correction of the bias field stands where SPINEPS has N4, and nowhere else: our own nets do no
//! better with it.

use super::ended::Ended;
use kernels::components::{Bounds, crop, paste};
use kernels::volume::scale;
use kernels::{Affine, Dims, GeometryError, Grid, Volume, bias, resample, threads};

/// Intensities run from 0 to this at most.
const MAX_INTENSITY: f32 = 1500.0;
/// Voxels of background added on every side, so that no structure touches the edge of the net's view.
const PAD: usize = 4;
/// Spacing of the grid that both nets for T2 were trained on, mm along (P, I, R).
pub const NET_SPACING_MM: [f64; 3] = [0.75, 0.75, 1.65];
/// Spacings that differ by less are the same, mm and as a share of the wanted one (NumPy's `isclose`).
const SAME_MM: f64 = 1e-3;
const SAME_SHARE: f64 = 1e-5;

/// The image as the semantic net gets it, before it is brought to the net's spacing.
pub fn prepare(image: &Volume<f32>) -> Result<Volume<f32>, Ended> {
    prepare_with(image, |part| bias::correct(part, threads::available()))
}

/// The same where `correct` takes the bias field out of the part of the image that is not empty.
pub fn prepare_with(
    image: &Volume<f32>,
    correct: impl FnOnce(&mut Volume<f32>),
) -> Result<Volume<f32>, Ended> {
    let mut image = normalised(image);
    let content = Bounds::of(&image, |v| v > 0.0).ok_or(Ended::EmptyImage)?;
    let mut part = crop(&image, content);
    correct(&mut part);
    paste(&mut image, &normalised(&part), content);
    Ok(padded(&image)?)
}

/// Intensities from 0; brighter images are scaled down to `MAX_INTENSITY`, darker ones are left.
pub fn normalised(image: &Volume<f32>) -> Volume<f32> {
    let (darkest, brightest) = range(image);
    let highest = brightest - darkest;
    let factor = if highest > MAX_INTENSITY { MAX_INTENSITY / highest } else { 1.0 };
    image.map(|v| (v - darkest) * factor)
}

/// Least and largest value; NaN is neither.
fn range(image: &Volume<f32>) -> (f32, f32) {
    let values = image.voxels().iter();
    values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// The image with `PAD` voxels of its least value on every side.
pub fn padded(image: &Volume<f32>) -> Result<Volume<f32>, GeometryError> {
    let Grid { dims, affine } = *image.grid();
    let origin = affine.world([-(PAD as f64); 3]);
    let grid = Grid {
        dims: Dims::new(dims.counts().map(|n| n + 2 * PAD))?,
        affine: Affine::new(affine.axes(), origin)?,
    };
    let mut wider = Volume::filled(grid, range(image).0);
    let inside = Bounds { min: [PAD; 3], max: dims.counts().map(|n| n + PAD - 1) };
    paste(&mut wider, image, inside);
    Ok(wider)
}

/// The grid of voxels of `spacing_mm` from the same first voxel centre on, over the same length up to half a voxel.
pub fn grid_at(source: &Grid, spacing_mm: [f64; 3]) -> Result<Grid, GeometryError> {
    let (old, axes, counts) = (source.affine.spacing(), source.affine.axes(), source.dims.counts());
    let same = |axis: usize| {
        (spacing_mm[axis] - old[axis]).abs() <= SAME_MM + SAME_SHARE * old[axis].abs()
    };
    if (0..3).all(same) {
        return Ok(*source);
    }
    let count = |axis: usize| {
        let wanted = (counts[axis] as f64 * old[axis] / spacing_mm[axis]).round_ties_even();
        (wanted as usize).max(1)
    };
    let step = |axis: usize| scale(axes[axis], spacing_mm[axis] / old[axis]);
    Ok(Grid {
        dims: Dims::new([0, 1, 2].map(count))?,
        affine: Affine::new([0, 1, 2].map(step), source.affine.origin())?,
    })
}

/// The image on the grid of `spacing_mm`, by cubic B-spline.
pub fn image_at(image: &Volume<f32>, spacing_mm: [f64; 3]) -> Result<Volume<f32>, GeometryError> {
    let grid = grid_at(image.grid(), spacing_mm)?;
    Ok(if grid == *image.grid() { image.clone() } else { resample::cubic(image, &grid) })
}

/// A mask on the grid of `spacing_mm`, by nearest voxel.
pub fn mask_at<T: Copy>(
    mask: &Volume<T>,
    spacing_mm: [f64; 3],
) -> Result<Volume<T>, GeometryError> {
    Ok(mask_on(mask, &grid_at(mask.grid(), spacing_mm)?))
}

/// A mask on a grid with parallel axes, such as the scanner's, by nearest voxel.
pub fn mask_on<T: Copy>(mask: &Volume<T>, grid: &Grid) -> Volume<T> {
    if grid == mask.grid() { mask.clone() } else { resample::nearest(mask, grid) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(values: &[f32]) -> Volume<f32> {
        let axes = [[0.0, 0.5, 0.0], [0.0, 0.0, -0.5], [-4.0, 0.0, 0.0]];
        let dims = Dims::new([values.len(), 1, 1]).unwrap();
        let grid = Grid { dims, affine: Affine::new(axes, [0.0; 3]).unwrap() };
        Volume::new(grid, values.to_vec()).unwrap()
    }

    #[test]
    fn an_image_without_contrast_ends_the_run() {
        assert_eq!(prepare(&image(&[7.0; 5])), Err(Ended::EmptyImage));
        assert_eq!(prepare(&image(&[f32::NAN; 5])), Err(Ended::EmptyImage));
    }

    #[test]
    fn every_voxel_keeps_its_place_when_padded() {
        let padded = prepare_with(&image(&[5.0, 3005.0, 5.0, 35.0]), |_| ()).unwrap();
        assert_eq!(padded.dims().counts(), [12, 9, 9]);
        assert_eq!([5, 6, 7].map(|i| padded.at([i, 4, 4])), [1500.0, 0.0, 15.0]);
        assert_eq!(padded.grid().affine.world([4.0; 3]), [0.0; 3]);
    }

    #[test]
    fn the_bias_field_is_taken_out_by_our_correction() {
        let values: Vec<f32> = (0..400).map(|n| 20.0 + (n * 7 % 90) as f32 + n as f32).collect();
        let image = image(&values);
        let corrected = prepare(&image).unwrap();
        assert_eq!(prepare_with(&image, |part| bias::correct(part, 1)).unwrap(), corrected);
        assert_ne!(prepare_with(&image, |_| ()).unwrap(), corrected);
    }

    #[test]
    fn impossible_spacings_are_refused() {
        let image = image(&[0.0, 1.0]);
        assert!(image_at(&image, [0.0, 1.0, 1.0]).is_err());
        assert!(image_at(&image, [f64::NAN, 1.0, 1.0]).is_err());
        assert_eq!(image_at(&image, [1e9, 1.0, 1.0]).unwrap().dims().counts(), [1, 1, 4]);
    }
}
