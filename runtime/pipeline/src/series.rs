//! Slices -> one checked volume, or a precise refusal.

use crate::refusal::{Plane, Refusal, RefusalCode};
use kernels::volume::{cross, dot, norm, scale, sub};
use kernels::{Affine, Dims, Grid, Volume};

/// Fewest slices of a series to be segmented, and of one that tells levels (a localiser has three a plane).
pub const MIN_SLICES: usize = 5;
const MIN_SLICES_FOR_LEVELS: usize = 3;
/// Narrowest and coarsest in-plane grids admitted: below, vertebrae are a few pixels (scanner-side rules, selection 1).
pub const MIN_COLUMNS: usize = 96;
pub const MAX_IN_PLANE_MM: f64 = 1.6;
/// Thickest slice pitch admitted: beyond, a vertebral body is seen in two slices only.
pub const MAX_SLICE_PITCH_MM: f64 = 8.0;
/// The same where only levels are read: three slices so far apart still cut every body in the midline and beside it.
const MAX_SLICE_PITCH_FOR_LEVELS_MM: f64 = 15.0;
/// A series is sagittal when its normal keeps at least this share of left-right (37 degrees of obliquity).
pub const MIN_SAGITTAL_COSINE: f64 = 0.8;
/// A grid whose thickest axis exceeds the others by this factor was acquired as slices across it.
const ANISOTROPIC: f64 = 1.3;
/// Direction cosines of one series agree within this (DICOM writes six decimals, some consoles four).
const ORIENTATION_TOLERANCE: f64 = 1e-3;
/// Slice steps of one series agree within 5 % or 0.1 mm, whichever is larger.
const STEP_TOLERANCE: f64 = 0.05;
const STEP_TOLERANCE_MM: f64 = 0.1;
/// In-plane shift of a slice against the line of the others before the stack counts as sheared.
const SHEAR_TOLERANCE_MM: f64 = 0.5;

/// What a series is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To be segmented, measured and shown.
    Exam,
    /// Only to tell other series of its study which level lies where, as a localiser can.
    Levels,
}

impl Use {
    fn min_slices(self) -> usize {
        match self {
            Use::Exam => MIN_SLICES,
            Use::Levels => MIN_SLICES_FOR_LEVELS,
        }
    }

    fn max_slice_pitch_mm(self) -> f64 {
        match self {
            Use::Exam => MAX_SLICE_PITCH_MM,
            Use::Levels => MAX_SLICE_PITCH_FOR_LEVELS_MM,
        }
    }

    /// Refuses so few slices.
    fn check_count(self, count: usize) -> Result<(), Refusal> {
        let least = self.min_slices();
        if count >= least {
            return Ok(());
        }
        let text = format!("{count} slices; a spine series has at least {least}");
        Err(Refusal::new(RefusalCode::TooFewSlices, text))
    }
}

/// One slice with its place in the patient, decoded from DICOM or MRD.
#[derive(Debug, Clone)]
pub struct SourceImage {
    /// Index of the instance (and frame) it came from, in the caller's list.
    pub source: usize,
    pub columns: usize,
    pub rows: usize,
    /// Millimetres between columns and between rows.
    pub spacing_mm: [f64; 2],
    /// Unit vectors (LPS) along increasing column and along increasing row.
    pub orientation: [[f64; 3]; 2],
    /// Centre of the first pixel, LPS mm.
    pub position: [f64; 3],
    /// Rescaled intensities, columns fastest.
    pub pixels: Vec<f32>,
}

/// A checked series: a gapless stack of parallel slices.
#[derive(Debug, Clone)]
pub struct Series {
    /// `i` along columns, `j` along rows, `k` along the normal (row direction x column direction).
    pub volume: Volume<f32>,
    /// `sources[k]`: the caller's index of the image that is slice `k`. Empty for a volume that never was slices.
    pub sources: Vec<usize>,
    /// The index axis across the slices: 2 for a stack; any for a volume read from a file.
    pub slice_axis: usize,
}

