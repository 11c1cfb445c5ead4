//! Slices -> one checked volume, or a precise refusal.

use crate::refusal::{Plane, Refusal, RefusalCode};
use kernels::volume::{cross, dot, norm, scale, sub};
use kernels::{Affine, Dims, Grid, Volume};

/// Fewest slices of a usable series (a localiser has three).
pub const MIN_SLICES: usize = 5;
/// Narrowest and coarsest in-plane grids admitted: below, vertebrae are a few pixels (scanner-side rules, selection 1).
pub const MIN_COLUMNS: usize = 96;
pub const MAX_IN_PLANE_MM: f64 = 1.6;
/// Thickest slice pitch admitted: beyond, a vertebral body is seen in two slices only.
pub const MAX_SLICE_PITCH_MM: f64 = 8.0;
/// A series is sagittal when its normal keeps at least this share of left-right (37 degrees of obliquity).
pub const MIN_SAGITTAL_COSINE: f64 = 0.8;
/// Direction cosines of one series agree within this (DICOM writes six decimals, some consoles four).
const ORIENTATION_TOLERANCE: f64 = 1e-3;
/// Slice steps of one series agree within 5 % or 0.1 mm, whichever is larger.
const STEP_TOLERANCE: f64 = 0.05;
const STEP_TOLERANCE_MM: f64 = 0.1;
/// In-plane shift of a slice against the line of the others before the stack counts as sheared.
const SHEAR_TOLERANCE_MM: f64 = 0.5;

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
    /// `sources[k]`: the caller's index of the image that is slice `k`.
    pub sources: Vec<usize>,
}

/// The plane of a grid by its slice normal (`k`).
pub fn plane(affine: &Affine) -> Plane {
    let [a, b, _] = affine.axes();
    let normal = cross(a, b);
    let unit = scale(normal, 1.0 / norm(normal)).map(f64::abs);
    match unit {
        [x, _, _] if x >= MIN_SAGITTAL_COSINE => Plane::Sagittal,
        [_, y, _] if y >= MIN_SAGITTAL_COSINE => Plane::Coronal,
        [_, _, z] if z >= MIN_SAGITTAL_COSINE => Plane::Axial,
        _ => Plane::Oblique,
    }
}

impl Series {
    /// Stacks slices given in any order. Refuses by name: fewer than [`MIN_SLICES`], mixed orientation or matrix,
    /// two slices at one position, a gap, a sheared stack.
    pub fn stack(mut images: Vec<SourceImage>) -> Result<Series, Refusal> {
        let Some(first) = images.first() else {
            return Err(Refusal::new(RefusalCode::TooFewSlices, "the series holds no image"));
        };
        let normal = cross(first.orientation[0], first.orientation[1]);
        check_alike(&images)?;
        if images.len() < MIN_SLICES {
            return Err(Refusal {
                dims: Some([first.columns, first.rows, images.len()]),
                ..Refusal::new(
                    RefusalCode::TooFewSlices,
                    format!("{} slices; a spine series has at least {MIN_SLICES}", images.len()),
                )
            });
        }
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
        Ok(Series { volume, sources })
    }

    /// A volume that is a grid already (NIfTI): slice `k` is image `k`.
    pub fn from_volume(volume: Volume<f32>) -> Series {
        let sources = (0..volume.dims().counts()[2]).collect();
        Series { volume, sources }
    }
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

/// Whether a volume is one the nets were made for: sagittal, enough slices, fine enough.
pub fn admit(grid: &Grid) -> Result<(), Refusal> {
    let [columns, rows, slices] = grid.dims.counts();
    let spacing = grid.affine.spacing();
    let plane = plane(&grid.affine);
    let refuse = |code, text: String| {
        let mut refusal = Refusal::new(code, text).on_grid(grid);
        refusal.plane = Some(plane);
        Err(refusal)
    };
    if slices < MIN_SLICES {
        return refuse(
            RefusalCode::TooFewSlices,
            format!("{slices} slices; a spine series has at least {MIN_SLICES}"),
        );
    }
    if plane != Plane::Sagittal {
        return refuse(
            RefusalCode::NotSagittal,
            "the series is not sagittal; send a sagittal series".to_owned(),
        );
    }
    let coarse = spacing[0].max(spacing[1]) > MAX_IN_PLANE_MM || spacing[2] > MAX_SLICE_PITCH_MM;
    if columns.min(rows) < MIN_COLUMNS || coarse {
        return refuse(
            RefusalCode::Resolution,
            format!(
                "{columns}x{rows} pixels of {:.2}x{:.2} mm, {:.2} mm between slices; at least \
                 {MIN_COLUMNS} pixels of at most {MAX_IN_PLANE_MM} mm and {MAX_SLICE_PITCH_MM} mm are needed",
                spacing[0], spacing[1], spacing[2]
            ),
        );
    }
    Ok(())
}