/// The plane of slices that lie across index axis `slice_axis`, by their normal.
pub fn plane(affine: &Affine, slice_axis: usize) -> Plane {
    let axes = affine.axes();
    let normal = cross(axes[(slice_axis + 1) % 3], axes[(slice_axis + 2) % 3]);
    let unit = scale(normal, 1.0 / norm(normal)).map(f64::abs);
    match unit {
        [x, _, _] if x >= MIN_SAGITTAL_COSINE => Plane::Sagittal,
        [_, y, _] if y >= MIN_SAGITTAL_COSINE => Plane::Coronal,
        [_, _, z] if z >= MIN_SAGITTAL_COSINE => Plane::Axial,
        _ => Plane::Oblique,
    }
}

impl Series {
    /// Stacks slices given in any order. Refuses by name: too few of them for their use, mixed orientation or matrix,
    /// two slices at one position, a gap, a sheared stack.
    pub fn stack(mut images: Vec<SourceImage>, wanted: Use) -> Result<Series, Refusal> {
        let Some(first) = images.first() else {
            return Err(Refusal::new(RefusalCode::TooFewSlices, "the series holds no image"));
        };
        let normal = cross(first.orientation[0], first.orientation[1]);
        check_alike(&images)?;
        let dims = Some([first.columns, first.rows, images.len()]);
        wanted.check_count(images.len()).map_err(|refusal| Refusal { dims, ..refusal })?;
        images.sort_by(|a, b| dot(a.position, normal).total_cmp(&dot(b.position, normal)));
        let step = slice_step(&images, normal)?;
        let first = &images[0];
        let axes = [
            scale(first.orientation[0], first.spacing_mm[0]),
            scale(first.orientation[1], first.spacing_mm[1]),
            step,
        ];
        let geometry =
            |e: kernels::GeometryError| Refusal::new(RefusalCode::MissingGeometry, e.to_string());
        let dims = Dims::new([first.columns, first.rows, images.len()])
            .map_err(|e| Refusal::new(RefusalCode::TooLarge, e.to_string()))?;
        let grid = Grid { dims, affine: Affine::new(axes, first.position).map_err(geometry)? };
        let sources = images.iter().map(|image| image.source).collect();
        let voxels = images.into_iter().flat_map(|image| image.pixels).collect();
        let volume = Volume::new(grid, voxels)
            .map_err(|e| Refusal::new(RefusalCode::UnreadablePixels, e.to_string()))?;
        Ok(Series { volume, sources, slice_axis: 2 })
    }

    /// A volume that is a grid already (NIfTI). The thickest axis is the one across the slices; where no axis is
    /// thickest, any plane can be cut, and the sagittal one is.
    pub fn from_volume(volume: Volume<f32>) -> Series {
        let affine = volume.grid().affine;
        let spacing = affine.spacing();
        let thickest = (0..3).max_by(|&a, &b| spacing[a].total_cmp(&spacing[b])).unwrap_or(2);
        let others = spacing[(thickest + 1) % 3].max(spacing[(thickest + 2) % 3]);
        let left_right = (0..3)
            .max_by(|&a, &b| left_right_share(&affine, a).total_cmp(&left_right_share(&affine, b)));
        let slice_axis = if spacing[thickest] >= ANISOTROPIC * others {
            thickest
        } else {
            left_right.unwrap_or(thickest)
        };
        Series { volume, sources: Vec::new(), slice_axis }
    }

    /// Whether the nets were made for it: sagittal, enough slices, fine enough.
    pub fn admit(&self, wanted: Use) -> Result<(), Refusal> {
        let grid = self.volume.grid();
        let plane = plane(&grid.affine, self.slice_axis);
        let placed = |refusal: Refusal| Refusal { plane: Some(plane), ..refusal.on_grid(grid) };
        let refuse = |code, text: String| Err(placed(Refusal::new(code, text)));
        let [counts, spacing] = [grid.dims.counts().map(|n| n as f64), grid.affine.spacing()];
        let (a, b, k) = ((self.slice_axis + 1) % 3, (self.slice_axis + 2) % 3, self.slice_axis);
        wanted.check_count(grid.dims.counts()[k]).map_err(placed)?;
        if plane != Plane::Sagittal {
            return refuse(
                RefusalCode::NotSagittal,
                format!("the series is {}; send a sagittal one", plane.name()),
            );
        }
        let in_plane = spacing[a].max(spacing[b]);
        let max_pitch = wanted.max_slice_pitch_mm();
        if counts[a].min(counts[b]) < MIN_COLUMNS as f64
            || in_plane > MAX_IN_PLANE_MM
            || spacing[k] > max_pitch
        {
            return refuse(
                RefusalCode::Resolution,
                format!(
                    "{}x{} pixels of up to {in_plane:.2} mm, {:.2} mm between slices; needed are at least \
                     {MIN_COLUMNS} pixels of at most {MAX_IN_PLANE_MM} mm, and {max_pitch} mm",
                    counts[a], counts[b], spacing[k]
                ),
            );
        }
        Ok(())
    }
}

fn left_right_share(affine: &Affine, axis: usize) -> f64 {
    let step = affine.axes()[axis];
    step[0].abs() / norm(step)
}

/// Same matrix, spacing and orientation in every image.
fn check_alike(images: &[SourceImage]) -> Result<(), Refusal> {
    let first = &images[0];
    let close =
        |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= ORIENTATION_TOLERANCE);
    let odd = images.iter().position(|image| {
        [image.columns, image.rows] != [first.columns, first.rows]
            || !close(&image.spacing_mm, &first.spacing_mm)
            || !close(image.orientation.as_flattened(), first.orientation.as_flattened())
    });
    match odd {
        None => Ok(()),
        Some(index) => Err(Refusal::new(
            RefusalCode::MixedOrientation,
            format!(
                "image {} of {} has another matrix, spacing or orientation than image 1",
                index + 1,
                images.len()
            ),
        )),
    }
}

/// The common step between neighbouring slices of a sorted stack, LPS mm.
fn slice_step(images: &[SourceImage], normal: [f64; 3]) -> Result<[f64; 3], Refusal> {
    let at: Vec<f64> = images.iter().map(|image| dot(image.position, normal)).collect();
    let mut steps: Vec<f64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (last, n) = (images.len() - 1, images.len());
    if let Some(k) = steps.iter().position(|&step| step < STEP_TOLERANCE_MM) {
        return Err(Refusal::new(
            RefusalCode::DuplicateSlice,
            format!("slices {} and {} of {n} are at one position", k + 1, k + 2),
        ));
    }
    let uneven: Vec<f64> = steps.clone();
    steps.sort_by(f64::total_cmp);
    let typical = steps[steps.len() / 2];
    let tolerance = (STEP_TOLERANCE * typical).max(STEP_TOLERANCE_MM);
    if let Some(k) = uneven.iter().position(|step| (step - typical).abs() > tolerance) {
        return Err(Refusal::new(
            RefusalCode::Gap,
            format!(
                "slices {} and {} of {n} are {:.2} mm apart, the others {typical:.2} mm",
                k + 1,
                k + 2,
                uneven[k]
            ),
        ));
    }
    let step = scale(sub(images[last].position, images[0].position), 1.0 / last as f64);
    let sheared = images.iter().enumerate().position(|(k, image)| {
        let line = kernels::volume::add(images[0].position, scale(step, k as f64));
        norm(sub(image.position, line)) > SHEAR_TOLERANCE_MM.max(tolerance)
    });
    match sheared {
        None => Ok(step),
        Some(k) => Err(Refusal::new(
            RefusalCode::MissingGeometry,
            format!("slice {} of {n} is off the line through the others", k + 1),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sagittal series tilted by 20 degrees about the long axis, slices in shuffled order.
    fn images(n: usize) -> Vec<SourceImage> {
        let (s, c) = 20f64.to_radians().sin_cos();
        let orientation = [[s, c, 0.0], [0.0, 0.0, -1.0]];
        let normal = cross(orientation[0], orientation[1]);
        let mut list: Vec<SourceImage> = (0..n)
            .map(|k| SourceImage {
                source: k,
                columns: 128,
                rows: 160,
                spacing_mm: [0.8, 0.9],
                orientation,
                position: scale(normal, 4.0 * k as f64),
                pixels: vec![k as f32; 128 * 160],
            })
            .collect();
        list.rotate_left(n / 2);
        list.reverse();
        list
    }

    fn code(images: Vec<SourceImage>) -> RefusalCode {
        Series::stack(images, Use::Exam).expect_err("must be refused").code
    }

    #[test]
    fn slices_in_any_order_become_one_oblique_volume() {
        let series = Series::stack(images(7), Use::Exam).unwrap();
        assert_eq!(series.sources, [0, 1, 2, 3, 4, 5, 6]);
        assert!((series.volume.grid().affine.spacing()[2] - 4.0).abs() < 1e-9);
        assert_eq!(series.volume.slice(3)[0], 3.0);
        assert_eq!(series.admit(Use::Exam), Ok(()));
    }

    #[test]
    fn bad_stacks_are_refused_by_name() {
        assert_eq!(code(Vec::new()), RefusalCode::TooFewSlices);
        assert_eq!(code(images(3)), RefusalCode::TooFewSlices);
        let mut gap = images(9);
        gap.retain(|image| image.source != 4);
        assert_eq!(code(gap), RefusalCode::Gap);
        let mut twice = images(7);
        twice.push(twice[2].clone());
        assert_eq!(code(twice), RefusalCode::DuplicateSlice);
        let mut mixed = images(7);
        mixed[3].orientation = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
        assert_eq!(code(mixed), RefusalCode::MixedOrientation);
        let mut sheared = images(7);
        sheared[3].position[2] += 5.0;
        assert_eq!(code(sheared), RefusalCode::MissingGeometry);
    }

    #[test]
    fn planes_and_resolutions_are_judged_from_the_grid() {
        let volume = |axes: [[f64; 3]; 3], counts| {
            let grid = Grid {
                dims: Dims::new(counts).unwrap(),
                affine: Affine::new(axes, [0.0; 3]).unwrap(),
            };
            Series::from_volume(Volume::filled(grid, 0.0))
                .admit(Use::Exam)
                .map_err(|r| (r.code, r.plane))
        };
        let diagonal = |x, y, z| [[x, 0.0, 0.0], [0.0, y, 0.0], [0.0, 0.0, z]];
        assert_eq!(volume(diagonal(3.0, 0.8, 0.8), [9, 128, 128]), Ok(()));
        assert_eq!(volume(diagonal(1.0, 1.0, 1.0), [99, 128, 128]), Ok(()));
        let axial = volume(diagonal(0.8, 0.8, 3.0), [128, 128, 9]);
        assert_eq!(axial, Err((RefusalCode::NotSagittal, Some(Plane::Axial))));
        let coarse = volume(diagonal(4.0, 2.0, 2.0), [9, 128, 128]);
        assert_eq!(coarse, Err((RefusalCode::Resolution, Some(Plane::Sagittal))));
        let few = volume(diagonal(4.0, 0.8, 0.8), [3, 128, 128]);
        assert_eq!(few, Err((RefusalCode::TooFewSlices, Some(Plane::Sagittal))));
    }

    #[test]
    fn a_localiser_is_enough_for_levels() {
        let three = Series::stack(images(3), Use::Levels).unwrap();
        assert_eq!(three.admit(Use::Levels), Ok(()));
        assert_eq!(three.admit(Use::Exam).unwrap_err().code, RefusalCode::TooFewSlices);
        let two = Series::stack(images(2), Use::Levels).unwrap_err();
        assert_eq!((two.code, two.dims), (RefusalCode::TooFewSlices, Some([128, 160, 2])));
    }
}
